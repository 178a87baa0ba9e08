"""The corruptions of face images that robustness is measured on, each at five severities."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import albumentations as A
import cv2
import numpy as np

from .drawn_occlusions import Change, drawing, eyes_bar, hand, mask, mouth_bar, sunglasses

SIDE = 96  # pixels; blur, low resolution and JPEG mean the same for all data only at one size
SEVERITIES = 5

OCCLUSION, POSE, QUALITY, LIGHT = FAMILIES = ("occlusion", "pose", "image quality", "light and colour")


@dataclass(frozen=True)
class Corruption:
    """One way to degrade an image, from mild to strong."""

    name: str
    family: str  # one of `FAMILIES`
    description: str  # what is done, as a part of a sentence
    parameter: str  # what the values are, with their unit
    values: tuple[float, float, float, float, float]  # of severity 1 to 5
    # Makes of a value a transform of albumentations, or a function of an image and of random numbers. Its strength is
    # fixed; only place, side, sign and noise are random.
    build: Callable[[float], A.BasicTransform | A.BaseCompose | Change]


def _blocks(side: float) -> A.BasicTransform:
    return A.CoarseDropout((4, 4), (side, side), (side, side), fill="random_uniform", p=1)


def _rotation(degrees: float) -> A.BaseCompose:
    signs = [A.Affine(rotate=(angle, angle), border_mode=cv2.BORDER_REPLICATE, p=1) for angle in (degrees, -degrees)]
    return A.OneOf(signs, p=1)


def _perspective(degrees: float) -> Change:
    """Turns the image as a flat picture out of its plane, to the left, right, top or bottom, seen in perspective.

    The camera is two sides of the image away. With x along the direction of the turn and y across, from the middle, in
    sides, a point goes to (x cos a, y) / (1 + x sin a / 2) (Hartley and Zisserman, "Multiple View Geometry in Computer
    Vision", 2004, chapter 6). The border is repeated outside. `A.Perspective` moves corners at random, so that its
    strength cannot be set.
    """
    angle = np.radians(degrees)
    out_of_plane = np.array([[np.cos(angle), 0, 0], [0, 1, 0], [np.sin(angle) / 2, 0, 1]])

    def turn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[rng.integers(4)]
        in_plane = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        to_pixels = np.array([[width, 0, (width - 1) / 2], [0, height, (height - 1) / 2], [0, 0, 1]])
        matrix = to_pixels @ in_plane @ out_of_plane @ in_plane.T @ np.linalg.inv(to_pixels)
        return cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    return turn


def _jpeg(quality: float) -> Change:
    def compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _, file = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, int(quality)))
        return cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)

    return compress


def _low_resolution(side: float) -> A.BasicTransform:
    pair = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return A.Downscale((side / SIDE, side / SIDE), pair, p=1)


def _light(brightness: float = 1, contrast: float = 1) -> A.BasicTransform:
    return A.ColorJitter((brightness, brightness), (contrast, contrast), (1, 1), (0, 0), p=1)


def _colour_cast(levels: float) -> A.BaseCompose:
    casts = levels * np.array([[1, 0, -1], [-1, 0, 1], [-0.5, 1, -0.5], [0.5, -1, 0.5]])
    return A.OneOf([A.RGBShift(*zip(cast, cast, strict=True), p=1) for cast in casts], p=1)


CORRUPTIONS = (
    Corruption("eyes bar", OCCLUSION, "a black bar over the eyes",
               "height in sides", (0.08, 0.14, 0.20, 0.26, 0.32), partial(drawing, eyes_bar)),
    Corruption("mouth bar", OCCLUSION, "a black bar over the mouth",
               "height in sides", (0.08, 0.14, 0.20, 0.26, 0.32), partial(drawing, mouth_bar)),
    Corruption("hand", OCCLUSION, "a drawn hand that reaches in from the left, the right or below",
               "reach in sides", (0.30, 0.40, 0.50, 0.60, 0.70), partial(drawing, hand)),
    Corruption("blocks", OCCLUSION, "four squares at random places, each of one random colour",
               "side in sides", (0.12, 0.17, 0.22, 0.27, 0.32), _blocks),
    Corruption("sunglasses", OCCLUSION, "drawn dark glasses",
               "height of a lens in sides", (0.12, 0.17, 0.22, 0.28, 0.34), partial(drawing, sunglasses)),
    Corruption("mask", OCCLUSION, "a drawn face mask, pulled up from the chin to under the eyes",
               "height in sides", (0.18, 0.26, 0.34, 0.42, 0.50), partial(drawing, mask)),
    Corruption("rotation", POSE, "a rotation in the plane, to either side",
               "degrees", (10, 20, 30, 45, 60), _rotation),
    Corruption("perspective", POSE, "a turn of the picture out of its plane, to one of the four sides",
               "degrees", (15, 30, 40, 50, 60), _perspective),
    Corruption("blur", QUALITY, "a Gaussian blur", "standard deviation in pixels",
               (1, 1.5, 2.2, 3, 4), lambda sigma: A.GaussianBlur(0, (sigma, sigma), p=1)),
    Corruption("noise", QUALITY, "Gaussian noise, independent in each channel", "standard deviation, of 1",
               (0.04, 0.08, 0.13, 0.20, 0.30), lambda std: A.GaussNoise((std, std), p=1)),
    Corruption("JPEG", QUALITY, "compression as JPEG", "quality", (50, 30, 18, 10, 5), _jpeg),
    Corruption("low resolution", QUALITY, "a reduction by averaging, and enlargement by linear interpolation",
               "side in pixels", (48, 32, 24, 16, 12), _low_resolution),
    Corruption("darker", LIGHT, "all values multiplied by a factor below 1",
               "factor", (0.65, 0.45, 0.30, 0.20, 0.12), _light),
    Corruption("brighter", LIGHT, "all values multiplied by a factor above 1 and cut off at white",
               "factor", (1.2, 1.45, 1.75, 2.1, 2.5), _light),
    Corruption("low contrast", LIGHT, "the distance from the mean grey multiplied by a factor",
               "factor", (0.60, 0.42, 0.29, 0.20, 0.12), partial(_light, 1)),
    Corruption("colour cast", LIGHT, "red, blue, green or magenta added and its opposite taken away",
               "levels of 255", (15, 30, 50, 75, 100), _colour_cast),
)  # fmt: skip


def resize_face(image: np.ndarray) -> np.ndarray:
    """Resizes an image, RGB, uint8 [H, W, 3], to [`SIDE`, `SIDE`, 3], at which all is measured, clean images too."""
    interpolation = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    return cv2.resize(image, (SIDE, SIDE), interpolation=interpolation)


def corrupt(image: np.ndarray, corruption: Corruption, severity: int, seed: int, index: int) -> np.ndarray:
    """Corrupts an image, RGB, uint8 [`SIDE`, `SIDE`, 3]; the same arguments give the same bytes.

    An image keeps its side, sign and skin tone over the severities, so that these differ in strength alone.

    Args:
        image: What is corrupted; it stays as it is.
        corruption: What is done.
        severity: 1 to 5.
        seed: Of the whole measurement, not negative.
        index: The image's number; others get other random values.

    Raises:
        ValueError: If the severity or the seed is out of range.
    """
    if severity not in range(1, SEVERITIES + 1) or seed < 0:
        raise ValueError(f"got severity {severity} and seed {seed}; give 1 to {SEVERITIES} and a seed of at least 0")
    entropy = [seed, zlib.crc32(corruption.name.encode()), index]
    own_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    change = _built(corruption, severity)
    if not isinstance(change, A.Compose):
        return change(image, np.random.default_rng(own_seed))
    change.set_random_seed(own_seed)
    return change(image=image)["image"]


@cache
def _built(corruption: Corruption, severity: int) -> A.Compose | Change:
    built = corruption.build(corruption.values[severity - 1])
    return A.Compose([built]) if isinstance(built, A.BasicTransform | A.BaseCompose) else built
