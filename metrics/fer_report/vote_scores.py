"""How a classifier's answers, and those of single people, compare with the votes of several people per image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import entr, xlogy

_SMALLEST = np.finfo(np.float64).eps  # of a probability under the logarithm, as in negative_log_likelihood


def distances_to_votes(scores: np.ndarray, votes: np.ndarray) -> dict[str, float]:
    """Compares probabilities with the distribution of the votes, both [N, C] in rows that sum to 1; in nats."""
    entropy = entr(votes).sum(axis=1)
    # Jensen-Shannon (Lin 1991): the entropy of the mixture less the mean of the two entropies
    divergence = entr((scores + votes) / 2).sum(axis=1) - (entr(scores).sum(axis=1) + entropy) / 2
    return {
        "cross_entropy_to_votes": float(-xlogy(votes, np.maximum(scores, _SMALLEST)).sum(axis=1).mean()),
        "entropy_of_votes": float(entropy.mean()),
        "js_divergence_to_votes": float(np.maximum(divergence, 0).mean()),  # rounding may leave -1e-17
    }


def agreement_with_people(
    vote_counts: Sequence[Sequence[int] | None], predictions: np.ndarray, references: np.ndarray, num_labels: int
) -> dict[str, float | int]:
    """Asks how often single voters, and the model, agree with the others; see the results of `fer_report`.

    Args:
        vote_counts: How many people gave each answer, the classes first; one row per image, or `None`.
        predictions: Class ids that the model answers, [N].
        references: Class ids of the majority, [N].
        num_labels: Number of classes.

    Raises:
        ValueError: If the rows are not one an image, or hold anything but whole numbers from 0 up.
    """
    voted, counts = _checked_counts(vote_counts, len(references), num_labels)
    if not len(voted):
        return {"num_voted": 0}
    rows = np.arange(len(voted))
    people = counts.sum(axis=1)
    # others[i, c]: the counts of image i without one person who answered c
    others = counts[:, None, :] - np.eye(counts.shape[1], dtype=counts.dtype)
    leads = others == others.max(axis=2, keepdims=True)
    wins = np.diagonal(leads, axis1=1, axis2=2) / leads.sum(axis=2)
    answers, majority = predictions[voted], references[voted]
    return {
        "num_voted": len(voted),
        "voted_accuracy": float((answers == majority).mean()),
        "agreement_with_person": float((counts[rows, answers] / people).mean()),
        "human_accuracy": float(((counts * wins).sum(axis=1) / people).mean()),
        "human_agreement_with_person": float(((counts * (counts - 1)).sum(axis=1) / (people * (people - 1))).mean()),
        "human_majority_share": float((counts[rows, majority] / people).mean()),
    }


def _checked_counts(
    vote_counts: Sequence[Sequence[int] | None], num_images: int, num_labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of the images with two or more people, [M], and their counts, [M, answers]."""
    if len(vote_counts) != num_images:
        raise ValueError(f"vote_counts must have a row for each of {num_images} images, got {len(vote_counts)}")
    given = {row: np.asarray(values) for row, values in enumerate(vote_counts) if values is not None}
    for row, values in given.items():
        if values.ndim != 1 or len(values) < num_labels:
            wanted = f"None or rows of {num_labels} or more"
            raise ValueError(f"vote_counts must be {wanted}; row {row} has shape {values.shape}")
        if not np.issubdtype(values.dtype, np.integer) or (values < 0).any():
            raise ValueError(f"vote_counts must be whole numbers from 0 up; row {row} is {values.tolist()}")
    voted = [row for row, values in given.items() if values.sum() >= 2]
    counts = np.zeros((len(voted), max((len(given[row]) for row in voted), default=num_labels)), dtype=np.int64)
    for place, row in enumerate(voted):
        counts[place, : len(given[row])] = given[row]
    return np.array(voted, dtype=np.int64), counts
