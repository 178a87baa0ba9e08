"""Images of one batch mixed with one another, and their labels likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torchvision.transforms import v2


def build_mixing(
    mixup_alpha: float | None, cutmix_alpha: float | None, num_labels: int
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Builds mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019); with both, a batch gets one of them.

    Args:
        mixup_alpha: Images are averaged with shares drawn from Beta(alpha, alpha); None for no mixup.
        cutmix_alpha: A rectangle, whose share of the area is drawn so, comes from the other image; None for no CutMix.
        num_labels: Number of classes C.

    Returns:
        What takes images [B, 3, H, W] and class ids [B], or their probabilities [B, C], and gives mixed images and
        probabilities, drawing from torch's global generator; None for no mixing. A batch with labels that do not count
        (-100, or no probability for any class) stays as it is.
    """
    choices: list[nn.Module] = []
    if mixup_alpha is not None:
        choices.append(v2.MixUp(alpha=mixup_alpha, num_classes=num_labels))
    if cutmix_alpha is not None:
        choices.append(v2.CutMix(alpha=cutmix_alpha, num_classes=num_labels))
    if not choices:
        return None
    choose = v2.RandomChoice(choices)

    def mix(pixel_values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        counts = labels >= 0 if labels.ndim == 1 else labels.sum(dim=1) > 0
        if len(labels) < 2 or not bool(counts.all()):
            return pixel_values, labels
        with torch.no_grad():
            return choose(pixel_values, labels)

    return mix


def mix_batches(
    batches: Iterable[dict[str, Tensor]], mixup_alpha: float | None, cutmix_alpha: float | None, num_labels: int
) -> Iterator[dict[str, Tensor]]:
    """Mixes the `pixel_values` of each batch, and its `labels`; see `build_mixing`."""
    mix = build_mixing(mixup_alpha, cutmix_alpha, num_labels)
    for batch in batches:
        if mix is not None:
            batch["pixel_values"], batch["labels"] = mix(batch["pixel_values"], batch["labels"])
        yield batch
