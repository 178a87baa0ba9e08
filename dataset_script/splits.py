"""Seeded splits into a training and a validation side."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics.cluster import contingency_matrix
from sklearn.model_selection import ShuffleSplit, StratifiedGroupKFold, StratifiedKFold, train_test_split

from .data_arguments import SPLITS

METHODS = SPLITS[1:]
_GROUP_STARTS = 10

Indices = NDArray[np.int64]


def split_indices(
    labels: ArrayLike,
    groups: ArrayLike,
    method: str,
    *,
    seed: int,
    validation_fraction: float = 0.1,
    n_folds: int = 5,
    fold: int = 0,
) -> tuple[Indices, Indices]:
    """Divides images into a training and a validation side, neither of them empty.

    Args:
        labels: Class of each image, shape [N].
        groups: Film or person of each image, shape [N]; used by the group methods only.
        method: One of `METHODS`:

            - `"random"`: `ceil(validation_fraction * N)` images drawn regardless of class (the paper: 675 give 607
              and 68);
            - `"stratified"`: as many, each class divided by the same fraction to within one image; a class of one image
              is for training;
            - `"group"`: no group on both sides, the size and each class's share as near to `validation_fraction` as a
              search over whole groups comes;
            - `"kfold"`: fold number `fold` of `n_folds` with equal class shares;
            - `"group_kfold"`: the same with no group in two folds.
        seed: The same seed gives the same split.
        validation_fraction: Share of the images for validation, in (0, 1); not used by the k-fold methods.
        n_folds: Number of folds, at least 2.
        fold: Which fold is the validation side, in [0, n_folds).

    Returns:
        Sorted int64 indices of the training and of the validation images. Together they are all N, with none on both
        sides.

    Raises:
        ValueError: If an argument is out of its range, or the data has too few images or groups for the method.
    """
    # Only equality matters from here on: numbers from 0 stand for classes and groups.
    classes, groups = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (labels, groups))
    if classes.ndim != 1 or classes.shape != groups.shape:
        raise ValueError(f"labels {classes.shape} and groups {groups.shape} must be two lists of the same length.")
    if len(classes) < 2:
        raise ValueError(f"a split needs at least two images, got {len(classes)}.")
    if method in ("kfold", "group_kfold"):
        validation = _fold(classes, groups if method == "group_kfold" else None, n_folds, fold, seed)
    elif not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}; it must lie between 0 and 1.")
    elif method == "random":
        num = _held_out(len(classes), validation_fraction)
        validation = train_test_split(np.arange(len(classes)), test_size=num, random_state=seed)[1]
    elif method == "stratified":
        validation = _stratified(classes, validation_fraction, seed)
    elif method == "group":
        validation = _whole_groups(classes, groups, validation_fraction, seed)
    else:
        raise ValueError(f"unknown split method {method!r}; choose from {', '.join(METHODS)}.")
    return np.setdiff1d(np.arange(len(classes)), validation), np.sort(validation)


def _held_out(num: int, fraction: float) -> int:
    return min(int(np.ceil(fraction * num)), num - 1)


def _stratified(classes: Indices, fraction: float, seed: int) -> Indices:
    divisible = np.flatnonzero(np.bincount(classes)[classes] > 1)
    if len(divisible) == 0:
        raise ValueError("no class has two images, one for each side; use the split 'random'.")
    num, num_classes = _held_out(len(classes), fraction), len(np.unique(classes[divisible]))
    if not num_classes <= num <= len(divisible) - num_classes:
        raise ValueError(
            f"{len(classes)} images at validation_fraction={fraction} do not give both sides one of each of "
            f"{num_classes} classes; change validation_fraction or use the split 'random'."
        )
    return train_test_split(divisible, test_size=num, stratify=classes[divisible], random_state=seed)[1]


def _whole_groups(classes: Indices, groups: Indices, fraction: float, seed: int) -> Indices:
    """Local search: from several random draws, moves single groups across for as long as that brings the split nearer.

    The distance is the sum of squares, over the classes and over all images, of the validation side's share less
    `fraction`. Scikit-learn's own `StratifiedGroupKFold` only knows fractions 1/k, and takes 11 s for 28,705 groups.
    """
    num_groups = groups.max() + 1
    if num_groups < 2:
        raise ValueError("all images are of one group; use the split 'stratified', or correct the group pattern.")
    counts = contingency_matrix(groups, classes)
    counts = np.column_stack([counts, counts.sum(axis=1)])
    shares = counts / counts.sum(axis=0)  # of each class, and in the last column of all images

    starts = ShuffleSplit(_GROUP_STARTS, test_size=_held_out(num_groups, fraction), random_state=seed)
    generator = np.random.default_rng(seed)
    best_distance = np.inf
    for _, start in starts.split(shares):
        side = np.isin(np.arange(num_groups), start)
        size, gap, moved = len(start), shares[side].sum(axis=0) - fraction, True
        distance = gap @ gap
        while moved:
            moved = False
            for group in generator.permutation(num_groups):
                sign = -1 if side[group] else 1
                new_gap = gap - shares[group] if side[group] else gap + shares[group]
                new_distance = new_gap @ new_gap
                # The margin keeps rounding from moving a group back and forth.
                if new_distance < distance - 1e-12 and 0 < size + sign < num_groups:
                    side[group] = not side[group]
                    size, gap, distance, moved = size + sign, new_gap, new_distance, True
        if distance < best_distance:
            best_distance, best = distance, side
    return np.flatnonzero(best[groups])


def _fold(classes: Indices, groups: Indices | None, n_folds: int, fold: int, seed: int) -> Indices:
    if n_folds < 2:
        raise ValueError(f"n_folds is {n_folds}; it must be at least 2.")
    if not 0 <= fold < n_folds:
        raise ValueError(f"fold is {fold}; with n_folds={n_folds} it must be from 0 to {n_folds - 1}.")
    if n_folds > (largest_class := np.bincount(classes).max()):
        raise ValueError(f"n_folds is {n_folds}, but no class has more than {largest_class} images; use fewer folds.")
    num_groups = len(classes) if groups is None else groups.max() + 1
    if n_folds > num_groups:
        raise ValueError(f"n_folds is {n_folds}, but there are only {num_groups} groups; use fewer folds.")
    # Where each image is a group of its own, the two splitters promise the same and only this one is fast.
    splitter, groups = (StratifiedKFold, None) if num_groups == len(classes) else (StratifiedGroupKFold, groups)
    folds = splitter(n_folds, shuffle=True, random_state=seed).split(classes, classes, groups)
    if len(validation := list(folds)[fold][1]) == 0:
        raise ValueError(f"fold {fold} of {n_folds} is empty: the groups are too uneven; use fewer folds.")
    return validation
