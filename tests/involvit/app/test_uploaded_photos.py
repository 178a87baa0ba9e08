from __future__ import annotations

import re
import struct
import tarfile
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from involvit import pixels
from involvit.app import uploads
from involvit.app.uploads import read_photo
from involvit.prediction.images import read_image

from .upload_files import PIXELS, encoded, refusal


def animation(kind):
    return encoded(kind, save_all=True, append_images=[Image.new("RGB", (32, 20), "red")], duration=100)


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    return encoded(exif=exif)


def cmyk():
    file = BytesIO()
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]), "CMYK").save(file, "JPEG")
    return file.getvalue()


def tar(mode):
    file = BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


PHOTOS = {
    "animation.gif": lambda: animation("GIF"),
    "animation.webp": lambda: animation("WEBP"),
    "cmyk.jpg": cmyk,
    "16_bit.png": lambda: encoded("PNG", PIXELS[..., 0].astype(np.uint16) * 257),
    "rotated.jpg": rotated,
    "alpha.png": lambda: encoded("PNG", np.dstack([PIXELS, PIXELS[..., 0]])),
    "avif.avif": lambda: encoded("AVIF"),
    "jpeg.txt": encoded,
    "no_suffix": encoded,
    "jpeg.mp4": encoded,
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_is_read_as_read_image_reads_it(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PHOTOS[name]())
    photo = read_photo(path)
    assert photo.dtype == np.uint8
    np.testing.assert_array_equal(photo, read_image(path))


def test_a_broken_exif_block_costs_no_photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded("PNG", exif=b"garbage, not TIFF"))
    np.testing.assert_array_equal(read_photo(path), PIXELS)


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    path = tmp_path / "animation.webp"
    path.write_bytes(encoded("WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (32, 20))]))
    np.testing.assert_array_equal(read_photo(path), PIXELS)


def float_image():
    file = BytesIO()
    Image.fromarray(np.full((20, 20), 999, np.float32)).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"hello", "is not a photo"),
        ("program.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is not a photo"),
        ("drawing.jpg", b'<?xml version="1.0"?>\n<SVG xmlns="http://www.w3.org/2000/svg"/>', r"drawing \(SVG\)"),
        ("phone.jpg", struct.pack(">I", 24) + b"ftypheic" + bytes(500), "HEIC .* save it as JPEG"),
        ("clip.jpg", struct.pack(">I", 24) + b"ftypisom" + bytes(500), "is a video"),
        ("clip.mpg", b"what is this", "is a video"),
        ("cut.jpg", encoded()[:500], "is damaged"),
        ("cut.png", encoded("PNG")[:500], "is damaged"),
        ("corrupt.png", encoded("PNG").replace(b"IDAT", b"IDAT\xff\xff", 1), "is damaged"),
        ("corrupt.avif", encoded("AVIF")[:200], "is not a photo that can be read"),
        ("out_of_range.tif", float_image(), "is damaged or of an unusual kind"),
        ("photos.tar.xz", tar("w:xz"), "is an archive that is not opened here. Please unpack it, or make a zip file"),
        ("photos", tar("w"), "is an archive that is not opened here"),
        ("dot.png", encoded("PNG", PIXELS[:1, :1]), r"too small or too narrow \(1 x 1\)"),
        ("strip.png", encoded("PNG", np.zeros((16, 5000), np.uint8)), r"too narrow \(5000 x 16\)"),
    ],
)
def test_what_is_no_photo_is_told_in_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    assert re.match(f"{re.escape(name)} .*{said}", refusal(read_photo, path))


def test_a_photo_that_is_gone_is_told_in_one_line(tmp_path):
    assert "did not arrive" in refusal(read_photo, tmp_path / "gone.jpg")


def solid_png(side):
    """A black image of small files, whatever its size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # a bit for each pixel
    rows = zlib.compress(bytes((1 + (side + 7) // 8) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 10_000, 20_000])
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side, action):
    path = tmp_path / "huge.png"
    path.write_bytes(solid_png(side))
    assert path.stat().st_size < 500_000
    monkeypatch.setattr(pixels, "to_rgb", None)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert (
            refusal(read_photo, path) == "huge.png has more than 52 megapixels. Please make it smaller and try again."
        )


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
@pytest.mark.parametrize("max_side", [512, 400, 300, 64])
def test_a_large_photo_is_scaled_down_to_the_longest_side_allowed(tmp_path, monkeypatch, name, max_side):
    monkeypatch.setattr(uploads, "MAX_SIDE", max_side)
    Image.fromarray(astronaut()).save(tmp_path / name, quality=95)
    photo = read_photo(tmp_path / name)
    height, width = photo.shape[:2]
    assert 2 / 3 * max_side <= height == width <= max_side  # JPEGs shrink by whole numbers first
    expected = Image.fromarray(astronaut()).resize((width, height), Image.Resampling.BOX)
    assert np.abs(photo.astype(int) - np.asarray(expected)).mean() < 4


def test_a_large_photo_on_its_side_is_turned_upright_in_its_own_proportions(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_SIDE", 100)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut()[:256]).save(tmp_path / "photo.jpg", exif=exif)
    photo = read_photo(tmp_path / "photo.jpg")
    assert photo.shape == (100, 50, 3)
    expected = Image.fromarray(np.rot90(astronaut()[:256], -1)).resize((50, 100), Image.Resampling.BOX)
    assert np.abs(photo.astype(int) - np.asarray(expected)).mean() < 6


def test_a_name_that_its_user_knows_is_shown_on_one_line(tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"hello")
    assert refusal(read_photo, tmp_path / "0.jpg", "a.zip/笑顔.jpg").startswith("a.zip/笑顔.jpg is not a photo")
    assert refusal(read_photo, tmp_path / "0.jpg", "two\nlines\u202e.jpg").startswith("twolines.jpg is")
    assert len(refusal(read_photo, tmp_path / "0.jpg", "x" * 50_000 + ".jpg")) < 200
