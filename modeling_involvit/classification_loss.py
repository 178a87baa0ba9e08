"""The loss of a classifier, by the kind of problem that its configuration names."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


def infer_problem_type(labels: Tensor, num_labels: int) -> str:
    """Returns the problem that labels pose, as transformers' own classifiers infer it.

    Regression for a model with one label, else single-label for whole numbers and multi-label for others.
    """
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def classification_loss(
    logits: Tensor, labels: Tensor, problem_type: str, num_items_in_batch: Tensor | float | None = None
) -> Tensor:
    """Returns the loss of transformers' own classifiers, a mean in float32, and takes soft targets as well.

    Args:
        logits: Scores of shape [B, C].
        labels: By `problem_type`, for `"single_label_classification"` class ids [B], where -100 does not count, or
            their probabilities [B, C], where a row of zeros does not (cross-entropy); for
            `"multi_label_classification"` 0 to 1 for each class [B, C] (binary cross-entropy); for `"regression"`
            targets [B] or [B, C] (squared error).
        problem_type: One of `PROBLEM_TYPES`.
        num_items_in_batch: What the summed loss is divided by: the number of entries in the labels of all
            micro-batches of a step, -100 left out. By default those of this batch.

    Raises:
        ValueError: If there is no such problem.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"problem_type is {problem_type!r}; it is one of {', '.join(PROBLEM_TYPES)}")
    num_labels, logits = logits.shape[1], logits.float()
    if problem_type != "single_label_classification":
        labels = labels.to(logits.dtype).view_as(logits)
        compute = F.mse_loss if problem_type == "regression" else F.binary_cross_entropy_with_logits
        num_entries = labels.numel() if num_items_in_batch is None else num_items_in_batch
        return compute(logits, labels, reduction="sum") / num_entries
    if labels.ndim == 2 and labels.shape[1] == num_labels:
        labels = labels.to(logits.dtype)
        # An image of soft targets has as many entries as there are classes.
        num_images = labels.sum() if num_items_in_batch is None else num_items_in_batch / num_labels
    else:
        labels = labels.flatten()
        num_images = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
    return F.cross_entropy(logits, labels, reduction="sum") / num_images
