"""One optimizer step over a window of batches, each image with the same weight, on any number of processes."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

Batch = dict[str, Tensor]


class NonFiniteLossError(RuntimeError):
    """Loss, gradient or scores are infinite or not a number; the message names the step and the images."""


def mark_padding(
    batches: Iterable[Batch], first: int, num_images: int, batch_size: int, accelerator: Accelerator
) -> Iterator[Batch]:
    """Has the loss ignore the images by which accelerate fills up the last batch of each process.

    Their class ids become -100, their probabilities 0. Batch k of process p holds places
    (k * processes + p) * batch_size and on in the epoch's order.

    Args:
        batches: Those of this process, in the epoch's order.
        first: Number k of the first of them, from 0.
        num_images: Images of an epoch, without the padding.
        batch_size: Images of one batch.
        accelerator: The run's accelerator.

    Yields:
        The same batches.
    """
    for index, batch in enumerate(batches, start=first):
        place = (index * accelerator.num_processes + accelerator.process_index) * batch_size
        labels = batch["labels"]
        labels[max(num_images - place, 0) :] = 0 if labels.is_floating_point() else -100
        yield batch


def windows(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Yields the batches of one optimizer step at a time; the last window of an epoch may be shorter."""
    batches = iter(batches)
    while window := list(itertools.islice(batches, size)):
        yield window


def train_step(
    window: list[Batch],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    max_grad_norm: float | None,
    accelerator: Accelerator,
    train_rows: datasets.Dataset,
    step: int,
) -> float:
    """Takes one optimizer step on the mean loss over all images of the window on all processes.

    Args:
        window: The batches of this process.
        model: The prepared model.
        optimizer: The prepared optimizer.
        max_grad_norm: Norm to which the gradient is clipped.
        accelerator: The run's accelerator.
        train_rows: The training data, for the paths of the images.
        step: Number of the step, from 1.

    Returns:
        The mean loss.

    Raises:
        NonFiniteLossError: If loss or gradient are not finite; the weights are as before the step.
    """
    label_weight = accelerator.unwrap_model(model).label_weight
    # DDP averages gradients over processes, so each divides its sum by the mean of what they hold.
    num_items = accelerator.reduce(sum(label_weight(batch["labels"]) for batch in window), "mean")
    losses = []
    for index, batch in enumerate(window):
        accelerator.sync_gradients = index == len(window) - 1
        with contextlib.nullcontext() if accelerator.sync_gradients else accelerator.no_sync(model):
            loss = model(batch["pixel_values"], labels=batch["labels"], num_items_in_batch=num_items).loss
            accelerator.backward(loss)
        losses.append(loss.detach())
    mean_loss = accelerator.reduce(torch.stack(losses).sum(), "mean").item()
    norm = accelerator.clip_grad_norm_(model.parameters(), max_grad_norm or math.inf)
    # With fp16 the gradient scaler skips steps whose gradients overflow.
    finite_gradient = norm is None or accelerator.scaler is not None or math.isfinite(norm)
    if not (math.isfinite(mean_loss) and finite_gradient):
        bad = [batch for batch, loss in zip(window, losses, strict=True) if not loss.isfinite()]
        rows = gather_object(_rows_of(bad)) or gather_object(_rows_of(window))
        paths = train_rows.select(rows)["path"]
        raise NonFiniteLossError(
            f"step {step}: loss {mean_loss}, gradient norm {norm}; images: {', '.join(paths)}. Look at these, "
            f"lower learning_rate or set max_grad_norm; the checkpoint before is kept"
        )
    optimizer.step()
    optimizer.zero_grad()
    return mean_loss


def _rows_of(batches: Iterable[Batch]) -> list[int]:
    """Returns which rows of the training data the batches hold."""
    return [int(index) for batch in batches for index in batch["index"]]
