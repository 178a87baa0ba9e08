"""The `evaluate` module behind every report: how well a classifier tells facial expressions apart.

Accuracy, macro and weighted precision / recall / F1, the same for each class, and the confusion matrix; with the
probabilities of the classes also expected calibration error, Brier score and negative log-likelihood; on demand 95%
bootstrap intervals. Where several people labelled each image, also how near the model comes to their votes, and how
often it agrees with one of them, beside how often another person does.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.sparse import coo_array
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, precision_recall_fscore_support

from .vote_scores import agreement_with_people, distances_to_votes

_LABELS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
_BINS = 15


class FERReport(evaluate.Metric):
    """Report on a classifier of facial expressions.

    Args:
        predictions (`list[int]`): predicted class ids.
        references (`list[int]`): true class ids.
        prediction_scores (`list[list[float]]`, *optional*): probabilities of all classes, one row per image, summing to
            1 (within 0.001; then scaled to it). For `compute` only: after `add_batch`, those of all images.
        labels (`list[str]`, *optional*): names of the classes in the order of their ids, two or more; by default the
            seven expressions Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral.
        bootstrap_samples (`int`, defaults to 0): how often the images are drawn anew, with replacement, for the
            intervals; 0 for none.
        groups (`list[str]`, *optional*): person or film of each image: whole groups are drawn then, since images of one
            group are not independent. For `compute` only.
        seed (`int`, defaults to 0): of the drawing.
        reference_votes (`list[list[float]]`, *optional*): how people's votes are spread over the classes, one row per
            image, summing to 1 as those of prediction_scores, which they need. For `compute` only.
        vote_counts (`list[list[int] | None]`, *optional*): how many people gave each answer, one row per image: the
            classes in their order, then any further answers, such as "unknown"; None where nobody counted. For
            `compute` only.
        scalars_only (`bool`, defaults to False): leave out what is not one number: per_class, confusion_matrix,
            absent_classes and intervals. The Trainer of transformers wants it so of a `compute_metrics`.

    Returns:
        num_images (`int`), accuracy, macro_precision, macro_recall, macro_f1, weighted_precision, weighted_recall,
        weighted_f1 (`float`, 0 to 1), per_class (name -> precision, recall, f1, support), confusion_matrix
        (`list[list[int]]`, one row per true class, one column per predicted one) and absent_classes (`list[str]`).

        Macro averages run over the classes that occur among references or predictions, as scikit-learn's do; the others
        are listed in absent_classes. A class that is never predicted has precision 0, one that never occurs has recall
        0.

        With prediction_scores also expected_calibration_error (15 bins of equal width, closed on the right, of the
        probability of the predicted class; Guo et al., ICML 2017), brier_score (squared distance to the one-hot truth
        summed over classes, 0 to 2) and negative_log_likelihood (natural logarithm, of at least float64's epsilon
        2.2e-16).

        With reference_votes also cross_entropy_to_votes (in nats, of probabilities of at least float64's epsilon),
        entropy_of_votes (the lowest that it can be) and js_divergence_to_votes (Jensen-Shannon, 0 to ln 2 = 0.693).

        With vote_counts also num_voted (`int`), the number of images with the answers of two or more people. Where
        there are any, also the means over them (0 to 1) of
            voted_accuracy: accuracy on these images alone,
            agreement_with_person: the probability that one of the voters, drawn at random, gave the model's answer,
            human_agreement_with_person: the same of another voter in place of the model, sum n(n - 1) / (N(N - 1)) over
                the answers, each of n of the N people,
            human_accuracy: the probability that a drawn voter gave the answer that most of the others gave; where k
                answers share the lead, each counts 1/k,
            human_majority_share: the share of the voters who gave the answer in references, each one's own vote
                included.

        With bootstrap_samples also intervals (name -> [low, high], the 2.5th and 97.5th percentile over the samples;
        Efron and Tibshirani 1993, chapter 13) of accuracy and of the macro averages, and num_groups (`int`) with
        groups.

    Raises:
        ValueError: if there are no images, lengths differ, an id is not that of a class, a row of scores or votes is
            not a distribution over the classes, votes come without scores, counts are not whole numbers from 0 up, or
            labels repeat.

    Examples:
        >>> fer_report = evaluate.load("metrics/fer_report")
        >>> report = fer_report.compute(predictions=[3, 3, 6, 0], references=[3, 3, 3, 0])
        >>> report["accuracy"]
        0.75
        >>> report["per_class"]["Happy"]
        {'precision': 1.0, 'recall': 0.6666666666666666, 'f1': 0.8, 'support': 3}
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (expected calibration error)",
            inputs_description=inspect.getdoc(FERReport),
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        prediction_scores: Sequence[Sequence[float]] | None = None,
        labels: Sequence[str] = _LABELS,
        bootstrap_samples: int = 0,
        groups: Sequence[str] | None = None,
        seed: int = 0,
        reference_votes: Sequence[Sequence[float]] | None = None,
        vote_counts: Sequence[Sequence[int] | None] | None = None,
        scalars_only: bool = False,
    ) -> dict[str, Any]:
        predictions, references = np.asarray(predictions), np.asarray(references)
        if len(references) == 0:
            raise ValueError("fer_report needs at least one image")
        if len(set(labels)) < max(len(labels), 2):
            raise ValueError(f"labels must be two or more different names, got {list(labels)}")
        ids = np.arange(len(labels))
        for name, given in (("predictions", predictions), ("references", references)):
            if not (known := np.isin(given, ids)).all():
                row = int(known.argmin())
                raise ValueError(f"{name} must be ids from 0 to {len(labels) - 1}; row {row} is {given[row]}")
        present = np.union1d(predictions, references)
        scores_of = partial(precision_recall_fscore_support, references, predictions, zero_division=0)
        report = {"num_images": len(references), "accuracy": float((predictions == references).mean())}
        for average in ("macro", "weighted"):
            precision, recall, f1 = map(float, scores_of(labels=present, average=average)[:3])
            report |= {f"{average}_precision": precision, f"{average}_recall": recall, f"{average}_f1": f1}
        report["per_class"] = {
            label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for label, p, r, f, s in zip(labels, *scores_of(labels=ids), strict=True)
        }
        report["confusion_matrix"] = confusion_matrix(references, predictions, labels=ids).tolist()
        report["absent_classes"] = [label for index, label in enumerate(labels) if index not in present]
        if prediction_scores is not None:
            scores = _checked_distributions("prediction_scores", prediction_scores, len(references), len(labels))
            report |= _probabilistic_scores(scores, predictions, references)
        if reference_votes is not None:
            if prediction_scores is None:
                raise ValueError("reference_votes are compared with probabilities; give prediction_scores too")
            votes = _checked_distributions("reference_votes", reference_votes, len(references), len(labels))
            report |= distances_to_votes(scores, votes)
        if vote_counts is not None:
            report |= agreement_with_people(vote_counts, predictions, references, len(labels))
        if groups is not None:
            if len(groups) != len(references):
                raise ValueError(f"groups must have a name for each of {len(references)} images, got {len(groups)}")
            report["num_groups"] = len(set(groups))
        if bootstrap_samples:
            report["intervals"] = _intervals(predictions, references, groups, len(labels), bootstrap_samples, seed)
        if scalars_only:
            return {name: value for name, value in report.items() if np.isscalar(value)}
        return report


