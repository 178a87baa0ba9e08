from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from involvit.pixels import read_rgb, to_rgb


def encoded(exif=None, image_format="PNG"):
    buffer = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    image.save(buffer, image_format, **({} if exif is None else {"exif": exif}))
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(10))
def test_images_are_turned_as_pillow_turns_them(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(read_rgb(io.BytesIO(data)), expected)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
def test_a_broken_exif_block_costs_only_the_orientation(image_format):
    plain, broken = encoded(None, image_format), encoded(b"Exif\0\0no TIFF at all", image_format)
    np.testing.assert_array_equal(read_rgb(io.BytesIO(broken)), read_rgb(io.BytesIO(plain)))
    np.testing.assert_array_equal(to_rgb(Image.open(io.BytesIO(broken))), read_rgb(io.BytesIO(plain)))


def test_an_image_can_be_looked_at_and_refused_before_its_pixels_are_read():
    def refuse(image):
        raise KeyError(image.size)

    with pytest.raises(KeyError, match="9, 6"):
        read_rgb(io.BytesIO(encoded()), refuse)


def test_too_large_an_image_is_refused_for_that_reason(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # the image has 54, and Pillow refuses twice as many
    with pytest.raises(Image.DecompressionBombError, match="has more than 178 megapixels; make it smaller"):
        read_rgb(io.BytesIO(encoded()))


def test_a_large_image_is_read_without_a_warning(tmp_path):
    (tmp_path / "large.png").write_bytes(encoded())
    code = (
        "import sys; from PIL import Image; from involvit.pixels import read_rgb; Image.MAX_IMAGE_PIXELS = 50; "
        "print(read_rgb(open(sys.argv[1], 'rb')).shape)"
    )
    command = [sys.executable, "-c", code, tmp_path / "large.png"]  # pytest has filters of its own
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("(6, 9, 3)\n", "")


def test_no_image_is_no_image():
    with pytest.raises(UnidentifiedImageError):
        read_rgb(io.BytesIO(b"dear reader"))
