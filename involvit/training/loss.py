"""The loss of training: cross-entropy with class weights and label smoothing, summed over parts of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def label_weight(labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Returns what the summed loss of these labels is divided by for its mean, a scalar in float32.

    Args:
        labels: As in `summed_cross_entropy`.
        class_weights: Weight of each class [C]; by default 1, and the result is the number of images that count.
    """
    if labels.ndim == 2:
        return labels.float().sum() if class_weights is None else (labels.float() @ class_weights).sum()
    counts = labels >= 0
    return counts.sum().float() if class_weights is None else (class_weights[labels.clamp(min=0)] * counts).sum()


def summed_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Returns the cross-entropy summed over the images, a scalar in float32.

    Args:
        logits: Scores of shape [B, C].
        labels: Class ids of shape [B], where -100 does not count, or their probabilities [B, C], where a row of zeros
            does not.
        class_weights: Weight of each class [C]; 1 by default.
        label_smoothing: Share of each target that is spread over all classes.
    """
    if labels.ndim == 2:  # torch's own smoothing would make rows of zeros count
        labels = labels.float()
        labels = (1 - label_smoothing) * labels + label_smoothing / labels.shape[1] * labels.sum(dim=1, keepdim=True)
        label_smoothing = 0.0
    return F.cross_entropy(logits.float(), labels, class_weights, reduction="sum", label_smoothing=label_smoothing)


def balancing_weights(labels: list[int], num_labels: int) -> Tensor:
    """Returns a weight for each class [C], inverse to its share of the labels; 1 for each where they are even."""
    counts = torch.bincount(torch.tensor(labels), minlength=num_labels)
    return counts.sum() / counts.clamp(min=1) / counts.count_nonzero()
