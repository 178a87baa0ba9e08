"""Everything that is measured of each model on the same faces, and between the models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_script import LABELS

from ...training.metric import fer_metric
from ..calibration import Reliability, cross_fitted_temperature, reliability
from ..curves import ClassCurves, class_curves
from ..predictions import Speed
from ..statistics import (
    BOOTSTRAP_SAMPLES,
    Difference,
    Disagreement,
    holm,
    mcnemar_test,
    paired_bootstrap,
    paired_bootstrap_macro_f1,
)


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


def measure_model(
    probabilities: NDArray[np.float64],
    references: NDArray[np.int64],
    groups: Sequence[str],
    speed: Speed,
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
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
        seed: Of the bootstrap.
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
            seed=seed,
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
    """Two models on the same faces, the first less the second.

    Args:
        first: Name of a model.
        second: Name of another.
        accuracy: Difference by paired bootstrap; its p-value is corrected by Holm over all pairs.
        macro_f1: The same of macro F1.
        disagreement: McNemar's test; corrected likewise.
    """

    first: str
    second: str
    accuracy: Difference
    macro_f1: Difference
    disagreement: Disagreement


def compare_models(
    models: Mapping[str, ModelMeasurements],
    references: NDArray[np.int64],
    groups: Sequence[str],
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Tests each pair of models; each of the three kinds of test is corrected by Holm over the pairs.

    Args:
        models: Name -> measurements, all of the same faces.
        references: True class ids, [N].
        groups: Person or film of each image, [N].
        samples: Bootstrap samples.
        seed: Of the bootstrap.
    """
    pairs = list(itertools.combinations(models, 2))
    answers = {name: model.answers for name, model in models.items()}
    correct = {name: ids == references for name, ids in answers.items()}
    options = {"groups": groups, "samples": samples, "seed": seed}
    accuracy = [paired_bootstrap(correct[a], correct[b], **options) for a, b in pairs]
    macro_f1 = [paired_bootstrap_macro_f1(answers[a], answers[b], references, **options) for a, b in pairs]
    disagreement = [mcnemar_test(correct[a], correct[b]) for a, b in pairs]
    corrected = zip(
        *(holm([test.p_value for test in tests]) for tests in (accuracy, macro_f1, disagreement)), strict=True
    )
    return [
        Comparison(a, b, *(test._replace(p_value=p) for test, p in zip(tests, p_values, strict=True)))
        for (a, b), tests, p_values in zip(
            pairs, zip(accuracy, macro_f1, disagreement, strict=True), corrected, strict=True
        )
    ]
