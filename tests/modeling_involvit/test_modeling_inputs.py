"""What each branch sees of an image."""

import numpy as np
import torch
from PIL import Image

from modeling_involvit import InvolViTForImageClassification, InvolViTModel

from .involvit_reference import randomize


def processed(pixels, config):
    """Normalises uint8 pixels [B, H, W, 3] as the processor does."""
    shape = (1, 3, 1, 1)
    mean, std = (torch.tensor(values).view(shape) for values in (config.image_mean, config.image_std))
    return (torch.from_numpy(pixels).movedim(-1, 1) / 255 - mean) / std


def test_both_branches_see_the_luminance_with_mean_0_and_deviation_1(tiny_config):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    model = InvolViTModel(tiny_config(standardize_luminance=True)).eval()
    seen = []
    for branch in (model.rednet, model.vit):
        branch.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(processed(pixels, model.config))
    luminance = np.stack([np.asarray(Image.fromarray(image).convert("L"), np.float64) for image in pixels])
    expected = np.stack([(image - image.mean()) / image.std() for image in luminance])
    for values in seen:
        assert values.shape == (2, 3, 64, 64)
        # Pillow rounds to grey levels.
        np.testing.assert_allclose(values, np.repeat(expected[:, None], 3, 1), atol=0.02)


def test_standardised_luminance_makes_colour_exposure_and_contrast_irrelevant(tiny_config):
    model = randomize(InvolViTForImageClassification(tiny_config(standardize_luminance=True))).eval()
    grey = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).repeat(3, axis=-1)
    copies = np.concatenate([grey, 0.4 * grey, 100 + 0.5 * grey, grey * [0.7, 1.0, 1.2]])
    with torch.no_grad():
        original, *others = model(processed(copies, model.config).float()).logits
    for logits in others:
        torch.testing.assert_close(logits, original, rtol=1e-4, atol=1e-4)


def test_a_flat_image_has_a_finite_gradient(tiny_config):
    model = InvolViTForImageClassification(tiny_config(standardize_luminance=True)).eval()
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    model(flat, labels=torch.tensor([3])).loss.backward()
    assert flat.grad.isfinite().all()


def test_each_branch_sees_the_image_in_the_statistics_of_its_weights(tiny_model, tiny_config):
    config = tiny_config()
    image = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.image_mean, config.image_std))
    seen = {}
    for name in ("rednet", "vit"):
        branch = getattr(tiny_model.involvit, name)
        branch.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    tiny_model((image - mean) / std)
    torch.testing.assert_close(seen["rednet"], (image - mean) / std)
    torch.testing.assert_close(seen["vit"], (image - 0.5) / 0.5)
