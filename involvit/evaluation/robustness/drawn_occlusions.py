"""What covers faces in life, drawn where FER2013's framing has eyes, nose and mouth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import albumentations as A
import cv2
import numpy as np

from ...prediction.face_detection import FER_LANDMARKS

RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH = FER_LANDMARKS
EYES = (RIGHT_EYE + LEFT_EYE) / 2
MOUTH = (RIGHT_MOUTH + LEFT_MOUTH) / 2

_SHIFT = 0.015  # standard deviation of the place, in sides of the image
_TILT = np.radians(3)  # standard deviation
_CHIN = 0.98
_SKIN_TONES = ((246, 215, 190), (224, 172, 138), (189, 129, 92), (141, 85, 55), (92, 56, 40))
_MASK_COLORS = ((140, 190, 220), (235, 238, 240), (40, 42, 48))
_SUBPIXEL_BITS = 8

Shape = tuple[np.ndarray, tuple[int, int, int]]


class DrawnOcclusion(A.ImageOnlyTransform):
    """Draws filled polygons over a face, a little shifted and tilted each time.

    Args:
        size: How large it is, in sides of the image; each class says which length that is.
        p: Probability that it is drawn.
    """

    class InitSchema(A.ImageOnlyTransform.InitSchema):
        """What albumentations checks."""

        size: float

    def __init__(self, size: float, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.size = size

    @abstractmethod
    def shapes(self) -> Iterator[Shape]:
        """Yields polygons [N, 2] of x and y in sides of the image, the lowest first, and their RGB colours."""

    def get_params(self) -> dict[str, Any]:
        """Chooses what `apply` draws."""
        shift, tilt = self.random_generator.normal(0, _SHIFT, 2), self.random_generator.normal(0, _TILT)
        return {"shapes": [(_turned(points, tilt) + shift, color) for points, color in self.shapes()]}

    def apply(self, img: np.ndarray, shapes: list[Shape], **params: Any) -> np.ndarray:
        """Draws on a copy of an image, RGB, uint8 [H, W, 3]. OpenCV adds up to a pixel on each side of a polygon."""
        img = img.copy()
        height, width = img.shape[:2]
        for points, color in shapes:
            # Whole numbers are the borders of pixels here, in OpenCV their centres.
            pixels = (points * [width, height] - 0.5) * 2**_SUBPIXEL_BITS
            cv2.fillPoly(img, [np.round(pixels).astype(np.int32)], color, cv2.LINE_AA, _SUBPIXEL_BITS)
        return img


class EyesBar(DrawnOcclusion):
    """A black bar over both eyes; `size` is its height."""

    def shapes(self) -> Iterator[Shape]:
        """Yields the bar; see `DrawnOcclusion`."""
        yield _bar(EYES, 0.74, self.size), (0, 0, 0)


class MouthBar(DrawnOcclusion):
    """A black bar over the mouth; `size` is its height."""

    def shapes(self) -> Iterator[Shape]:
        """Yields the bar; see `DrawnOcclusion`."""
        yield _bar(MOUTH, 0.5, self.size), (0, 0, 0)


class Sunglasses(DrawnOcclusion):
    """Dark glasses; `size` is the height of a lens."""

    def shapes(self) -> Iterator[Shape]:
        """Yields temples, bridge and lenses; see `DrawnOcclusion`."""
        dark = (18, 18, 22)
        lens = np.array([min(0.62 * self.size, 0.18), self.size / 2])  # wider ones would overlap
        for eye, border in ((RIGHT_EYE, 0.0), (LEFT_EYE, 1.0)):
            yield _stick(eye, np.array([border, eye[1] - 0.04]), 0.025), dark
        yield _stick(RIGHT_EYE, LEFT_EYE, 0.035), dark
        for eye in (RIGHT_EYE, LEFT_EYE):
            yield _ellipse(eye, *lens, power=3), dark


class SurgicalMask(DrawnOcclusion):
    """A face mask, light blue, white or black; `size` is its height above the chin."""

    def shapes(self) -> Iterator[Shape]:
        """Yields straps, cloth and pleats; see `DrawnOcclusion`."""
        color = _MASK_COLORS[self.random_generator.integers(len(_MASK_COLORS))]
        fold = tuple(int(0.8 * value) for value in color)
        top = _CHIN - self.size
        for cheek, border in ((0.16, 0.0), (0.84, 1.0)):
            yield _stick(np.array([cheek, top + 0.05]), np.array([border, top - 0.04]), 0.015), fold
            yield _stick(np.array([cheek, _CHIN - 0.08]), np.array([border, top + 0.1]), 0.015), fold
        left_half = [
            [0.5, top],
            [0.36, top + 0.01],
            [0.16, top + 0.05],
            [0.18, _CHIN - 0.08],
            [0.34, 1.03],
            [0.5, 1.06],
        ]
        right_half = [[1 - x, y] for x, y in left_half[-2:0:-1]]
        yield np.array(left_half + right_half), color
        for height in np.linspace(top + 0.06, _CHIN - 0.02, 5)[1:-1]:
            yield _stick(np.array([0.2, height]), np.array([0.8, height]), 0.012), fold


class Hand(DrawnOcclusion):
    """A hand of one of five skin tones that reaches in from the left, the right or below; `size` is how far."""

    def shapes(self) -> Iterator[Shape]:
        """Yields arm, fingers and palm, each with a darker rim; see `DrawnOcclusion`."""
        color = _SKIN_TONES[self.random_generator.integers(len(_SKIN_TONES))]
        rim = tuple(int(0.7 * value) for value in color)
        quarter_turns = self.random_generator.integers(-1, 2)
        along = self.random_generator.uniform(-0.15, 0.15)
        thumb = self.random_generator.choice([-1, 1])
        tip = np.array([0.5 + along, 1 - self.size])
        # A face's features lie below the middle: a hand from the side comes in there.
        lower = np.array([0, 0.1 * abs(quarter_turns)])
        for points in _hand_parts(self.size):
            placed = _turned(points * [thumb, 1] + tip, quarter_turns * np.pi / 2) + lower
            yield placed, rim
            centre = placed.mean(axis=0)
            inwards = centre - placed
            yield placed + 0.012 * inwards / np.linalg.norm(inwards, axis=1, keepdims=True), color


def _hand_parts(length: float) -> Iterator[np.ndarray]:
    """Yields outlines of a hand that points up: the middle finger's tip is at (0, 0), the wrist at (0, length)."""
    arm = [(0, 0.62), (0, 1.5), 0.34]
    thumb = [(0.1, 0.74), (0.38, 0.42), 0.12]
    fingers = [
        [(-0.165, 0.62), (-0.25, 0.15), 0.11],
        [(-0.055, 0.62), (-0.085, 0.055), 0.11],
        [(0.055, 0.62), (0.07, 0.055), 0.11],
        [(0.165, 0.62), (0.22, 0.12), 0.11],
    ]
    for start, end, width in (arm, thumb, *fingers):
        yield length * _stick(np.array(start), np.array(end), width)
    yield length * _ellipse(np.array([0, 0.65]), 0.23, 0.22, power=3)


def _bar(centre: np.ndarray, width: float, height: float) -> np.ndarray:
    return centre + np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2


def _stick(start: np.ndarray, end: np.ndarray, width: float) -> np.ndarray:
    """Returns the outline of a line with round ends, which lie `width / 2` beyond its points."""
    direction = np.arctan2(*(end - start)[::-1])
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)
    angles = direction + np.concatenate([half, half + np.pi])
    return np.repeat([end, start], len(half), axis=0) + width / 2 * np.column_stack([np.cos(angles), np.sin(angles)])


def _ellipse(centre: np.ndarray, half_width: float, half_height: float, power: float = 2) -> np.ndarray:
    """Returns the outline of |x / a|^power + |y / b|^power = 1: an ellipse, or with more than 2 a rounded rectangle."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    return centre + np.sign(circle) * np.abs(circle) ** (2 / power) * [half_width, half_height]


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Turns points about the middle of the image, clockwise on the screen, by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + 0.5
