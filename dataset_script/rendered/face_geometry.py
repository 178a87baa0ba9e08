"""A parametric face: a person's proportions and active action units -> curves in three dimensions.

Coordinates of the head: x to the image's right, y down, z towards the viewer; the origin lies on the axis of the head
at the height of the nose's root, the chin of a calm average face at y = 1. Curves lie on the face's surface and run
from left to right, those of one side from the middle outwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Curve = NDArray[np.float64]  # [N, 3]
Units = dict[int, float]

SIDES = (-1, 1)
_MIRROR = np.array([-1, 1, 1])
_BROW = np.linspace(0, 1, 16)  # along a brow, from the middle outwards
_EYE_Y, _BROW_Y, _MOUTH_Y = -0.10, -0.36, 0.60


def _around(centre: float, deviation: float) -> Any:
    return field(metadata={"centre": centre, "deviation": deviation})


@dataclass(frozen=True)
class Proportions:
    """What differs from person to person in a calm face: factors around 1, or offsets around 0 in head coordinates."""

    face_width: float = _around(1, 0.05)
    jaw_width: float = _around(1, 0.07)
    chin_length: float = _around(1, 0.05)
    forehead: float = _around(0, 0.05)  # height of the hairline above the average
    eye_size: float = _around(1, 0.07)
    eye_distance: float = _around(1, 0.04)
    eye_opening: float = _around(1, 0.10)
    eye_slant: float = _around(0, 0.010)
    brow_height: float = _around(0, 0.02)
    brow_thickness: float = _around(1, 0.25)
    brow_arch: float = _around(1, 0.3)
    nose_width: float = _around(1, 0.12)
    nose_length: float = _around(1, 0.06)
    mouth_width: float = _around(1, 0.07)
    lip_thickness: float = _around(1, 0.2)
    mouth_curve: float = _around(0, 0.008)


def sample_proportions(rng: np.random.Generator) -> Proportions:
    """Draws a person's proportions, none more than two deviations from the centre."""
    spreads = (proportion.metadata for proportion in fields(Proportions))
    return Proportions(*(s["centre"] + s["deviation"] * np.clip(rng.standard_normal(), -2, 2) for s in spreads))


class Eye(SimpleNamespace):
    """What `_eye` returns; `side` is -1 on the image's left."""


class Face(SimpleNamespace):
    """What `face_curves` returns."""


def face_curves(person: Proportions, units: Units) -> Face:
    """Builds the face of a person who shows an expression.

    Args:
        person: The calm face.
        units: Intensity of each action unit, 0 to 1; `sample_action_units` draws them.

    Returns:
        The curves, some of them closed, some of a single point, and how deep the wrinkles are, 0 to 1.
    """
    brow = _brow(person, units)
    return Face(
        **_outlines(person, person.chin_length + 0.8 * _jaw_drop(units)),
        eyes=tuple(_eye(person, units, side) for side in SIDES),
        brows=_both(brow),
        brow_widths=0.062 * person.brow_thickness * np.interp(_BROW, [0, 0.2, 0.6, 1], [0.7, 1, 0.9, 0.2]),
        **_nose(person, units),
        **_mouth(person, units),
        wrinkles=_wrinkles(person, units, brow),  # pairs of curve and depth
        cheeks=_both(_on_face([0.45], [0.28 - 0.06 * units[6]])),
        cheek_raise=max(units[6], 0.6 * units[12]),
    )


def _on_face(x: ArrayLike, y: ArrayLike, lift: float = 0.0) -> Curve:
    """Puts points of the frontal plane onto the face's surface: an ellipsoid with a nose."""
    x, y = np.broadcast_arrays(x, y)
    depth = 0.78 * np.sqrt(np.clip(1 - (x / 0.98) ** 2 - (y / 1.5) ** 2, 0.01, 1))
    bridge = np.clip((y + 0.35) / 0.65, 0, 1) * np.clip((0.44 - y) / 0.08, 0, 1)
    return np.stack([x, y, depth + lift + 0.24 * bridge * np.exp(-((x / 0.11) ** 2))], axis=-1)


def _both(right: Curve) -> tuple[Curve, Curve]:
    return right * _MIRROR, right


def _between(x: NDArray, upper: NDArray, lower: NDArray, lifts: tuple[float, float] = (0.02, 0.02)) -> Curve:
    """The closed curve along an upper and back along a lower edge."""
    return np.concatenate([_on_face(x, upper, lifts[0]), _on_face(x, lower, lifts[1])[::-1]])


