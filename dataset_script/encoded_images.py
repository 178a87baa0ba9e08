"""Encoded images: their size, and whether whoever loads the data set can decode them."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress

import datasets
from PIL import Image, ImageOps, UnidentifiedImageError

from involvit.files import IMAGE_FORMATS, LFS_ADVICE, is_heic, is_lfs_pointer
from involvit.pixels import read_rgb, to_rgb

from .faces import encode_png

_FEATURE = datasets.Image()


def image_size(data: bytes) -> tuple[int, int] | None:
    """Returns the width and height that an encoded image's header claims; None if it cannot be read."""
    # Pillow may warn of the size and of much else, but `checked_image` is where an image is refused. And what a decoder
    # raises on broken bytes is not limited to a few types.
    with suppress(Exception), warnings.catch_warnings(action="ignore"):
        return Image.open(io.BytesIO(data), formats=IMAGE_FORMATS).size
    return None


def checked_image(data: bytes) -> bytes:
    """Returns an encoded image that decodes to the last pixel, for `datasets` and for `to_rgb`.

    That is the image as it is, or a PNG of its pixels where its metadata are broken: `datasets` could not decode it.

    Raises:
        ValueError: If it cannot be decoded, worded for `BadInput.add`.
    """
    if not data:
        raise ValueError("is empty (0 bytes)")
    with warnings.catch_warnings(action="ignore"):
        with suppress(Exception):
            Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)  # where `datasets` would try every format there is
            image = _FEATURE.decode_example({"bytes": data, "path": None})
            to_rgb(ImageOps.exif_transpose(image))  # the model's processor transposes in this way
            return data
        try:
            return encode_png(Image.fromarray(read_rgb(io.BytesIO(data))))
        except UnidentifiedImageError as error:
            raise ValueError(_what_it_is(data)) from error
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
        except ValueError as error:
            raise ValueError(f"cannot be read ({error})") from error
        except Exception as error:  # what a decoder raises on broken bytes is not limited to a few types
            raise ValueError(f"is truncated or damaged ({error})") from error


def _what_it_is(data: bytes) -> str:
    if is_lfs_pointer(data):
        return LFS_ADVICE
    if is_heic(data):
        return "is a HEIC photo, which cannot be read; convert it to JPEG or PNG"
    return "is not an image"
