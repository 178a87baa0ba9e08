"""The corruptions of face images that robustness is measured on, each at five severities."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import albumentations as A
import cv2
import numpy as np

from .drawn_occlusions import EyesBar, Hand, MouthBar, Sunglasses, SurgicalMask

SIDE = 96  # pixels; blur, low resolution and JPEG mean the same for all data only at one size
SEVERITIES = 5

OCCLUSION, POSE, QUALITY, LIGHT = FAMILIES = ("occlusion", "pose", "image quality", "light and colour")


@dataclass(frozen=True)
class Corruption:
    """One way to degrade an image, from mild to strong.

    Attributes:
        name: In reports and results.
        family: One of `FAMILIES`.
        description: What is done, as a part of a sentence.
        parameter: What the values are, with their unit.
        values: Of severity 1 to 5.
        build: Makes the transform of a value. Its strength is fixed; only place, side, sign and noise are random.
    """

    name: str
    family: str
    description: str
    parameter: str
    values: tuple[float, float, float, float, float]
    build: Callable[[float], A.BasicTransform | A.BaseCompose]


class Turn(A.ImageOnlyTransform):
    """Turns the image as a flat picture out of its plane, to the left, right, top or bottom, seen in perspective.

    The camera is two sides of the image away. With x along the direction of the turn and y across, from the middle, in
    sides, a point goes to (x cos a, y) / (1 + x sin a / 2) (Hartley and Zisserman, "Multiple View Geometry in Computer
    Vision", 2004, chapter 6). The border is repeated outside. `A.Perspective` moves corners at random, so that its
    strength cannot be set.

    Args:
        angle: In degrees, below 90.
        p: Probability that it is done.
    """

    _DISTANCE = 2.0

    class InitSchema(A.ImageOnlyTransform.InitSchema):
        """What albumentations checks."""

        angle: float

    def __init__(self, angle: float, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.angle = angle

    def get_params(self) -> dict[str, Any]:
        """Chooses the direction: 0 is right, then counted in quarter turns."""
        return {"direction": int(self.random_generator.integers(4))}

    def apply(self, img: np.ndarray, direction: int, **params: Any) -> np.ndarray:
        """Turns an image, RGB, uint8 [H, W, 3]."""
        height, width = img.shape[:2]
        angle, (cos, sin) = np.radians(self.angle), ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
        in_plane = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        out_of_plane = np.array([[np.cos(angle), 0, 0], [0, 1, 0], [np.sin(angle) / self._DISTANCE, 0, 1]])
        to_pixels = np.array([[width, 0, (width - 1) / 2], [0, height, (height - 1) / 2], [0, 0, 1]])
        matrix = to_pixels @ in_plane @ out_of_plane @ in_plane.T @ np.linalg.inv(to_pixels)
        return cv2.warpPerspective(
            img, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def _blocks(side: float) -> A.BasicTransform:
    return A.CoarseDropout((4, 4), (side, side), (side, side), fill="random_uniform", p=1)


def _rotation(degrees: float) -> A.BaseCompose:
    signs = [A.Affine(rotate=(angle, angle), border_mode=cv2.BORDER_REPLICATE, p=1) for angle in (degrees, -degrees)]
    return A.OneOf(signs, p=1)


def _low_resolution(side: float) -> A.BasicTransform:
    pair = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return A.Downscale((side / SIDE, side / SIDE), pair, p=1)


def _jpeg(quality: float) -> A.BaseCompose:
    # ImageCompression hands RGB to OpenCV as if it were BGR, so that red and blue would be compressed as each other.
    swap = A.Lambda(image=_swap_red_and_blue, name="swap_red_and_blue", p=1)
    return A.Sequential([swap, A.ImageCompression("jpeg", (int(quality), int(quality)), p=1), swap], p=1)


def _swap_red_and_blue(image: np.ndarray, **params: Any) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


def _light(brightness: float = 1, contrast: float = 1) -> A.BasicTransform:
    return A.ColorJitter((brightness, brightness), (contrast, contrast), (1, 1), (0, 0), p=1)


def _colour_cast(levels: float) -> A.BaseCompose:
    casts = [
        A.RGBShift((red, red), (green, green), (blue, blue), p=1)
        for red, green, blue in levels * np.array([[1, 0, -1], [-1, 0, 1], [-0.5, 1, -0.5], [0.5, -1, 0.5]])
    ]
    return A.OneOf(casts, p=1)


CORRUPTIONS = (
    Corruption(
        "eyes bar", OCCLUSION, "a black bar over the eyes",
        "height in sides", (0.08, 0.14, 0.20, 0.26, 0.32), EyesBar,
    ),
    Corruption(
        "mouth bar", OCCLUSION, "a black bar over the mouth",
        "height in sides", (0.08, 0.14, 0.20, 0.26, 0.32), MouthBar,
    ),
    Corruption(
        "hand", OCCLUSION, "a drawn hand that reaches in from the left, the right or below",
        "reach in sides", (0.30, 0.40, 0.50, 0.60, 0.70), Hand,
    ),
    Corruption(
        "blocks", OCCLUSION, "four squares at random places, each of one random colour",
        "side in sides", (0.12, 0.17, 0.22, 0.27, 0.32), _blocks,
    ),
    Corruption(
        "sunglasses", OCCLUSION, "drawn dark glasses",
        "height of a lens in sides", (0.12, 0.17, 0.22, 0.28, 0.34), Sunglasses,
    ),
    Corruption(
        "mask", OCCLUSION, "a drawn face mask, pulled up from the chin to under the eyes",
        "height in sides", (0.18, 0.26, 0.34, 0.42, 0.50), SurgicalMask,
    ),
    Corruption(
        "rotation", POSE, "a rotation in the plane, to either side",
        "degrees", (10, 20, 30, 45, 60), _rotation,
    ),
    Corruption(
        "perspective", POSE, "a turn of the picture out of its plane, to one of the four sides",
        "degrees", (15, 30, 40, 50, 60), Turn,
    ),
    Corruption(
        "blur", QUALITY, "a Gaussian blur",
        "standard deviation in pixels", (1, 1.5, 2.2, 3, 4), lambda sigma: A.GaussianBlur(0, (sigma, sigma), p=1),
    ),
    Corruption(
        "noise", QUALITY, "Gaussian noise, independent in each channel",
        "standard deviation, of 1", (0.04, 0.08, 0.13, 0.20, 0.30), lambda std: A.GaussNoise((std, std), p=1),
    ),
    Corruption(
        "JPEG", QUALITY, "compression as JPEG",
        "quality", (50, 30, 18, 10, 5), _jpeg,
    ),
    Corruption(
        "low resolution", QUALITY, "a reduction by averaging, and enlargement by linear interpolation",
        "side in pixels", (48, 32, 24, 16, 12), _low_resolution,
    ),
    Corruption(
        "darker", LIGHT, "all values multiplied by a factor below 1",
        "factor", (0.65, 0.45, 0.30, 0.20, 0.12), _light,
    ),
    Corruption(
        "brighter", LIGHT, "all values multiplied by a factor above 1 and cut off at white",
        "factor", (1.2, 1.45, 1.75, 2.1, 2.5), _light,
    ),
    Corruption(
        "low contrast", LIGHT, "the distance from the mean grey multiplied by a factor",
        "factor", (0.60, 0.42, 0.29, 0.20, 0.12), partial(_light, 1),
    ),
    Corruption(
        "colour cast", LIGHT, "red, blue, green or magenta added and its opposite taken away",
        "levels of 255", (15, 30, 50, 75, 100), _colour_cast,
    ),
)  # fmt: skip


def resize_face(image: np.ndarray) -> np.ndarray:
    """Resizes an image, RGB, uint8 [H, W, 3], to [`SIDE`, `SIDE`, 3], at which all is measured, clean images too."""
    interpolation = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    return cv2.resize(image, (SIDE, SIDE), interpolation=interpolation)


def corrupt(image: np.ndarray, corruption: Corruption, severity: int, seed: int, index: int) -> np.ndarray:
    """Corrupts an image; the same arguments give the same bytes.

    An image keeps its side, sign and skin tone over the severities, so that these differ in strength alone.

    Args:
        image: RGB, uint8 [`SIDE`, `SIDE`, 3].
        corruption: What is done.
        severity: 1 to 5.
        seed: Of the whole measurement, not negative.
        index: The image's number; others get other random values.

    Returns:
        RGB, uint8, of the same shape.

    Raises:
        ValueError: If the severity or the seed is out of range.
    """
    if severity not in range(1, SEVERITIES + 1) or seed < 0:
        raise ValueError(f"got severity {severity} and seed {seed}; give 1 to {SEVERITIES} and a seed of at least 0")
    transform = _transform(corruption, severity)
    entropy = [seed, zlib.crc32(corruption.name.encode()), index]
    transform.set_random_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
    return transform(image=image)["image"]


@cache
def _transform(corruption: Corruption, severity: int) -> A.Compose:
    return A.Compose([corruption.build(corruption.values[severity - 1])])