def _jaw_drop(units: Units) -> float:
    """How far the jaw is down, in head coordinates."""
    return max(0.04 * units[25], 0.24 * units[26], 0.34 * units[27])


def _outlines(person: Proportions, chin: float) -> dict[str, Curve]:
    wide = [person.face_width, 1, 1]
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 19)[:, None]
    latitude, angle = np.broadcast_arrays(latitude, np.linspace(0, 2 * np.pi, 40, endpoint=False))
    ring = np.cos(latitude)
    ball = np.stack([np.cos(angle) * 0.80 * ring, np.sin(latitude) * 0.95, np.sin(angle) * 0.92 * ring], axis=-1)
    skull = (ball.reshape(-1, 3) + [0, -0.22, -0.22]) * wide

    # Half of the face's edge from the temple to the chin, then mirrored.
    x = np.array([0.76, 0.77, 0.73, 0.66, 0.54, 0.38, 0.20])
    x[2:6] *= person.jaw_width
    y = np.array([-0.25, 0.05, 0.32, 0.56, 0.76, 0.91, 0.985])
    y = np.where(y > 0.3, 0.3 + (y - 0.3) * (chin - 0.3) / 0.7, y)
    edge = np.stack([x, y, [0.25, 0.20, 0.15, 0.18, 0.28, 0.42, 0.50]], axis=-1)
    mirrored = edge[::-1] * _MIRROR
    chin_tip = np.array([[0, chin, 0.55]])
    front_x, front_y = np.meshgrid(np.linspace(-0.62, 0.62, 7), np.linspace(-0.7, 0.4, 6))
    surface = _on_face((front_x * np.sqrt(1 - front_y**2)).ravel(), front_y.ravel())

    top = -0.74 - person.forehead
    hairline_x = np.array([-0.76, -0.72, -0.60, -0.34, 0, 0.34, 0.60, 0.72, 0.76])
    hairline_y = np.array([0.1, -0.30, top + 0.16, top + 0.03, top, top + 0.03, top + 0.16, -0.30, 0.1])
    below = [[0.9, 2.5, 0.3], [-0.9, 2.5, 0.3]]
    cheeks_x = np.array([-0.70, -0.56, -0.34, 0, 0.34, 0.56, 0.70])  # the beard's upper edge
    cheeks = _on_face(cheeks_x, np.array([0.1, 0.32, 0.42, 0.42, 0.42, 0.32, 0.1]))
    return {
        # points whose convex hulls are the outlines of the head and of the cranium
        "head": np.concatenate([skull, np.concatenate([edge, chin_tip, mirrored, surface]) * wide]),
        "skull": skull,
        # closed: hairline, cheeks and far below the chin; the beard
        "front": np.concatenate([_on_face(hairline_x, hairline_y), below]) * wide,
        "beard": np.concatenate([edge[1:] * 1.02, chin_tip * 1.03, mirrored[:-1] * 1.02, cheeks]) * wide,
    }


def _eye(person: Proportions, units: Units, side: int) -> Eye:
    t = np.linspace(-1, 1, 17)
    width = 0.165 * person.eye_size
    centre_x = 0.345 * person.eye_distance * person.face_width
    x = side * centre_x + side * width * t
    bow = 1 - t**2
    slant = -person.eye_slant * t
    upper = 0.088 * person.eye_size * person.eye_opening + 0.055 * units[5] - 0.040 * units[7] * (1 - 0.6 * units[5])
    upper -= 0.030 * units[6] + 0.03 * units[9] + 0.02 * units[15]
    lower = 0.050 * person.eye_size - 0.030 * units[7] - 0.045 * units[6] - 0.025 * units[9] + 0.008 * units[5]
    upper, lower = max(upper, 0.028), max(lower, -0.005)
    # Raised inner brows pull the inner part of the lid up, lowered ones press it down.
    inner = np.clip(0.5 - 0.5 * t, 0, 1)
    lean = (0.020 * units[1] * units[4] - 0.025 * units[4] * (1 - units[1])) * inner * bow
    y_upper = _EYE_Y + slant - upper * bow**0.75 - lean
    y_lower = _EYE_Y + slant + lower * bow**0.9 + 0.012 * bow
    crease_gap = 0.05 - 0.02 * units[5] + 0.03 * units[1] - 0.03 * units[4] * (1 - units[1])
    bag_y = y_lower + 0.075 - 0.035 * units[6] - 0.02 * units[7]
    return Eye(
        side=side,
        upper_lid=_on_face(x, y_upper, 0.01),
        lower_lid=_on_face(x, y_lower, 0.01),
        crease=_on_face(x, y_upper - max(crease_gap, 0.015) * bow**0.5, 0.01),
        bag=_on_face(x[2:-2], bag_y[2:-2] - 0.02 * (1 - bow[2:-2]), 0.01),
        iris=_on_face([side * centre_x], [_EYE_Y - 0.02]),  # its centre before gaze
        iris_radius=0.080 * person.eye_size,
    )


