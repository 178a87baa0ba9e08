from __future__ import annotations

import numpy as np
import pytest

from dataset_script.rendered.action_units import ACTION_UNITS
from dataset_script.rendered.face_geometry import face_curves, sample_proportions

CALM = dict.fromkeys(ACTION_UNITS, 0.0)


@pytest.fixture(scope="module", params=range(5))
def person(request):
    return sample_proportions(np.random.default_rng(request.param))


def inner_brow(face):
    return -face.brows[1][0, 1]  # y grows downwards, heights upwards


def outer_brow(face):
    return -face.brows[1][10:, 1].mean()


def brow_distance(face):
    return face.brows[1][0, 0] - face.brows[0][0, 0]


def upper_lid(face):
    return -face.eyes[1].upper_lid[8, 1]


def lower_lid(face):
    return -face.eyes[1].lower_lid[8, 1]


def cheek(face):
    return -face.cheeks[1][0, 1]


def deepest_fold(face):
    return max(depth for _, depth in face.wrinkles)


def nose_wing(face):
    return -face.nose_sides[1][-2, 1]


def upper_lip(face):
    return -face.upper_lip[15, 1]


def lower_lip(face):
    return -face.lower_lip[:, 1].min()


def lower_lip_edge(face):
    return -face.lower_lip[:, 1].max()


def corner(face):
    return -face.lip_line[-1, 1]


def mouth_width(face):
    return face.lip_line[-1, 0] - face.lip_line[0, 0]


def lip_thickness(face):
    half = len(face.lower_lip) // 2
    return (face.lower_lip[half:][::-1, 1] - face.lower_lip[:half, 1]).max()


def opening(face):
    half = len(face.mouth) // 2
    return (face.mouth[half:][::-1, 1] - face.mouth[:half, 1]).max()


def chin(face):
    return -face.head[:, 1].max()


@pytest.mark.parametrize(
    ("unit", "rises", "falls"),
    [
        (1, [inner_brow], []),
        (2, [outer_brow], []),
        (4, [], [inner_brow, outer_brow, brow_distance]),
        (5, [upper_lid], []),
        (6, [cheek, lower_lid], []),
        (7, [lower_lid], [upper_lid]),
        (9, [nose_wing, lower_lid], [inner_brow]),
        (10, [upper_lip], []),
        (12, [corner, mouth_width, deepest_fold], []),
        (15, [], [corner]),
        (16, [], [lower_lip]),
        (17, [lower_lip_edge], []),
        (20, [mouth_width], [lip_thickness]),
        (23, [], [lip_thickness]),
        (24, [], [lip_thickness]),
        (25, [opening], []),
        (26, [opening], [chin]),
        (27, [opening], [chin]),
    ],
    ids=lambda value: f"{value} {ACTION_UNITS[value]}" if isinstance(value, int) else "",
)
def test_a_unit_moves_what_its_name_says(person, unit, rises, falls):
    calm, moved = face_curves(person, CALM), face_curves(person, {**CALM, unit: 1.0})
    halfway = face_curves(person, {**CALM, unit: 0.5})
    for measure in rises:
        assert measure(calm) < measure(halfway) < measure(moved)
    for measure in falls:
        assert measure(calm) > measure(halfway) > measure(moved)


def test_units_of_the_brow_act_at_their_own_end(person):
    calm, inner, outer = (face_curves(person, {**CALM, **units}) for units in ({}, {1: 1.0}, {2: 1.0}))
    assert inner_brow(inner) - inner_brow(calm) > outer_brow(inner) - outer_brow(calm)
    assert outer_brow(outer) - outer_brow(calm) > inner_brow(outer) - inner_brow(calm)


def test_a_stretched_mouth_is_wider_open_than_a_dropped_jaw_and_that_than_parted_lips(person):
    parted, dropped, stretched = (opening(face_curves(person, {**CALM, unit: 1.0})) for unit in (25, 26, 27))
    assert opening(face_curves(person, CALM)) < parted < dropped < stretched


def test_a_face_is_symmetric(person):
    face = face_curves(person, {**CALM, 1: 0.7, 4: 0.6, 9: 0.5, 12: 1.0, 25: 1.0})
    mirror = [-1, 1, 1]
    for left, right in (face.brows, face.nose_sides, face.cheeks):
        assert left * mirror == pytest.approx(right)
    assert face.eyes[0].upper_lid * mirror == pytest.approx(face.eyes[1].upper_lid)
    assert face.lip_line[::-1] * mirror == pytest.approx(face.lip_line)


def test_a_calm_mouth_is_closed(person):
    assert opening(face_curves(person, CALM)) == pytest.approx(0)


def test_persons_differ():
    rng = np.random.default_rng(0)
    assert len({sample_proportions(rng) for _ in range(20)}) == 20
