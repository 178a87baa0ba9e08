"""How many answers stay right when faces are corrupted, and whether models differ in it by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import datasets
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ...pixels import to_rgb
from ...prediction.classifier import Classifier
from ..predictions import BATCH_SIZE, class_order, classify
from ..statistics import BOOTSTRAP_SAMPLES, holm, paired_bootstrap
from .corruptions import CORRUPTIONS, SEVERITIES, Corruption, corrupt, resize_face

OVERALL = "all corruptions"


@dataclass(frozen=True)
class Measurement:
    """Which answers are right. A scope is `OVERALL` or a family."""

    corruptions: Sequence[Corruption]
    groups: Sequence[str]  # person or film of each image
    clean: dict[str, NDArray[np.bool_]]  # model -> on the images as they are [images]
    corrupted: dict[str, NDArray[np.bool_]]  # model -> on the corrupted ones [corruptions, severities, images]

    @property
    def scopes(self) -> dict[str, list[int]]:
        """Scope -> places of its corruptions."""
        scopes = {OVERALL: list(range(len(self.corruptions)))}
        for place, corruption in enumerate(self.corruptions):
            scopes.setdefault(corruption.family, []).append(place)
        return scopes


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelRobustness:
    """What corruptions do to one model. Shares are 0 to 1.

    The last is the mCE of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", ICLR 2019, section 4.2.
    """

    clean: Estimate  # accuracy on the images as they are
    accuracy: dict[str, list[float]]  # corruption -> accuracy at severity 1 to 5
    scores: dict[str, Estimate]  # scope -> mean accuracy over its corruptions and severities
    drops: dict[str, Estimate]  # scope -> clean accuracy less that mean
    retained: dict[str, float]  # scope -> that mean by clean accuracy; NaN if that is 0
    corruption_errors: dict[str, float]  # corruption -> errors by those of the first model; NaN if it has none
    mean_corruption_error: float  # their mean, where they are known


@dataclass(frozen=True)
class TestedDifference(Estimate):
    """A difference with its 95% interval and the p-value of "there is none", two-sided."""

    p_value: float
    corrected_p_value: float  # by Holm's method over all tests of the report


@dataclass(frozen=True)
class Comparison:
    """A model less the first model, over the corruptions and severities of a scope."""

    model: str
    scope: str
    accuracy: TestedDifference  # in mean accuracy
    drop: TestedDifference  # in clean accuracy less that mean; a negative one means more robust


def measure_robustness(
    classifiers: Mapping[str, Classifier],
    rows: datasets.Dataset,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
    seed: int = 0,
) -> Measurement:
    """Has all models classify the same corrupted images.

    Args:
        classifiers: Name -> model.
        rows: Rows of `image`, `label` (in the order of `LABELS`) and `group`.
        corruptions: What to measure, at all severities.
        seed: Of the corruptions.

    Raises:
        ValueError: If a model's classes are not the seven expressions, or it answers anything but probabilities.
    """
    orders = {name: class_order(name, classifier.labels) for name, classifier in classifiers.items()}
    labels = np.array(rows["label"][:])
    conditions = [None, *product(corruptions, range(1, SEVERITIES + 1))]
    right = {name: np.empty((len(conditions), len(rows)), bool) for name in classifiers}
    # Batch by batch, so that images are decoded once and never all in memory.
    total = len(rows) * len(conditions)
    with tqdm(total=total, desc="corrupted images", unit="image", disable=None, leave=False) as bar:
        for start in range(0, len(rows), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            clean = shown = [resize_face(to_rgb(image)) for image in rows[batch]["image"]]
            for place, condition in enumerate(conditions):
                if condition is not None:
                    shown = [corrupt(image, *condition, seed, index) for index, image in enumerate(clean, start)]
                for name, classifier in classifiers.items():
                    answers = classify(classifier, shown, name, orders[name]).argmax(axis=1)
                    right[name][place, batch] = answers == labels[batch]
                bar.update(len(shown))
    corrupted = {name: of_all[1:].reshape(len(corruptions), SEVERITIES, -1) for name, of_all in right.items()}
    return Measurement(corruptions, rows["group"][:], {name: of_all[0] for name, of_all in right.items()}, corrupted)


def summarize(measurement: Measurement, seed: int = 0) -> dict[str, ModelRobustness]:
    """Computes the figures of each model; the intervals draw whole groups of images, by the seed."""
    names = [corruption.name for corruption in measurement.corruptions]
    errors_of_first = (~next(iter(measurement.corrupted.values()))).sum(axis=(1, 2))
    known_errors = np.where(errors_of_first > 0, errors_of_first, np.nan)
    summary = {}

    def estimate(values: NDArray) -> Estimate:
        return Estimate(*paired_bootstrap(values, np.zeros(len(values)), measurement.groups, seed=seed)[:3])

    for model, corrupted in measurement.corrupted.items():
        clean = measurement.clean[model]
        known_clean = clean.mean() or np.nan
        means = {scope: corrupted[places].mean(axis=(0, 1)) for scope, places in measurement.scopes.items()}
        ratios = (~corrupted).sum(axis=(1, 2)) / known_errors
        summary[model] = ModelRobustness(
            clean=estimate(clean),
            accuracy=dict(zip(names, corrupted.mean(axis=2).tolist(), strict=True)),
            scores={scope: estimate(mean) for scope, mean in means.items()},
            drops={scope: estimate(clean - mean) for scope, mean in means.items()},
            retained={scope: float(mean.mean() / known_clean) for scope, mean in means.items()},
            corruption_errors=dict(zip(names, ratios.tolist(), strict=True)),
            mean_corruption_error=float(np.nanmean(ratios)) if np.isfinite(ratios).any() else np.nan,
        )
    return summary


def compare(measurement: Measurement, seed: int = 0) -> list[Comparison]:
    """Compares each other model with the first, overall and by family, in accuracy and in drop.

    The compared value of an image is the share of right answers over the conditions; whole groups are drawn.
    """
    first, *others = measurement.corrupted
    keys = [(model, scope) for model in others for scope in measurement.scopes]
    # The smallest p-value is 2 / (samples + 1). Corrected for all tests it must still be able to show a difference.
    samples = max(BOOTSTRAP_SAMPLES, 200 * 2 * len(keys))
    differences = []
    for model, scope in keys:
        places = measurement.scopes[scope]
        a, b = (measurement.corrupted[name][places].mean(axis=(0, 1)) for name in (model, first))
        drops = measurement.clean[model] - a, measurement.clean[first] - b
        differences += [paired_bootstrap(*pair, measurement.groups, samples, seed) for pair in ((a, b), drops)]
    corrected = holm([difference.p_value for difference in differences])
    tested = [TestedDifference(*difference, p) for difference, p in zip(differences, corrected, strict=True)]
    return [Comparison(*key, *pair) for key, *pair in zip(keys, tested[::2], tested[1::2], strict=True)]