def _brow(person: Proportions, units: Units) -> Curve:
    """The right one."""
    t = _BROW
    inner, outer = 0.15 - (0.055 * units[4] + 0.02 * units[9]), 0.60 * person.eye_distance
    x = (inner + (outer - inner) * t) * person.face_width
    arch = 0.075 * person.brow_arch * np.sin(np.pi * np.clip(t * 0.85 + 0.05, 0, 1))
    y = _BROW_Y - person.brow_height + 0.04 - arch
    raised_inner = 0.15 * units[1] * (1 - t) ** 1.3
    raised_outer = 0.13 * units[2] * np.sin(np.pi * np.clip(0.25 + 0.5 * t, 0, 1))
    # With both units the frontalis wins at the inner end: the brow goes up and together.
    lowered = units[4] * (0.13 * (1 - t) ** 0.8 + 0.045) * (1 - 0.85 * units[1])
    wrinkled = units[9] * 0.085 * (1 - t) ** 0.6
    return _on_face(x, y - raised_inner - raised_outer + lowered + wrinkled + 0.06 * units[1] * units[4] * t**2, 0.02)


def _nose(person: Proportions, units: Units) -> dict[str, Any]:
    base = 0.16 + 0.19 * person.nose_length - (0.055 * units[9] + 0.02 * units[10])
    wing = 0.125 * person.nose_width * (1 + 0.16 * units[9] + 0.06 * units[12])
    side_x = np.array([0.075, 0.06, 0.055, 0.07, wing * 0.92, wing, wing * 0.85])
    side_y = np.array([-0.22, -0.08, 0.06, base - 0.13, base - 0.07, base, base + 0.035])
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    nostril_x, nostril_y = 0.036 * np.cos(angle), base + 0.018 + 0.017 * np.sin(angle)
    t = np.linspace(-1, 1, 13)
    return {
        "nose_tip": _on_face([0.0], [base - 0.05], 0.05),
        "nose_sides": _both(_on_face(side_x, side_y)),
        "nose_base": _on_face(wing * 0.95 * t, base + 0.02 + 0.035 * np.cos(np.pi * t) * (1 - 0.3 * t**2), 0.02),
        "nostrils": tuple(_on_face(side * wing * 0.50 + nostril_x, nostril_y, 0.02) for side in SIDES),  # closed
    }


