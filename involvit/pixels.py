"""Decoded images of any mode -> upright RGB of 8 bits, by the rules of `InvolViTImageProcessor` but without torch."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps


def to_rgb(image: Image.Image) -> np.ndarray:
    """Turns a PIL image upright, and to RGB, uint8 [H, W, 3]; of an animation the present frame.

    The EXIF orientation is applied; transparency is composited onto white; grey, palette, CMYK and other modes become
    RGB. 16-bit images are divided by 257. Other wide integers (PIL mode `I`) are 8-bit where the largest value is at
    most 255, and 16-bit above; floating-point images range over [0, 1], or over [0, 255] where the largest value is at
    least 2.

    Raises:
        ValueError: If its values are out of range.
        OSError: If its file is damaged.
    """
    image = ImageOps.exif_transpose(image)
    # PIL would clip modes that are wider than 8 bit (I, I;16*, F).
    if image.mode.startswith(("I", "F")):
        return np.repeat(_to_8_bit(np.array(image))[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


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
