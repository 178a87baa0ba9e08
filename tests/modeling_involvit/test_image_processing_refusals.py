import io

import numpy as np
import pytest
import torch
from PIL import Image

from .example_images import noise, saved


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([], "batch is empty"),
        (np.zeros((0, 8, 8, 3), np.uint8), "batch is empty"),
        (np.zeros(9, np.uint8), r"shape \[9\]"),
        (np.zeros((1, 2, 3, 8, 8), np.uint8), r"shape \[1, 2, 3, 8, 8\]"),
        (np.zeros((8, 8, 7), np.uint8), r"shape \[8, 8, 7\]"),
        (torch.zeros(5, 8, 8), r"shape \[5, 8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"no pixels.*\[0, 8, 3\]"),
        (np.zeros((0, 8), np.uint8), r"no pixels.*\[1, 0, 8\]"),
        (Image.new("RGB", (0, 5)), r"no pixels.*\(0, 5\)"),
        (None, "NoneType is not an image; give a PIL image"),
        (b"bytes", "bytes is not an image"),
        ([3, 4], "int is not an image"),
        ([np.zeros((8, 8, 3), np.uint8), {}], "dict is not an image"),
        (np.full((8, 8), "a"), "got <U1"),
        (np.zeros((8, 8), complex), "got complex128"),
        (torch.zeros(8, 8, dtype=torch.complex64), "complex64"),
        (np.full((8, 8), -1), "from -1 to -1"),
        (np.full((8, 8), 70000), "from 70000 to 70000"),
        (np.full((8, 8), 300.0), "from 300 to 300"),
        (np.full((8, 8), 1.5), "from 1.5 to 1.5"),
        (np.full((8, 8), np.nan), "from nan to nan"),
        (np.full((8, 8), np.inf), "from inf to inf"),
        (torch.randn(3, 8, 8) - 1, "do_rescale=False"),
        (Image.new("La", (4, 4)), "mode=La.*cannot be decoded"),
    ],
)
def test_bad_input_is_refused_in_one_line(processor, image, message):
    with pytest.raises(ValueError, match=message) as refusal:
        processor(image, return_tensors="pt")
    assert "\n" not in str(refusal.value)


def test_layout_that_does_not_fit_is_refused(processor):
    with pytest.raises(ValueError, match=r"shape \[8, 8, 3\] and input_data_format 'channels_first'"):
        processor(np.zeros((8, 8, 3), np.uint8), input_data_format="channels_first")


def test_missing_file_is_named(processor, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png: no such file"):
        processor(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "folder", "bomb"])
def test_unreadable_file_is_named(processor, tmp_path, monkeypatch, kind):
    path = tmp_path / "face.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        Image.new("L", (20, 20)).save(path)
    else:
        buffer = io.BytesIO()
        Image.fromarray(noise(100, 100)).save(buffer, "PNG")
        path.write_bytes({"text": b"not an image", "empty": b"", "truncated": buffer.getvalue()[:9000]}[kind])
    with pytest.raises(ValueError, match=r"face\.png: cannot be read as an image") as refusal:
        processor([noise(), path])
    assert "\n" not in str(refusal.value)


def test_a_long_string_that_is_no_path_is_shortened(processor):
    with pytest.raises(ValueError, match=r"AAA\.\.\.: cannot be read as an image \(File name too long\)") as refusal:
        processor("A" * 5000)
    assert len(str(refusal.value)) < 300


def test_lazily_opened_truncated_image_is_refused(processor, tmp_path):
    path = saved(Image.fromarray(noise(100, 100)), tmp_path / "face.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image, pytest.raises(ValueError, match=r"face\.jpg cannot be decoded"):
        processor(image)
