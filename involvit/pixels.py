"""Encoded and decoded images of any kind -> upright RGB of 8 bits, by the rules of `InvolViTImageProcessor` but without
torch. The pixels are what counts: metadata that is broken, or that Pillow refuses, costs an image at most its turn."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from .files import IMAGE_FORMATS

# Of images half as large as those that Pillow refuses. Not where they are read: that would not be thread-safe.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

MAX_MEGAPIXELS = 178
"""Pillow opens no larger image, nor do the libraries behind which it stands."""

_FLIP = Image.Transpose
_UPRIGHT = {  # orientation in EXIF -> what undoes it
    2: _FLIP.FLIP_LEFT_RIGHT,
    3: _FLIP.ROTATE_180,
    4: _FLIP.FLIP_TOP_BOTTOM,
    5: _FLIP.TRANSPOSE,
    6: _FLIP.ROTATE_270,
    7: _FLIP.TRANSVERSE,
    8: _FLIP.ROTATE_90,
}


def read_rgb(file: BinaryIO, prepare: Callable[[Image.Image], object] | None = None) -> np.ndarray:
    """Decodes an image of one of `IMAGE_FORMATS`, see `to_rgb`; of an animation the first frame.

    Args:
        file: Open at its start.
        prepare: Is given the image before its pixels are read, to refuse it by its size or to call `draft`.

    Raises:
        PIL.UnidentifiedImageError: If it is no image.
        PIL.Image.DecompressionBombError: If it has more than `MAX_MEGAPIXELS`.
        ValueError: If its values are out of range.
        Exception: Whatever else Pillow raises on a damaged file; the types are many.
    """
    try:
        return _decode(file, prepare)
    except Image.DecompressionBombError:
        raise
    except Exception:
        file.seek(0)
        if (bare := _without_metadata(file)) is None:
            raise
        return _decode(io.BytesIO(bare), prepare)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Turns a PIL image upright, and to RGB, uint8 [H, W, 3]; of an animation the present frame.

    The EXIF orientation is applied where it can be read; transparency is composited onto white; grey, palette, CMYK and
    other modes become RGB. 16-bit images are divided by 257. Other wide integers (PIL mode `I`) are 8-bit where the
    largest value is at most 255, and 16-bit above; floating-point images range over [0, 1], or over [0, 255] where the
    largest value is at least 2.

    Raises:
        ValueError: If its values are out of range.
        OSError: If its file is damaged.
    """
    image = _upright(image)
    # PIL would clip modes that are wider than 8 bit (I, I;16*, F).
    if image.mode.startswith(("I", "F")):
        return np.repeat(_to_8_bit(np.array(image))[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _decode(file: BinaryIO, prepare: Callable[[Image.Image], object] | None) -> np.ndarray:
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # where warnings are errors
        problem = f"has more than {MAX_MEGAPIXELS} megapixels; make it smaller"
        raise Image.DecompressionBombError(problem) from None
    with image:
        if prepare is not None:
            prepare(image)
        return to_rgb(image)


def _upright(image: Image.Image) -> Image.Image:
    """Unlike `ImageOps.exif_transpose`, it writes no EXIF block anew, and so needs none that is whole."""
    image.load()
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # what Pillow raises on a broken block is not limited to a few types
        return image
    return image if turn is None else image.transpose(turn)


def _without_metadata(file: BinaryIO) -> bytes | None:
    """Returns a PNG or JPEG without the parts that say nothing of its pixels; None for other files.

    Pillow gives up on an image for a colour profile cut short, a wrong checksum of a comment or a comment of 2 MB.
    """
    start = file.read(8)
    if start == b"\x89PNG\r\n\x1a\n":
        kept, rest, place = [start], file.read(), 0
        while len(head := rest[place : place + 8]) == 8:
            size, kind = struct.unpack(">I4s", head)
            end = place + 12 + size
            if kind[:1].isupper() or (kind == b"tRNS" and size > 1):  # an upper case letter marks what decoders need
                kept.append(rest[place:end])
            place = end
        return b"".join(kept)
    if start.startswith(b"\xff\xd8\xff"):
        kept, rest, place = [start[:2]], start[2:] + file.read(), 0
        while len(head := rest[place : place + 4]) == 4 and head[0] == 0xFF and head[1] != 0xDA:  # up to the scan
            end = place + 2 + int.from_bytes(head[2:])
            is_color = head[1] == 0xEE and end - place >= 16  # Adobe's, by which CMYK is told from YCCK
            if is_color or not (0xE0 <= head[1] <= 0xEF or head[1] == 0xFE):
                kept.append(rest[place:end])
            place = end
        return b"".join([*kept, rest[place:]])
    return None


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Scales [H, W] of PIL modes `I`, `I;16*` and `F` to uint8, by the rules of `to_rgb`."""
    is_float = values.dtype.kind == "f"
    low, high = float(values.min()), float(values.max())
    if is_float and high < 2:
        scale = 255.0
    elif values.dtype.itemsize == 2 or (not is_float and high > 255):
        scale = 1 / 257
    else:
        scale = 1.0
    # Half a level of overshoot rounds away; NaN fails both comparisons.
    if not (low * scale >= -0.5 and high * scale <= 255.5):
        valid = "[0, 1] or [0, 255]" if is_float else "[0, 255] or [0, 65535]"
        raise ValueError(f"its values range from {low:g} to {high:g}, not in {valid}")
    return np.rint(values.astype(np.float32) * np.float32(scale)).clip(0, 255).astype(np.uint8)
