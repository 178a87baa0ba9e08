"""Resizing, rescaling and normalising against PIL and arithmetic in float64."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tvF

from modeling_involvit import InvolViTImageProcessor

from .example_images import LEVELS_16, chw, noise, smooth

MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def test_defaults_are_those_of_the_paper_and_imagenet():
    pixel_values = InvolViTImageProcessor()(Image.fromarray(noise()), return_tensors="pt").pixel_values
    assert pixel_values.shape == (1, 3, 352, 352) and pixel_values.dtype == torch.float32


def test_normalisation_is_the_formula_in_float64(processor):
    pixels = noise(32, 32)
    expected = (np.moveaxis(pixels, -1, 0) / 255 - MEAN) / STD
    np.testing.assert_allclose(processor(pixels, return_tensors="np").pixel_values[0], expected, atol=2e-6)


def test_size_mean_and_std_of_the_instance_are_used():
    processor = InvolViTImageProcessor(size={"height": 8, "width": 12}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    white = Image.new("RGB", (5, 5), "white")
    torch.testing.assert_close(processor(white, return_tensors="pt").pixel_values, torch.full((1, 3, 8, 12), 2.0))


@pytest.mark.parametrize(("height", "width"), [(480, 640), (48, 48), (33, 97)])
def test_resize_agrees_with_pil_bilinear(height, width):
    pixels = smooth(height, width)
    resized = InvolViTImageProcessor(size=64)(pixels, do_rescale=False, do_normalize=False).pixel_values[0]
    by_pil = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR))
    assert resized.dtype == torch.uint8
    assert (resized.int() - chw(by_pil).int()).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(480, 640), (20, 24), (33, 97)])
def test_channels_last_memory_leaves_the_resize_unchanged(processor, height, width):
    pixels = noise(height, width)
    contiguous = tvF.resize(chw(pixels).contiguous(), [32, 32], antialias=True)
    assert torch.equal(processor(pixels, do_rescale=False, do_normalize=False).pixel_values[0], contiguous)


@pytest.mark.parametrize("kind", ["rgb", "grey", "rgba", "16-bit", "float"])
def test_two_steps_equal_one_call(processor, kind):
    image = {
        "rgb": noise(),
        "grey": noise(channels=0),
        "rgba": noise(channels=4),
        "16-bit": LEVELS_16,
        "float": noise() / 255,
    }[kind]
    at_once = processor(image, return_tensors="pt").pixel_values
    resized = processor.resize(processor.process_image(image), processor.size, processor.resample)
    assert resized.dtype == torch.uint8 and resized.shape == (3, 32, 32)
    hwc = resized.permute(1, 2, 0).numpy()  # what augmentation works on
    assert torch.equal(processor(hwc, do_resize=False, return_tensors="pt").pixel_values, at_once)


def test_rescaled_floats_are_left_alone_when_told_so(processor):
    unit = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    expected = (np.moveaxis(unit.astype(np.float64), -1, 0) - MEAN) / STD
    result = processor(unit, do_rescale=False, return_tensors="np").pixel_values[0]
    np.testing.assert_allclose(
        result, processor(unit, return_tensors="np").pixel_values[0], atol=0.5 / 255 / 0.224 + 1e-6
    )
    np.testing.assert_allclose(result, expected, atol=2e-6)
    ready = torch.from_numpy(expected).float()
    passed_on = processor(ready, do_resize=False, do_rescale=False, do_normalize=False, return_tensors="pt")
    assert torch.equal(passed_on.pixel_values[0], ready)


def test_channels_are_kept_where_conversion_is_off(tmp_path):
    processor = InvolViTImageProcessor(size=16, do_convert_rgb=False, image_mean=[0.5], image_std=[0.5])
    assert processor(noise(channels=0), return_tensors="pt").pixel_values.shape == (1, 1, 16, 16)
    assert processor(Image.fromarray(noise(channels=0)), return_tensors="pt").pixel_values.shape == (1, 1, 16, 16)
