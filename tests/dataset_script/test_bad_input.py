from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from dataset_script.bad_input import BadInput, image_problem, image_size


def test_stop_raises_with_the_name_and_what_to_do():
    with pytest.raises(
        ValueError, match=r"faces\.zip: Angry/a\.png is truncated\. Repair or remove it, .*on_error=skip"
    ):
        BadInput("faces.zip", "stop").add("Angry/a.png", "is truncated")


def test_skip_collects_how_many_and_which():
    bad = BadInput("faces.zip", "skip")
    assert bad.report() == ""
    bad.add("a.png", "is empty")
    bad.add("b.png", "is not an image")
    assert bad.report() == "left out 2:\n- a.png is empty\n- b.png is not an image"


def test_the_summary_is_one_line_with_the_votes_and_the_first_piece():
    bad = BadInput("faces.zip", "skip")
    assert bad.summary() == ""
    bad.unclear["with no majority"] += 2
    assert bad.summary() == "left out 2 images because of their votes: 2 with no majority"
    bad.add("a.png", "is empty")
    bad.add("b.png", "is not an image")
    assert bad.summary() == (
        "left out 2 images because of their votes: 2 with no majority; left out 2, the first: a.png is empty"
    )


def test_another_on_error_is_refused():
    with pytest.raises(ValueError, match="'stop' or 'skip'"):
        BadInput("faces.zip", "ignore")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_a_whole_image_has_no_problem(encoded, image_format):
    assert image_problem(encoded(0, image_format)) is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "1"])
def test_any_pixel_mode_is_read(mode):
    buffer = io.BytesIO()
    Image.new(mode, (5, 7)).save(buffer, "TIFF")
    assert image_problem(buffer.getvalue()) is None


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_truncated_image_is_found(encoded, image_format):
    data = encoded(0, image_format, size=64)
    assert "truncated" in image_problem(data[: len(data) // 2])


def test_the_size_is_that_of_the_header(encoded, png_of_size):
    assert image_size(encoded(0, size=64)[:3000]) == (64, 64)
    assert image_size(png_of_size(10_000, 9_000)) == (10_000, 9_000)
    assert [image_size(data) for data in (b"", b"dear reader", png_of_size(30_000, 30_000))] == [None] * 3


def test_an_empty_file_and_a_text_are_found():
    assert "0 bytes" in image_problem(b"")
    assert image_problem(b"dear reader") == "is not an image"


def test_postscript_is_not_run():
    assert image_problem(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n") == "is not an image"


@pytest.mark.parametrize("side", [30_000, 10_000])
def test_a_pixel_bomb_is_refused_by_its_header(png_of_size, side):
    start = time.perf_counter()
    assert "pixels" in image_problem(png_of_size(side, side))
    assert time.perf_counter() - start < 0.5
