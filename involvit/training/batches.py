"""What happens to batches between loader and model: labels that do not count, and images mixed with one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from accelerate import Accelerator
from torch import Tensor
from torchvision.transforms import v2

Batch = dict[str, Tensor]
"""`pixel_values` [B, 3, H, W]; `labels`, class ids [B] or probabilities [B, C]; `index` [B], the rows of the data."""


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
    """
    for index, batch in enumerate(batches, start=first):
        place = (index * accelerator.num_processes + accelerator.process_index) * batch_size
        labels = batch["labels"]
        labels[max(num_images - place, 0) :] = 0 if labels.is_floating_point() else -100
        yield batch


def mix_batches(
    batches: Iterable[Batch], mixup_alpha: float | None, cutmix_alpha: float | None, num_labels: int
) -> Iterator[Batch]:
    """Mixes batches by mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019); with both, each by one.

    Their labels become probabilities. A batch with labels that do not count stays as it is.

    Args:
        batches: Those to mix, by torch's global generator.
        mixup_alpha: Images are averaged with shares drawn from Beta(alpha, alpha); None for no mixup.
        cutmix_alpha: A rectangle, whose share of the area is drawn so, comes from the other image; None for no CutMix.
        num_labels: Number of classes C.
    """
    alphas = {v2.MixUp: mixup_alpha, v2.CutMix: cutmix_alpha}
    mixings = [kind(alpha=alpha, num_classes=num_labels) for kind, alpha in alphas.items() if alpha is not None]
    mix = v2.RandomChoice(mixings) if mixings else None
    for batch in batches:
        labels = batch["labels"]
        counts = labels >= 0 if labels.ndim == 1 else labels.sum(dim=1) > 0
        if mix is not None and len(labels) > 1 and counts.all():
            batch["pixel_values"], batch["labels"] = mix(batch["pixel_values"], labels)
        yield batch
