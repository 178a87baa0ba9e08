from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataset_script.splits import METHODS, split_indices

FRACTIONS = st.floats(0.02, 0.98)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def quiet_about_rare_classes():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        yield


@st.composite
def labelled_groups(draw, max_size=60):
    num = draw(st.integers(2, max_size))
    labels = draw(st.lists(st.integers(0, 6), min_size=num, max_size=num))
    groups = draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=num, max_size=num))
    return np.array(labels), np.array(groups)


def split_or_reject(labels, groups, method, **options):
    """Splits; data that the method refuses is no example."""
    try:
        return split_indices(labels, groups, method, **options)
    except ValueError:
        assume(False)


def wild_labels_and_groups():
    """As uneven as film stills are: a rare class, a few people with half of all images, hundreds with one."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate([[150, 100, 80, 50, 30, 15], rng.integers(1, 4, 400)])
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = rng.choice(7, len(groups), p=[0.14, 0.06, 0.01, 0.28, 0.13, 0.19, 0.19])
    return labels, np.array([f"person_{group}" for group in groups])


@settings(deadline=None)
@given(data=labelled_groups(), method=st.sampled_from(METHODS), fraction=FRACTIONS, seed=SEEDS)
def test_sides_are_disjoint_complete_sorted_and_reproducible(data, method, fraction, seed):
    options = {"seed": seed, "validation_fraction": fraction, "n_folds": 3, "fold": 1}
    train, validation = split_or_reject(*data, method, **options)
    assert len(train) and len(validation)
    assert train.dtype == validation.dtype == np.int64
    assert np.all(np.diff(train) > 0) and np.all(np.diff(validation) > 0)
    assert sorted([*train, *validation]) == list(range(len(data[0])))
    again = split_indices(*data, method, **options)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(validation, again[1])


@settings(deadline=None)
@given(data=labelled_groups(), fraction=FRACTIONS, seed=SEEDS, method=st.sampled_from(["group", "group_kfold"]))
def test_no_group_is_on_both_sides(data, fraction, seed, method):
    train, validation = split_or_reject(*data, method, seed=seed, validation_fraction=fraction, n_folds=2)
    assert not set(data[1][train]) & set(data[1][validation])


@settings(deadline=None)
@given(data=labelled_groups(200), fraction=FRACTIONS, seed=SEEDS)
def test_stratified_divides_each_class_to_within_one_image(data, fraction, seed):
    labels, groups = data
    _, validation = split_or_reject(labels, groups, "stratified", seed=seed, validation_fraction=fraction)
    counts, held_out = np.bincount(labels), np.bincount(labels[validation], minlength=labels.max() + 1)
    divisible = counts > 1
    fraction = len(validation) / counts[divisible].sum()
    assert np.all(np.abs(held_out - fraction * counts)[divisible] < 1)
    assert np.all(held_out[counts == 1] == 0)


@settings(deadline=None)
@given(data=labelled_groups(), n_folds=st.integers(2, 5), seed=SEEDS, method=st.sampled_from(["kfold", "group_kfold"]))
def test_folds_partition_the_data(data, n_folds, seed, method):
    folds = [split_or_reject(*data, method, seed=seed, n_folds=n_folds, fold=fold)[1] for fold in range(n_folds)]
    assert sorted(np.concatenate(folds)) == list(range(len(data[0])))


@settings(deadline=None)
@given(data=labelled_groups(), seed=SEEDS)
def test_kfold_divides_each_class_to_within_one_image(data, seed):
    labels, groups = data
    _, validation = split_or_reject(labels, groups, "kfold", seed=seed, n_folds=3)
    held_out = np.bincount(labels[validation], minlength=labels.max() + 1)
    assert np.all(np.abs(held_out - np.bincount(labels) / 3) < 1)


def test_random_gives_the_sizes_of_the_paper():
    train, validation = split_indices(np.zeros(675), np.zeros(675), "random", seed=0)
    assert (len(train), len(validation)) == (607, 68)


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_gives_another_split(method):
    data = wild_labels_and_groups()
    first, second = (split_indices(*data, method, seed=seed)[1] for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.37])
def test_group_keeps_every_class_within_one_image_where_the_groups_allow_it(fraction):
    labels, groups = wild_labels_and_groups()
    _, validation = split_indices(labels, groups, "group", seed=0, validation_fraction=fraction)
    assert np.all(np.abs(np.bincount(labels[validation], minlength=7) - fraction * np.bincount(labels)) <= 1)


def test_group_puts_a_group_of_most_images_into_training():
    groups = np.array(["star"] * 80 + [f"extra_{i}" for i in range(20)])
    labels = np.arange(100) % 5
    _, validation = split_indices(labels, groups, "group", seed=0, validation_fraction=0.1)
    assert "star" not in groups[validation]
    assert len(validation) == 10


def test_group_leaves_no_side_empty_when_groups_are_few():
    labels, groups = np.arange(40) % 2, np.repeat(["a", "b"], 20)
    for fraction in (0.01, 0.5, 0.99):
        train, validation = split_indices(labels, groups, "group", seed=0, validation_fraction=fraction)
        assert len(train) == len(validation) == 20


@pytest.mark.parametrize("method", ["group", "group_kfold"])
def test_as_many_groups_as_images_is_quick(method):
    labels = np.random.default_rng(0).choice(7, 28_705, p=[0.14, 0.015, 0.14, 0.25, 0.17, 0.11, 0.175])
    start = time.process_time()
    _, validation = split_indices(labels, np.arange(len(labels)), method, seed=0, validation_fraction=0.2)
    assert time.process_time() - start < 3
    expected = 0.2 * np.bincount(labels)
    assert np.all(np.abs(np.bincount(labels[validation]) - expected) <= 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bootstrap"}, "'bootstrap'; choose from random, stratified, group, kfold, group_kfold"),
        ({"method": "random", "validation_fraction": 0.0}, "between 0 and 1"),
        ({"method": "group", "validation_fraction": 1.0}, "between 0 and 1"),
        ({"method": "stratified", "validation_fraction": float("nan")}, "between 0 and 1"),
        ({"method": "stratified", "validation_fraction": 0.01}, "change validation_fraction or use the split 'random'"),
        ({"method": "kfold", "n_folds": 1}, "at least 2"),
        ({"method": "kfold", "fold": 5}, "from 0 to 4"),
        ({"method": "kfold", "fold": -1}, "from 0 to 4"),
        ({"method": "kfold", "n_folds": 16}, "no class has more than 15 images"),
        ({"method": "group_kfold", "n_folds": 7}, "only 6 groups"),
        ({"method": "group", "groups": ["one"] * 30}, "all images are of one group"),
        ({"labels": [], "groups": [], "method": "random"}, "at least two images, got 0"),
        ({"labels": [0] * 29, "method": "random"}, "same length"),
    ],
)
def test_what_cannot_be_split_is_refused_with_a_remedy(change, message):
    arguments = {"labels": [0, 1] * 15, "groups": list("abcdef") * 5, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        split_indices(**arguments)


def test_stratified_of_one_image_a_class_says_what_to_use():
    with pytest.raises(ValueError, match=r"no class has two images.*'random'"):
        split_indices(range(7), range(7), "stratified", seed=0)
