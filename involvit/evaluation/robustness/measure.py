"""How many answers stay right when faces are corrupted, and whether models differ in it by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """Which answers are right.

    Args:
        corruptions: What was measured.
        groups: Person or film of each image.
        clean: Model -> on the images as they are, bool [images].
        corrupted: Model -> on the corrupted ones, bool [corruptions, severities, images].
    """

    corruptions: Sequence[Corruption]
    groups: Sequence[str]
    clean: dict[str, NDArray[np.bool_]]
    corrupted: dict[str, NDArray[np.bool_]]

    @property
    def scopes(self) -> dict[str, list[int]]:
        """`OVERALL` and each family -> places of its corruptions."""
        families = dict.fromkeys(corruption.family for corruption in self.corruptions)
        members = {
            family: [place for place, corruption in enumerate(self.corruptions) if corruption.family == family]
            for family in families
        }
        return {OVERALL: list(range(len(self.corruptions))), **members}


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelRobustness:
    """What corruptions do to one model. Shares are 0 to 1.

    Args:
        clean: Accuracy on the images as they are.
        accuracy: Corruption -> accuracy at severity 1 to 5.
        scores: `OVERALL` or family -> mean accuracy over its corruptions and severities; that of `OVERALL` is the mean
            corruption score.
        drops: `OVERALL` or family -> clean accuracy less that mean.
        retained: `OVERALL` or family -> that mean by clean accuracy; NaN if that is 0.
        corruption_errors: Corruption -> errors, summed over the severities, by those of the first model; NaN where it
            makes none.
        mean_corruption_error: Their mean, where they are known: the mCE of Hendrycks and Dietterich, "Benchmarking
            Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019, section 4.2.
    """

    clean: Estimate
    accuracy: dict[str, list[float]]
    scores: dict[str, Estimate]
    drops: dict[str, Estimate]
    retained: dict[str, float]
    corruption_errors: dict[str, float]
    mean_corruption_error: float


@dataclass(frozen=True)
class TestedDifference(Estimate):
    """A difference with its 95% interval.

    Args:
        p_value: Of "there is none", two-sided.
        corrected_p_value: The same after Holm's correction over all tests of the report.
    """

    p_value: float
    corrected_p_value: float


@dataclass(frozen=True)
class Comparison:
    """A model less the first model.

    Args:
        model: The model.
        scope: `OVERALL` or a family.
        accuracy: The difference in mean accuracy over corruptions and severities.
        drop: The difference in clean accuracy less that mean; a negative one means more robust.
    """

    model: str
    scope: str
    accuracy: TestedDifference
    drop: TestedDifference


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
    clean = {name: np.empty(len(rows), bool) for name in classifiers}
    corrupted = {name: np.empty((len(corruptions), SEVERITIES, len(rows)), bool) for name in classifiers}

    def right_answers(images: list[np.ndarray], batch: slice) -> dict[str, NDArray[np.bool_]]:
        answers = {name: classify(model, images, name, orders[name]) for name, model in classifiers.items()}
        bar.update(len(images))
        return {name: scores.argmax(axis=1) == labels[batch] for name, scores in answers.items()}

    # Batch by batch, so that images are decoded once and never all in memory.
    total = len(rows) * (1 + len(corruptions) * SEVERITIES)
    with tqdm(total=total, desc="corrupted images", unit="image", disable=None, leave=False) as bar:
        for start in range(0, len(rows), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            images = [resize_face(to_rgb(image)) for image in rows[batch]["image"]]
            for name, right in right_answers(images, batch).items():
                clean[name][batch] = right
            for place, corruption in enumerate(corruptions):
                for severity in range(1, SEVERITIES + 1):
                    changed = [
                        corrupt(image, corruption, severity, seed, index) for index, image in enumerate(images, start)
                    ]
                    for name, right in right_answers(changed, batch).items():
                        corrupted[name][place, severity - 1, batch] = right
    return Measurement(corruptions, rows["group"][:], clean, corrupted)


def summarize(measurement: Measurement, seed: int = 0) -> dict[str, ModelRobustness]:
    """Computes the figures of each model; the intervals draw whole groups of images.

    Args:
        measurement: Of all models; the first is the reference of the corruption errors.
        seed: Of the bootstrap.
    """
    names = [corruption.name for corruption in measurement.corruptions]
    reference = next(iter(measurement.corrupted.values()))
    summary = {}
    for model, corrupted in measurement.corrupted.items():
        clean = measurement.clean[model]
        means = {scope: corrupted[places].mean(axis=(0, 1)) for scope, places in measurement.scopes.items()}
        errors, errors_of_reference = ((~right).sum(axis=(1, 2)).astype(float) for right in (corrupted, reference))
        ratios = np.full(len(names), np.nan)
        np.divide(errors, errors_of_reference, out=ratios, where=errors_of_reference > 0)
        summary[model] = ModelRobustness(
            clean=_estimate(clean, measurement.groups, seed),
            accuracy=dict(zip(names, corrupted.mean(axis=2).tolist(), strict=True)),
            scores={scope: _estimate(mean, measurement.groups, seed) for scope, mean in means.items()},
            drops={scope: _estimate(clean - mean, measurement.groups, seed) for scope, mean in means.items()},
            retained={
                scope: float(mean.mean() / clean.mean()) if clean.any() else np.nan for scope, mean in means.items()
            },
            corruption_errors=dict(zip(names, ratios.tolist(), strict=True)),
            mean_corruption_error=float(np.nanmean(ratios)) if np.isfinite(ratios).any() else np.nan,
        )
    return summary


def compare(measurement: Measurement, seed: int = 0) -> list[Comparison]:
    """Compares each other model with the first, overall and by family, in accuracy and in drop.

    The compared value of an image is the share of right answers over the conditions; whole groups are drawn.

    Args:
        measurement: Of all models.
        seed: Of the bootstrap.
    """
    first, *others = measurement.corrupted
    keys = [(model, scope) for model in others for scope in measurement.scopes]
    # The smallest p-value is 2 / (samples + 1). Corrected for all tests it must still be able to show a difference.
    samples = max(BOOTSTRAP_SAMPLES, 200 * 2 * len(keys))
    differences = []
    for model, scope in keys:
        places = measurement.scopes[scope]
        a, b = (measurement.corrupted[name][places].mean(axis=(0, 1)) for name in (model, first))
        drop_a, drop_b = measurement.clean[model] - a, measurement.clean[first] - b
        differences.append(paired_bootstrap(a, b, measurement.groups, samples, seed))
        differences.append(paired_bootstrap(drop_a, drop_b, measurement.groups, samples, seed))
    corrected = holm([difference.p_value for difference in differences])
    tested = [TestedDifference(*difference, p) for difference, p in zip(differences, corrected, strict=True)]
    return [Comparison(*key, *pair) for key, *pair in zip(keys, tested[::2], tested[1::2], strict=True)]


def _estimate(values: NDArray, groups: Sequence[str], seed: int) -> Estimate:
    difference = paired_bootstrap(values, np.zeros(len(values)), groups, seed=seed)
    return Estimate(difference.value, difference.low, difference.high)
