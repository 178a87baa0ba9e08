"""Images of other sizes than the configured one: position embeddings are resampled."""

import pytest
import torch
import torch.nn.functional as F

from modeling_involvit import InvolViTForImageClassification

from .involvit_reference import randomize


@pytest.fixture(params=[False, True], ids=["tokens", "class token"])
def model(request, tiny_config):
    return randomize(InvolViTForImageClassification(tiny_config(vit_class_token=request.param))).eval()


@pytest.fixture
def larger():
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))


def resized(model, size):
    """A model for another size with the same weights, its embeddings resampled here from 8 x 8 to size / 8."""
    config = type(model.config)(**{**model.config.to_dict(), "image_size": size})
    tensors = model.state_dict()
    name, prefix = "involvit.vit.pos_embed", model.involvit.vit.num_prefix_tokens
    grid = tensors[name][:, prefix:].unflatten(1, (8, 8)).movedim(-1, 1)
    grid = F.interpolate(grid, (size // 8, size // 8), mode="bicubic", antialias=True)
    tensors[name] = torch.cat([tensors[name][:, :prefix], grid.flatten(2).mT], dim=1)
    other = InvolViTForImageClassification(config).eval()
    other.load_state_dict(tensors)
    return other


@torch.no_grad()
def test_interpolation_is_that_of_a_model_made_for_the_size(model, larger):
    expected = resized(model, 96)(larger).logits
    torch.testing.assert_close(model(larger, interpolate_pos_encoding=True).logits, expected)
    assert model(larger[..., :80], interpolate_pos_encoding=True).logits.shape == (2, 7)


@torch.no_grad()
def test_interpolation_changes_nothing_at_the_configured_size(model, images):
    assert torch.equal(model(images, interpolate_pos_encoding=True).logits, model(images).logits)


@torch.no_grad()
def test_a_checkpoint_loads_at_another_size_and_is_saved_at_it(model, larger, tmp_path):
    expected = resized(model, 96)(larger).logits
    model.save_pretrained(tmp_path / "64")
    loaded, report = InvolViTForImageClassification.from_pretrained(
        tmp_path / "64", image_size=96, output_loading_info=True
    )
    assert not any(report.values())
    torch.testing.assert_close(loaded.eval()(larger).logits, expected)
    loaded.save_pretrained(tmp_path / "96")
    again = InvolViTForImageClassification.from_pretrained(tmp_path / "96").eval()
    assert again.config.image_size == 96
    assert torch.equal(again(larger).logits, loaded(larger).logits)


def test_a_size_that_was_not_asked_for_is_refused(model, larger):
    with pytest.raises(ValueError, match="interpolate_pos_encoding=True takes other sizes"):
        model(larger)
    with pytest.raises(ValueError, match=r"must be \[B, 3, H, W\], got \[2, 1, 96, 96\]"):
        model(larger[:, :1], interpolate_pos_encoding=True)
