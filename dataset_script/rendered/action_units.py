"""Expressions as combinations of action units of the facial action coding system (FACS).

Sources: Ekman, Friesen and Hager, "Facial Action Coding System" (2002), for the units, and the table of emotion
prototypes in its Investigator's Guide for the combinations.
"""

from __future__ import annotations

import numpy as np

ACTION_UNITS: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
}

# The variants of each expression; every unit of the drawn one is active, no other.
EXPRESSIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "Angry": ((4, 5, 7, 23), (4, 5, 7, 17, 24), (4, 5, 7, 10, 23, 25)),
    "Disgust": ((9, 10, 17), (9, 10, 16, 25)),
    "Fear": ((1, 2, 4, 5, 20, 25), (1, 2, 4, 5, 20, 26)),
    "Happy": ((6, 12), (6, 12, 25)),
    "Sad": ((1, 4, 15), (1, 4, 15, 17)),
    "Surprise": ((1, 2, 5, 26), (1, 2, 5, 27)),
    "Neutral": ((),),
}
LOWEST_INTENSITY = 0.5


def sample_action_units(label: str, rng: np.random.Generator) -> dict[int, float]:
    """Draws a variant of an expression, one of `LABELS`, and the intensity of each of `ACTION_UNITS`.

    It is uniform in [`LOWEST_INTENSITY`, 1] for the units of the variant, 0 for the others.
    """
    variants = EXPRESSIONS[label]
    active = variants[rng.integers(len(variants))]
    return {unit: rng.uniform(LOWEST_INTENSITY, 1) if unit in active else 0.0 for unit in ACTION_UNITS}
