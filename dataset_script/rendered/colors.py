"""The colours of people and of what surrounds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Color = NDArray[np.float64]  # [3], RGB, 0 to 255

# From light to dark; a person's skin lies somewhere between two neighbours.
SKIN_TONES = np.array(
    [(247, 214, 186), (236, 190, 155), (214, 160, 116), (182, 124, 80), (138, 88, 55), (92, 60, 42)], dtype=float
)
HAIR_COLORS = np.array(
    [(28, 22, 20), (58, 38, 26), (98, 66, 40), (160, 118, 66), (206, 172, 112), (150, 70, 36), (150, 148, 146)],
    dtype=float,
)
EYE_COLORS = np.array([(66, 42, 24), (40, 26, 18), (96, 118, 66), (84, 120, 160), (112, 108, 92)], dtype=float)


def dull_color(rng: np.random.Generator) -> Color:
    """A colour of walls, clothes and cups: mostly grey."""
    return rng.uniform(25, 225) + rng.uniform(-35, 35, 3)
