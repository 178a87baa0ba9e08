from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from dataset_script.labels import LABELS
from dataset_script.rendered.action_units import ACTION_UNITS, EXPRESSIONS, LOWEST_INTENSITY, sample_action_units


def test_every_class_has_its_combinations_of_known_units():
    assert tuple(EXPRESSIONS) == LABELS
    used = {unit for variants in EXPRESSIONS.values() for variant in variants for unit in variant}
    assert used == set(ACTION_UNITS)


def test_no_two_expressions_share_a_combination():
    for one, other in combinations(EXPRESSIONS.values(), 2):
        assert not {frozenset(variant) for variant in one} & {frozenset(variant) for variant in other}


@pytest.mark.parametrize(
    ("label", "core"),  # the prototypes as the literature has them
    [("Angry", {4, 5, 7}), ("Disgust", {9}), ("Fear", {1, 2, 4, 5, 20}), ("Happy", {6, 12}), ("Sad", {1, 4, 15})],
)
def test_prototypes_hold_their_units_in_every_variant(label, core):
    assert all(core <= set(variant) for variant in EXPRESSIONS[label])


@pytest.mark.parametrize("label", LABELS)
def test_a_drawn_expression_is_one_of_the_variants_and_all_come_up(label):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(100):
        units = sample_action_units(label, rng)
        assert set(units) == set(ACTION_UNITS)
        assert all(value == 0 or LOWEST_INTENSITY <= value <= 1 for value in units.values())
        seen.add(tuple(unit for unit, value in units.items() if value))
    assert seen == {tuple(sorted(variant)) for variant in EXPRESSIONS[label]}
