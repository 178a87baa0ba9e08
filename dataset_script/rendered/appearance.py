"""What a person looks like, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Color = NDArray[np.float64]  # [3], RGB, 0 to 255

# From light to dark; a person's skin lies somewhere between two neighbours.
SKIN_TONES = np.array([(247, 214, 186), (236, 190, 155), (214, 160, 116), (182, 124, 80), (138, 88, 55), (92, 60, 42)])
HAIR_COLORS = np.array(
    [(28, 22, 20), (58, 38, 26), (98, 66, 40), (160, 118, 66), (206, 172, 112), (150, 70, 36), (150, 148, 146)]
)
EYE_COLORS = np.array([(66, 42, 24), (40, 26, 18), (96, 118, 66), (84, 120, 160), (112, 108, 92)])
HAIR_STYLES = ("bald", "short", "short", "side", "long", "long", "bun", "curly")


def dull_color(rng: np.random.Generator) -> Color:
    """A colour of walls, clothes and cups: mostly grey."""
    return rng.uniform(25, 225) + rng.uniform(-35, 35, 3)


@dataclass(frozen=True)
class Appearance:
    """What a person looks like, apart from proportions. Colours are RGB, 0 to 255."""

    skin: Color
    hair: Color
    eyes: Color
    lips: Color
    clothes: Color
    hair_style: str
    fringe: float  # how far hair hangs over the forehead, 0 for no fringe
    beard: float  # opacity, as the next
    moustache: float
    glasses: str  # "none", "thin" or "thick"
    age: float  # depth of the wrinkles of a calm face, 0 to 1


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """Draws what a person looks like."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = np.array([np.interp(tone, range(len(SKIN_TONES)), channel) for channel in SKIN_TONES.T])
    hair_style = HAIR_STYLES[rng.integers(len(HAIR_STYLES))]
    shaven = rng.random() < 0.6 or hair_style in ("long", "bun")
    return Appearance(
        skin=skin,
        hair=HAIR_COLORS[rng.integers(len(HAIR_COLORS))] * rng.uniform(0.85, 1.1),
        eyes=EYE_COLORS[rng.integers(len(EYE_COLORS))] * rng.uniform(0.8, 1.2),
        lips=skin * 0.55 + np.array([168, 62, 70]) * rng.uniform(0.35, 0.48),
        clothes=dull_color(rng),
        hair_style=hair_style,
        fringe=rng.uniform(0.1, 0.3) if rng.random() < 0.3 else 0.0,
        beard=0.0 if shaven else rng.uniform(0.25, 0.8),
        moustache=0.0 if shaven else rng.uniform(0.2, 0.8),
        glasses="none" if rng.random() < 0.75 else ("thin", "thick")[rng.integers(2)],
        age=rng.beta(1.2, 3),
    )
