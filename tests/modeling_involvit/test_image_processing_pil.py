"""The image processor on PIL: as PIL resizes, and as the one on torchvision to one grey level."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from transformers import AutoImageProcessor

from modeling_involvit import InvolViTImageProcessor, InvolViTImageProcessorPil

from .example_images import LEVELS_16, chw, noise, saved, smooth

STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)


@pytest.fixture(scope="module")
def pil_processor():
    return InvolViTImageProcessorPil(size=32)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (48, 48), (33, 97), (5, 9)])
def test_resize_is_pils(height, width):
    pixels = noise(height, width)
    resized = InvolViTImageProcessorPil(size=64)(pixels, do_rescale=False, do_normalize=False).pixel_values[0]
    by_pil = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized, np.moveaxis(by_pil, -1, 0))


def test_normalisation_is_the_formula_in_float64(pil_processor):
    pixels = noise(32, 32)
    expected = (np.moveaxis(pixels, -1, 0) / 255 - MEAN) / STD
    result = pil_processor(pixels, return_tensors="np").pixel_values[0]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_each_kind_of_input_agrees_with_torchvision_to_one_grey_level(processor, pil_processor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        Image.fromarray(smooth(90, 33)),
        noise(),
        chw(noise()),
        noise(channels=0),
        Image.fromarray(noise(channels=4)),
        noise(channels=4),
        noise(channels=4) / 255,
        chw(noise() / 255).to(torch.bfloat16),
        LEVELS_16,
        Image.fromarray(LEVELS_16),
        noise() > 127,
        saved(Image.fromarray(smooth(24, 40)), tmp_path / "turned.png", exif=exif),
        [noise(seed=1), np.stack([noise(seed=2)] * 2)],
    ]
    by_pil = pil_processor(kinds, return_tensors="pt").pixel_values
    by_torchvision = processor(kinds, return_tensors="pt").pixel_values
    assert by_pil.dtype == by_torchvision.dtype and by_pil.shape == by_torchvision.shape == (15, 3, 32, 32)
    assert ((by_pil - by_torchvision).abs() * STD * 255).max() <= 1.001


@pytest.mark.parametrize("size", [{"height": 16, "width": 24}, {"shortest_edge": 16}])
@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_floats_that_are_ready_are_resized_without_rounding_or_clipping(processor, pil_processor, size, resample):
    ready = np.random.default_rng(0).normal(size=(3, 40, 50))  # the base class refuses such values
    options = {"size": size, "resample": resample, "do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    by_pil = pil_processor(ready.astype(np.float32), **options).pixel_values
    torch.testing.assert_close(by_pil, processor(ready.astype(np.float32), **options).pixel_values, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_pil, pil_processor(ready, **options).pixel_values, atol=1e-5, rtol=0)


def test_resize_by_itself_is_bilinear_where_no_filter_is_given(pil_processor):
    for pixels in (noise(), np.float32(noise() / 255)):
        chw_pixels = np.moveaxis(pixels, -1, 0)
        by_default = pil_processor.resize(chw_pixels, pil_processor.size)
        by_name = pil_processor.resize(chw_pixels, pil_processor.size, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(by_default, by_name)


def test_torchvisions_names_of_the_filters_are_taken_as_well(pil_processor):
    for pixels in (noise(), noise() / 255):
        by_name = pil_processor(pixels, resample=InterpolationMode.BICUBIC, do_rescale=False).pixel_values[0]
        by_number = pil_processor(pixels, resample=Image.Resampling.BICUBIC, do_rescale=False).pixel_values[0]
        np.testing.assert_array_equal(by_name, by_number)


def test_four_channels_that_stay_are_resized_each_by_itself(processor, pil_processor):
    options = {"do_convert_rgb": False, "do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    four = noise(channels=4)  # PIL would weight three of them by the fourth
    by_pil = pil_processor(four, **options).pixel_values
    assert by_pil.dtype == torch.uint8 and by_pil.shape == (1, 4, 32, 32)
    assert (by_pil.int() - processor(four, **options).pixel_values.int()).abs().max() <= 1


def test_what_the_other_refuses_it_refuses_in_the_same_words(processor, pil_processor, tmp_path):
    for image, error in [
        ([], ValueError),
        (object(), ValueError),
        (np.full((4, 4, 3), 300.0), ValueError),
        (np.zeros((9, 9, 7), np.uint8), ValueError),
        (tmp_path / "missing.png", FileNotFoundError),
    ]:
        messages = []
        for either in (processor, pil_processor):
            with pytest.raises(error) as caught:
                either(image)
            messages.append(str(caught.value))
        assert messages[0] == messages[1] and messages[0]


def test_both_are_saved_alike_and_each_loads_what_the_other_saved(tmp_path):
    settings = {"size": 24, "image_mean": [0.4, 0.5, 0.6], "do_normalize": False, "resample": 3}
    classes = {"torchvision": InvolViTImageProcessor, "pil": InvolViTImageProcessorPil}
    for backend, saving in classes.items():
        saving(**settings).save_pretrained(tmp_path / backend)
        for loading in classes.values():
            assert loading.from_pretrained(tmp_path / backend).to_dict() == saving(**settings).to_dict()
    assert len({(tmp_path / backend / "preprocessor_config.json").read_text() for backend in classes}) == 1


@pytest.mark.parametrize("saving", [InvolViTImageProcessor, InvolViTImageProcessorPil])
def test_auto_image_processor_gives_the_class_of_the_backend_that_is_asked_for(tmp_path, saving):
    saving(size=24).save_pretrained(tmp_path)
    for options, expected in [
        ({}, InvolViTImageProcessor),
        ({"backend": "torchvision"}, InvolViTImageProcessor),
        ({"backend": "pil"}, InvolViTImageProcessorPil),
        ({"use_fast": False}, InvolViTImageProcessorPil),
    ]:
        loaded = AutoImageProcessor.from_pretrained(tmp_path, **options)
        assert type(loaded) is expected and loaded.size["height"] == 24