def _mouth(person: Proportions, units: Units) -> dict[str, Curve]:
    t = np.linspace(-1, 1, 31)
    bow = 1 - t**2
    round_open = max(units[26], units[27]) * (1 - units[20])
    width = 0.29 * person.mouth_width * person.face_width
    width *= 1 + 0.30 * units[12] + 0.30 * units[20] - 0.12 * units[23] - 0.06 * units[24] - 0.30 * round_open
    width *= 1 - 0.06 * units[17]
    drop = _jaw_drop(units)
    corner = -person.mouth_curve - 0.125 * units[12] + 0.105 * units[15] + 0.035 * units[20] + 0.5 * drop
    corner += 0.03 * units[10] + 0.02 * units[16]
    middle = 0.02 * units[12] - 0.055 * units[17] - 0.01 * units[15]
    line = _MOUTH_Y + middle + (corner - middle) * np.abs(t) ** 1.7
    # How far the upper lip is above this line and the lower lip below it; both grow thin where the mouth is stretched.
    apart = units[25] * 0.045 * (1 - units[24])
    gap_up = apart * (0.5 + 0.7 * units[12]) + 0.065 * units[10] * (0.35 + 0.65 * units[25])
    gap_down = apart + drop + 0.055 * units[16] + 0.01 * units[12] * units[25]
    if units[23] and units[25]:  # lips pressed against bared teeth: a flat rectangular opening
        gap_up, gap_down = gap_up + 0.015, gap_down + 0.01
    thin = 1 - 0.25 * units[12] - 0.30 * units[20] - 0.50 * units[23] - 0.55 * units[24] - 0.2 * round_open
    thin = max(thin, 0.3) * person.lip_thickness
    shape = bow ** (0.5 if units[20] or units[16] or units[23] or round_open else 0.75)
    top = line - gap_up * shape - 0.04 * units[10] * bow
    bottom = line + gap_down * shape
    cupid = np.exp(-((np.abs(t) - 0.28) ** 2) / 0.05) - 0.45 * np.exp(-(t**2) / 0.012)
    upper_edge = top - (0.045 + 0.018 * cupid) * thin * bow**0.7 - 0.004
    lower_edge = bottom + 0.082 * thin * (1 + 0.35 * units[17]) * bow**0.8 + 0.004
    x = width * t
    teeth = np.minimum(top + (0.075 - 0.045 * round_open) * bow**0.4, bottom)
    lower_teeth = np.maximum(bottom - 0.05 * (1 - round_open) * bow**0.4, top)
    chin_t = np.linspace(-1, 1, 13)
    chin_y = lower_edge.max() + 0.075 - 0.03 * units[17] + (0.035 + 0.05 * units[17]) * chin_t**2
    return {
        "upper_lip": _between(x, upper_edge, top, (0.02, 0.03)),
        "lower_lip": _between(x, bottom, lower_edge, (0.03, 0.02)),
        "mouth": _between(x, top, bottom),
        "lip_line": _on_face(x, (top + bottom) / 2, 0.03),
        "upper_teeth": _between(x, top, teeth),
        "lower_teeth": _between(x, lower_teeth, bottom),
        "chin_crease": _on_face(0.16 * chin_t, chin_y, 0.02),
    }


def _wrinkles(person: Proportions, units: Units, brow: Curve) -> list[tuple[Curve, float]]:
    t = np.linspace(0, 1, 12)
    raised = units[1] * (0.5 + 0.5 * units[2])
    frown = _on_face(0.045 + 0.02 * t, brow[0, 1] - 0.05 + 0.13 * t, 0.02)
    forehead, right = [], [(frown, 0.9 * max(units[4], 0.5 * units[9]))]
    for row in range(3):
        width = 0.22 + 0.22 * units[2] - 0.03 * row  # over the whole forehead with unit 2, else in the middle
        y = -0.56 - 0.09 * row - 0.03 * np.cos((2 * t - 1) * np.pi / 2) * (1 if units[2] else -1)
        forehead.append((_on_face(width * (2 * t - 1), y), 0.8 * raised * (1 - 0.2 * row)))
        root_of_nose = _on_face(0.02 + 0.075 * t, -0.12 + 0.065 * row - 0.05 * (1 - t), 0.02)
        angle = np.pi * (-0.12 + 0.12 * row)
        reach = 0.53 * person.eye_distance * person.face_width + 0.11 * t * np.cos(angle)
        outer_corner_of_eye = _on_face(reach, -0.085 + 0.11 * t * np.sin(angle))
        right += [(root_of_nose, 0.9 * units[9]), (outer_corner_of_eye, 0.7 * units[6])]
    wing = 0.15 * person.nose_width
    out = 0.30 + 0.09 * units[12] + 0.05 * units[20] + 0.02 * units[10]
    x = (wing + (out - wing) * t ** (0.7 + 0.2 * units[12])) * person.face_width
    top = 0.27 - 0.05 * units[9] - 0.05 * units[10]
    bottom = 0.60 - 0.10 * units[12] + 0.05 * units[15]
    depth = max(0.12, 0.75 * units[12], 0.85 * units[10], 0.75 * units[9], 0.4 * units[15], 0.45 * units[20])
    right.append((_on_face(x, top + (bottom - top) * t**1.15, 0.01), depth))  # from the nose to the mouth
    corner_of_mouth = _on_face(0.31 + 0.05 * t, 0.66 + 0.04 * units[15] + 0.10 * t, 0.01)
    right.append((corner_of_mouth, 0.7 * units[15]))
    left = [(curve * _MIRROR, depth) for curve, depth in right]
    return [(curve, depth) for curve, depth in forehead + left + right if depth > 0.05]
