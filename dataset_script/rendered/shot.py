"""How a face is photographed, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OCCLUDERS = ("fingers", "cup", "sheet")


@dataclass(frozen=True)
class Shot:
    """How a face is photographed. Angles are in radians, lengths in units of the image's height."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    offset: tuple[float, float]
    gaze: tuple[float, float]
    light: NDArray[np.float64]  # [3], towards the light: right, down, to the viewer
    ambient: float  # share of the light that comes from everywhere, 0 to 1
    tint: NDArray[np.float64]  # [3], a factor per channel
    backdrop: int  # seed of the background
    occluder: str  # one of OCCLUDERS or "none"
    occluder_place: tuple[float, float, float]  # x and y in head coordinates, angle
    blur: float  # deviation in units of the image's height
    noise: float  # deviation in grey levels
    grain: int  # seed of skin, hair and noise


def sample_shot(rng: np.random.Generator) -> Shot:
    """Draws how a face is photographed."""

    def angle(deviation: float, limit: float) -> float:
        return np.radians(np.clip(deviation * rng.standard_normal(), -limit, limit))

    light = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.15), rng.uniform(0.5, 1.0)])
    warmth = rng.uniform(-0.08, 0.08)
    return Shot(
        yaw=angle(14, 32),
        pitch=angle(7, 16),
        roll=angle(7, 18),
        scale=rng.uniform(0.33, 0.40),
        offset=(rng.uniform(-0.05, 0.05), rng.uniform(-0.03, 0.05)),
        gaze=(rng.uniform(-0.6, 0.6), rng.uniform(-0.3, 0.3)),
        light=light / np.linalg.norm(light),
        ambient=rng.uniform(0.45, 0.75),
        tint=np.array([1 + warmth, 1, 1 - warmth]) * rng.uniform(0.75, 1.12),
        backdrop=rng.integers(2**31),
        occluder=OCCLUDERS[rng.integers(len(OCCLUDERS))] if rng.random() < 0.12 else "none",
        occluder_place=(rng.uniform(0.35, 0.8) * rng.choice([-1, 1]), rng.uniform(-0.1, 0.9), angle(40, 80)),
        blur=rng.choice([0, 0, rng.uniform(0, 0.008)]),
        noise=rng.uniform(0, 6),
        grain=rng.integers(2**31),
    )
