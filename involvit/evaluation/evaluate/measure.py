"""Everything that is measured of each model on the same faces, and between the models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_script import LABELS

from ...training.scoring import fer_metric
from .. import statistics
from ..calibration import Reliability, cross_fitted_temperature, reliability
from ..curves import ClassCurves, class_curves
from ..predictions import Speed


@dataclass(frozen=True)
class ModelMeasurements:
    """One model on the faces of a report.

    Args:
        metrics: Result of the `fer_report` metric, with intervals.
        scaled_metrics: The same for the probabilities after temperature scaling (see `cross_fitted_temperature`).
        temperatures: Of each fold of the scaling.
        reliability: Of the probabilities as they are.
        scaled_reliability: Of the scaled ones.
        curves: Of each class that occurs.
        probabilities: Of all classes, [N, 7].
        speed: On this machine.
    """

    metrics: dict[str, Any]
    scaled_metrics: dict[str, Any]
    temperatures: list[float]
    reliability: Reliability
    scaled_reliability: Reliability
    curves: dict[str, ClassCurves]
    probabilities: NDArray[np.float64]
    speed: Speed

    @property
    def answers(self) -> NDArray[np.int64]:
        """The most probable class of each image, [N]."""
        return self.probabilities.argmax(axis=1)

    def areas(self, name: str) -> dict[str, float]:
        """Returns `roc_auc` or `average_precision` of each class that has it."""
        return {label: getattr(curves, name) for label, curves in self.curves.items()}


def measure_model(
    probabilities: NDArray[np.float64],
    references: NDArray[np.int64],
    groups: Sequence[str],
    speed: Speed,
    samples: int = statistics.BOOTSTRAP_SAMPLES,
    votes: Sequence[Sequence[float]] | None = None,
    vote_counts: Sequence[Sequence[int] | None] | None = None,
) -> ModelMeasurements:
    """Measures one model.

    Args:
        probabilities: Of all classes, [N, 7].
        references: True class ids, [N].
        groups: Person or film of each image, [N]; the intervals draw whole groups.
        speed: What was timed of it.
        samples: Bootstrap samples of the intervals.
        votes: How people's votes are spread over the classes, [N, 7], where the data has votes.
        vote_counts: How many people gave each answer, `None` where nobody counted, [N, 7 or more]; likewise.
    """
    scaled, temperatures = cross_fitted_temperature(probabilities, references, groups)

    def metrics(scores: NDArray[np.float64], bootstrap_samples: int) -> dict[str, Any]:
        return fer_metric().compute(
            predictions=scores.argmax(axis=1).tolist(),
            references=references.tolist(),
            prediction_scores=scores.tolist(),
            groups=list(groups),
            bootstrap_samples=bootstrap_samples,
            reference_votes=votes,
            vote_counts=vote_counts,
        )

    return ModelMeasurements(
        metrics=metrics(probabilities, samples),
        scaled_metrics=metrics(scaled, 0),
        temperatures=temperatures,
        reliability=reliability(probabilities, references),
        scaled_reliability=reliability(scaled, references),
        curves=class_curves(probabilities, references, LABELS),
        probabilities=probabilities,
        speed=speed,
    )


@dataclass(frozen=True)
class Comparison:
    """Two models on the same faces, the first less the second, by paired bootstraps and McNemar's test.

    The p-values of each of the three are corrected by Holm over all pairs.
    """

    first: str
    second: str
    accuracy: statistics.Difference
    macro_f1: statistics.Difference
    disagreement: statistics.Disagreement


def compare_models(
    models: Mapping[str, ModelMeasurements],
    references: NDArray[np.int64],
    groups: Sequence[str],
    samples: int = statistics.BOOTSTRAP_SAMPLES,
) -> list[Comparison]:
    """Tests each pair of models, measured on the same faces; the other arguments are those of `measure_model`."""
    pairs = list(itertools.combinations(models, 2))
    answers = {name: model.answers for name, model in models.items()}
    correct = {name: ids == references for name, ids in answers.items()}
    families = (
        [statistics.paired_bootstrap(correct[a], correct[b], groups, samples) for a, b in pairs],
        [statistics.paired_bootstrap_macro_f1(answers[a], answers[b], references, groups, samples) for a, b in pairs],
        [statistics.mcnemar_test(correct[a], correct[b]) for a, b in pairs],
    )
    return [Comparison(*pair, *tests) for pair, *tests in zip(pairs, *map(_correct, families), strict=True)]


def _correct(tests: list) -> list:
    """Replaces the p-values by those of Holm."""
    p_values = statistics.holm([test.p_value for test in tests])
    return [test._replace(p_value=p_value) for test, p_value in zip(tests, p_values, strict=True)]
