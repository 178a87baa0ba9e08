"""What covers faces in life, drawn where FER2013's framing has eyes, nose and mouth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ...prediction.face_detection import FER_LANDMARKS

RIGHT_EYE, LEFT_EYE, _, RIGHT_MOUTH, LEFT_MOUTH = FER_LANDMARKS

_SHIFT = 0.015  # standard deviation of the place, in sides of the image
_TILT = np.radians(3)  # standard deviation
_CHIN = 0.98
_SKIN_TONES = ((246, 215, 190), (224, 172, 138), (189, 129, 92), (141, 85, 55), (92, 56, 40))
_MASK_COLORS = ((140, 190, 220), (235, 238, 240), (40, 42, 48))
_HAND = (  # arm, thumb and fingers of a hand of length 1 that points up: start, end and width; its wrist is at (0, 1)
    ((0, 0.62), (0, 1.5), 0.34),
    ((0.1, 0.74), (0.38, 0.42), 0.12),
    ((-0.165, 0.62), (-0.25, 0.15), 0.11),
    ((-0.055, 0.62), (-0.085, 0.055), 0.11),
    ((0.055, 0.62), (0.07, 0.055), 0.11),
    ((0.165, 0.62), (0.22, 0.12), 0.11),
)
_SUBPIXEL_BITS = 8

Shapes = Iterator[tuple[np.ndarray, tuple[int, ...]]]
"""Polygons [N, 2] of x and y in sides of the image, the lowest first, and their RGB colours."""
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A function of an image, RGB, uint8 [H, W, 3], and of random numbers, that returns another image."""


def drawing(shapes: Callable[[float, np.random.Generator], Shapes], size: float) -> Change:
    """Returns a function that draws shapes on a copy of an image, a little shifted and tilted each time.

    Args:
        shapes: One of the functions below.
        size: How large they are, in sides of the image; each function says which length that is.
    """

    def draw(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image = image.copy()
        shift, tilt = rng.normal(0, _SHIFT, 2), rng.normal(0, _TILT)
        for points, color in shapes(size, rng):
            # Whole numbers are the borders of pixels here, in OpenCV their centres; it adds up to a pixel on each side.
            pixels = ((_turned(points, tilt) + shift) * image.shape[1::-1] - 0.5) * 2**_SUBPIXEL_BITS
            cv2.fillPoly(image, [np.round(pixels).astype(np.int32)], color, cv2.LINE_AA, _SUBPIXEL_BITS)
        return image

    return draw


def eyes_bar(size: float, rng: np.random.Generator) -> Shapes:
    """Yields a black bar over both eyes; `size` is its height."""
    yield _bar((RIGHT_EYE + LEFT_EYE) / 2, 0.74, size), (0, 0, 0)


def mouth_bar(size: float, rng: np.random.Generator) -> Shapes:
    """Yields a black bar over the mouth; `size` is its height."""
    yield _bar((RIGHT_MOUTH + LEFT_MOUTH) / 2, 0.5, size), (0, 0, 0)


def sunglasses(size: float, rng: np.random.Generator) -> Shapes:
    """Yields temples, bridge and lenses of dark glasses; `size` is the height of a lens."""
    dark = (18, 18, 22)
    for eye, border in ((RIGHT_EYE, 0.0), (LEFT_EYE, 1.0)):
        yield _stick(eye, (border, eye[1] - 0.04), 0.025), dark
    yield _stick(RIGHT_EYE, LEFT_EYE, 0.035), dark
    for eye in (RIGHT_EYE, LEFT_EYE):
        yield _rounded(eye, min(0.62 * size, 0.18), size / 2), dark  # wider ones would overlap


def mask(size: float, rng: np.random.Generator) -> Shapes:
    """Yields straps, cloth and pleats of a light blue, white or black face mask; `size` is its height from the chin."""
    color = _MASK_COLORS[rng.integers(len(_MASK_COLORS))]
    fold = tuple(int(0.8 * value) for value in color)
    top = _CHIN - size
    for cheek, border in ((0.16, 0.0), (0.84, 1.0)):
        yield _stick((cheek, top + 0.05), (border, top - 0.04), 0.015), fold
        yield _stick((cheek, _CHIN - 0.08), (border, top + 0.1), 0.015), fold
    left = [(0.5, top), (0.36, top + 0.01), (0.16, top + 0.05), (0.18, _CHIN - 0.08), (0.34, 1.03), (0.5, 1.06)]
    yield np.array(left + [(1 - x, y) for x, y in left[-2:0:-1]]), color
    for height in np.linspace(top + 0.06, _CHIN - 0.02, 5)[1:-1]:
        yield _stick((0.2, height), (0.8, height), 0.012), fold


def hand(size: float, rng: np.random.Generator) -> Shapes:
    """Yields arm, fingers and palm, each with a darker rim, from the left, the right or below; `size` is the reach."""
    color = _SKIN_TONES[rng.integers(len(_SKIN_TONES))]
    rim = tuple(int(0.7 * value) for value in color)
    quarter_turns = rng.integers(-1, 2)
    along = rng.uniform(-0.15, 0.15)
    thumb = rng.choice([-1, 1])
    # A face's features lie below the middle: a hand from the side comes in there.
    lower = np.array([0, 0.1 * abs(quarter_turns)])
    for part in (*(_stick(*stick) for stick in _HAND), _rounded((0, 0.65), 0.23, 0.22)):
        outline = size * part * [thumb, 1] + [0.5 + along, 1 - size]
        outline = _turned(outline, quarter_turns * np.pi / 2) + lower
        yield outline, rim
        inwards = outline.mean(axis=0) - outline
        yield outline + 0.012 * inwards / np.linalg.norm(inwards, axis=1, keepdims=True), color


def _bar(centre: np.ndarray, width: float, height: float) -> np.ndarray:
    return centre + np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2


def _stick(start: ArrayLike, end: ArrayLike, width: float) -> np.ndarray:
    """Returns the outline of a line with round ends, which lie `width / 2` beyond its points."""
    start, end = np.array([start, end], float)
    direction = np.arctan2(*(end - start)[::-1])
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)
    angles = direction + np.concatenate([half, half + np.pi])
    return np.repeat([end, start], len(half), axis=0) + width / 2 * np.column_stack([np.cos(angles), np.sin(angles)])


def _rounded(centre: ArrayLike, half_width: float, half_height: float) -> np.ndarray:
    """Returns the outline of |x / a|^3 + |y / b|^3 = 1, a rounded rectangle."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    return centre + np.sign(circle) * np.abs(circle) ** (2 / 3) * [half_width, half_height]


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Turns points about the middle of the image, clockwise on the screen, by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + 0.5
