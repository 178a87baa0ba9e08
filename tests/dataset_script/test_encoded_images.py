from __future__ import annotations

import io
import struct
import zlib

import datasets
import numpy as np
import pytest
from PIL import Image, ImageOps

from dataset_script.encoded_images import checked_image, image_size
from involvit.pixels import to_rgb


def decoded(data):
    """What every later reader sees: `datasets` decodes, then `to_rgb` or the processor turns it to RGB."""
    image = datasets.Image().decode_example({"bytes": data, "path": None})
    return to_rgb(ImageOps.exif_transpose(image))


def save(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_a_whole_image_stays_as_it_is(encoded, image_format):
    assert checked_image(encoded(0, image_format)) == encoded(0, image_format)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "1", "F", "LAB"])
def test_any_pixel_mode_is_read(mode):
    data = save(Image.new(mode, (5, 7)), "TIFF")
    assert checked_image(data) == data
    assert decoded(data).shape == (7, 5, 3)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "MPO"])
def test_of_an_animation_the_first_frame_counts(image_format):
    frames = [Image.new("RGB", (5, 7), color) for color in ("red", "blue")]
    data = save(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert checked_image(data) == data
    np.testing.assert_allclose(decoded(data)[3, 2].astype(int), [255, 0, 0], atol=3)


def test_a_palette_with_transparency_bytes_and_a_very_narrow_image():
    palette = Image.new("P", (5, 7))
    for data in (save(palette, "PNG", transparency=b"\0\x80\xff"), save(Image.new("L", (9000, 1)), "PNG")):
        assert checked_image(data) == data
        assert decoded(data).shape[2] == 3


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_costs_only_the_orientation(image_format):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    plain, broken = save(image, image_format), save(image, image_format, exif=b"Exif\0\0no TIFF at all")
    np.testing.assert_array_equal(decoded(checked_image(broken)), decoded(plain))


def test_an_orientation_beside_what_cannot_be_written_again_is_applied():
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, "2026:01:01 00:00:00"
    block = exif.tobytes().replace(struct.pack("<HH", 0x0132, 2), struct.pack("<HH", 0x0132, 12))  # a text as a double
    data = save(Image.new("RGB", (9, 6), "red"), "JPEG", exif=block)
    assert decoded(checked_image(data)).shape == (9, 6, 3)


def chunk(kind, body, fault=0):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ fault)


HUGE = zlib.compress(bytes(3 << 20))
PNG_CHUNKS = {
    "a comment of 3 MiB": chunk(b"zTXt", b"a\0\0" + HUGE),
    "a checksum": chunk(b"tEXt", b"a\0b", 1),
    "a profile of 3 MiB": chunk(b"iCCP", b"a\0\0" + HUGE),
    "a profile cut short": chunk(b"iCCP", b"a"),
    "a gamma cut short": chunk(b"gAMA", b"a"),
    "an animation cut short": chunk(b"acTL", b"\0"),
}
JPEG_SEGMENTS = {
    "a profile": b"\xff\xe2\0\x0eICC_PROFILE\0",
    "JFIF": b"\xff\xe0\0\x06JFIF",
    "Adobe": b"\xff\xee\0\7Adobe",
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("extra", PNG_CHUNKS.values(), ids=PNG_CHUNKS)
def test_a_png_is_read_whatever_is_wrong_beside_its_pixels(extra, place):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    data = save(image, "PNG")
    cut = 33 if place == "before" else -12
    np.testing.assert_array_equal(decoded(checked_image(data[:cut] + extra + data[cut:])), np.asarray(image))


@pytest.mark.parametrize("extra", JPEG_SEGMENTS.values(), ids=JPEG_SEGMENTS)
def test_a_jpeg_is_read_whatever_is_wrong_beside_its_pixels(extra):
    data = save(Image.effect_noise((9, 6), 50), "JPEG")
    np.testing.assert_array_equal(decoded(checked_image(data[:2] + extra + data[2:])), decoded(data))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_truncated_image_is_found(encoded, image_format):
    data = encoded(0, image_format, size=64)
    with pytest.raises(ValueError, match="truncated"):
        checked_image(data[: len(data) // 2])


def test_values_out_of_range_are_found():
    with pytest.raises(ValueError, match=r"its values range from -5 to -5, not in \[0, 1\]"):
        checked_image(save(Image.new("F", (2, 2), -5), "TIFF"))


def test_the_size_is_that_of_the_header(encoded, png_of_size):
    assert image_size(encoded(0, size=64)[:3000]) == (64, 64)
    assert image_size(png_of_size(10_000, 9_000)) == (10_000, 9_000)
    assert [image_size(data) for data in (b"", b"dear reader", png_of_size(30_000, 30_000))] == [None] * 3


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "0 bytes"),
        (b"dear reader", "is not an image"),
        (POSTSCRIPT, "is not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "is a HEIC photo.* convert it to JPEG or PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer.*run `git lfs pull`"),
    ],
)
def test_what_is_no_image_is_found_and_postscript_is_not_run(data, problem):
    with pytest.raises(ValueError, match=problem):
        checked_image(data)


@pytest.mark.parametrize("side", [30_000, 14_000])
def test_too_many_pixels_are_refused_by_the_header_and_for_that_reason(png_of_size, side):
    with pytest.raises(ValueError, match="has more than 178 megapixels; make it smaller"):
        checked_image(png_of_size(side, side))
