"""File formats, modes and bit depths against PIL."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from .example_images import LEVELS_8, LEVELS_16, chw, grey_rgb, noise, saved, smooth


def on_white(rgb, alpha):
    """Alpha compositing onto white, in float64."""
    alpha = alpha[..., None] / 255
    return rgb * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(processor, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(smooth(24, 40)), tmp_path / "turned.png", exif=exif)
    with Image.open(path) as image:
        expected = chw(np.asarray(ImageOps.exif_transpose(image)))
        assert expected.shape == ((3, 40, 24) if orientation >= 5 else (3, 24, 40))
        assert torch.equal(processor.process_image(image), expected)
    assert torch.equal(processor.process_image(path), expected)


def test_pil_alone_clips_16_bit():
    by_pil = np.asarray(Image.fromarray(LEVELS_16).convert("RGB"))[..., 0]
    np.testing.assert_array_equal(by_pil, LEVELS_16.clip(max=255))  # why the processor scales them itself


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_files_are_scaled_by_257(processor, tmp_path, suffix):
    path = saved(Image.fromarray(LEVELS_16), tmp_path / f"deep.{suffix}")
    assert torch.equal(processor.process_image(path), grey_rgb(LEVELS_8))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bit_pil_modes_are_scaled_by_257(processor, mode):
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": np.int32}[mode]
    image = Image.frombytes(mode, LEVELS_16.shape[::-1], LEVELS_16.astype(dtype).tobytes())
    assert torch.equal(processor.process_image(image), grey_rgb(LEVELS_8))


def test_low_values_are_dark_in_16_bit_types_and_8_bit_levels_in_wider_ones(processor):
    levels = np.array([[0, 100, 255]])
    for image in (levels.astype(np.uint16), Image.fromarray(levels.astype(np.uint16))):
        assert processor.process_image(image)[0].tolist() == [[0, 0, 1]]
    for image in (levels.astype(np.int64), Image.fromarray(levels.astype(np.int32))):
        assert processor.process_image(image)[0].tolist() == levels.tolist()


def test_float_tiff_in_either_range(processor, tmp_path):
    grey = noise(channels=0)
    for name, values in {"unit": grey / 255, "byte": grey}.items():
        path = saved(Image.fromarray(values.astype(np.float32)), tmp_path / f"{name}.tiff")
        assert Image.open(path).mode == "F"
        assert torch.equal(processor.process_image(path), grey_rgb(grey))


@pytest.mark.parametrize("as_file", [False, True])
def test_grey_and_bilevel_become_three_equal_channels(processor, tmp_path, as_file):
    grey = noise(channels=0)
    black_white = grey > 127
    for image, expected in ((Image.fromarray(grey), grey), (Image.fromarray(black_white), black_white * np.uint8(255))):
        given = saved(image, tmp_path / f"{image.mode}.png") if as_file else image
        assert torch.equal(processor.process_image(given), grey_rgb(expected))
    assert torch.equal(processor.process_image(black_white), grey_rgb(black_white * np.uint8(255)))


@pytest.mark.parametrize("kind", ["file", "pil", "uint8", "float"])
def test_rgba_is_composited_onto_white(processor, tmp_path, kind):
    rgba = noise(channels=4)
    rgba[:5, :, 3], rgba[5:10, :, 3] = 0, 255
    given = {
        "file": lambda: saved(Image.fromarray(rgba), tmp_path / "rgba.png"),
        "pil": lambda: Image.fromarray(rgba),
        "uint8": lambda: rgba,
        "float": lambda: rgba / 255,
    }[kind]()
    result = processor.process_image(given).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, on_white(rgba[..., :3], rgba[..., 3]), atol=1)
    np.testing.assert_array_equal(result[:5], 255)
    np.testing.assert_array_equal(result[5:10], rgba[5:10, :, :3])


def test_grey_with_alpha_is_composited_onto_white(processor, tmp_path):
    la = noise(channels=2)
    path = saved(Image.fromarray(la, "LA"), tmp_path / "la.png")
    expected = on_white(np.stack([la[..., 0]] * 3, -1), la[..., 1])
    np.testing.assert_allclose(processor.process_image(path).permute(1, 2, 0), expected, atol=1)


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_png(processor, tmp_path, transparent):
    indices = np.arange(16, dtype=np.uint8).reshape(4, 4)
    palette = noise(1, 16)[0]
    alpha = np.linspace(0, 255, 16).round().astype(np.uint8) if transparent else np.full(16, 255, np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    options = {"transparency": alpha.tobytes()} if transparent else {}
    path = saved(image, tmp_path / "palette.png", **options)
    assert Image.open(path).mode == "P"
    expected = on_white(palette[indices], alpha[indices])
    np.testing.assert_allclose(processor.process_image(path).permute(1, 2, 0), expected, atol=1 if transparent else 0)


def test_cmyk_jpeg(processor, tmp_path):
    patches = {"red": (0, 255, 255, 0), "white": (0, 0, 0, 0), "black": (0, 0, 0, 255), "blue": (255, 255, 0, 0)}
    rgb = {"red": (255, 0, 0), "white": (255, 255, 255), "black": (0, 0, 0), "blue": (0, 0, 255)}
    for name, ink in patches.items():
        path = saved(Image.new("CMYK", (16, 16), ink), tmp_path / f"{name}.jpg", quality=100)
        assert Image.open(path).mode == "CMYK"
        pixels = processor.process_image(path)
        assert (pixels.int() - torch.tensor(rgb[name]).view(3, 1, 1)).abs().max() <= 3, name


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_animated_files_give_their_first_frame(processor, tmp_path, suffix):
    first, *others = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime"))
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(first, tmp_path / f"moving.{suffix}", save_all=True, append_images=others, duration=50, **options)
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert torch.equal(processor.process_image(path), chw(np.asarray(first)))
        image.seek(1)  # a frame chosen by hand stays chosen
        assert torch.equal(processor.process_image(image), chw(np.asarray(others[0])))