def _intervals(
    predictions: np.ndarray,
    references: np.ndarray,
    groups: Sequence[str] | None,
    num_labels: int,
    samples: int,
    seed: int,
) -> dict[str, list[float]]:
    # A sample's confusion matrix is the sum of those of the groups drawn: no image need be touched twice.
    members = np.arange(len(references)) if groups is None else np.unique(list(groups), return_inverse=True)[1]
    num_groups = members.max() + 1
    places = (members, references * num_labels + predictions)
    cells = coo_array((np.ones(len(references)), places), (num_groups, num_labels**2)).tocsr()
    draws = np.random.default_rng(seed).multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=samples)
    confusion = (draws @ cells).reshape(samples, num_labels, num_labels)

    hits = np.diagonal(confusion, axis1=1, axis2=2)
    predicted, true = confusion.sum(axis=1), confusion.sum(axis=2)
    present = predicted + true > 0
    shares = {"precision": hits / np.maximum(predicted, 1), "recall": hits / np.maximum(true, 1)}
    shares["f1"] = 2 * hits / np.maximum(predicted + true, 1)
    scores = {"accuracy": hits.sum(axis=1) / confusion.sum(axis=(1, 2))}
    scores |= {f"macro_{name}": share.sum(axis=1) / present.sum(axis=1) for name, share in shares.items()}
    return {name: np.percentile(values, (2.5, 97.5)).tolist() for name, values in scores.items()}


def _checked_distributions(name: str, rows: Sequence[Sequence[float]], num_images: int, num_labels: int) -> np.ndarray:
    if len(rows) != num_images:
        raise ValueError(f"{name} must have a row for each of {num_images} images, got {len(rows)}")
    for row, values in enumerate(rows):
        if np.shape(values) != (num_labels,):
            raise ValueError(f"{name} must be rows of {num_labels}; row {row} has shape {np.shape(values)}")
    shares = np.asarray(rows, dtype=np.float64)
    wrong = ~(np.isfinite(shares).all(axis=1) & (shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < 1e-3))
    if wrong.any():
        row = int(wrong.argmax())
        found = f"row {row} is {shares[row].tolist()} ({int(wrong.sum())} such rows)"
        raise ValueError(f"{name} must be probabilities that sum to 1; {found}")
    return shares / shares.sum(axis=1, keepdims=True)


def _probabilistic_scores(scores: np.ndarray, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    confidence = scores[np.arange(len(predictions)), predictions]
    correct = predictions == references
    edges = np.linspace(0, 1, _BINS + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, _BINS - 1)
    # |mean(correct) - mean(confidence)| of each bin, weighted by its share of the images
    gaps = np.bincount(bins, weights=correct.astype(float) - confidence, minlength=_BINS)
    ids = np.arange(scores.shape[1])
    return {
        "expected_calibration_error": float(np.abs(gaps).sum() / len(references)),
        "brier_score": float(brier_score_loss(references, scores, labels=ids, scale_by_half=False)),
        "negative_log_likelihood": float(log_loss(references, scores, labels=ids)),
    }
