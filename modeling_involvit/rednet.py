"""RedNet: ResNet bottlenecks whose 3x3 convolutions are involutions (Li et al., CVPR 2021, arXiv 2103.06255).

- deep stem: conv 3x3 / 2, involution 3x3, conv 3x3, max-pool 3x3 / 2
- 7x7 involution in each bottleneck, which also carries the stride
- module names are those of the published checkpoints, so that their tensors load by name
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .involution import Involution2d, conv_norm

# Blocks of the four stages of the published networks, by their names' number.
REDNET_DEPTHS = {26: (1, 2, 4, 1), 38: (2, 3, 5, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Bottleneck(GradientCheckpointingLayer):
    """1x1 convolution, 7x7 involution, 1x1 convolution, and the shortcut. Expects and returns NCHW."""

    expansion = 4

    def __init__(self, in_channels: int, out_channels: int, stride: int, kernel_size: int, group_channels: int) -> None:
        super().__init__()
        channels = out_channels // self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = Involution2d(channels, kernel_size, stride, group_channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.bn3.starts_at_zero = True  # for who initialises it: the block starts as its shortcut
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    @property
    def _gradient_checkpointing_func(self) -> Callable[..., Tensor]:
        return partial(_checkpoint, self._checkpoint, self)

    @_gradient_checkpointing_func.setter
    def _gradient_checkpointing_func(self, checkpoint: Callable[..., Tensor]) -> None:  # set by transformers
        self._checkpoint = checkpoint

    @_gradient_checkpointing_func.deleter
    def _gradient_checkpointing_func(self) -> None:
        del self._checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


class RedNet(nn.Module):
    """The involution network: a map, or class scores where `num_classes` is given. Expects NCHW.

    Args:
        depths: Bottlenecks of each stage, from one to as many stages as wanted; `REDNET_DEPTHS` has the published ones.
        widths: Output channels of each stage, multiples of `4 * group_channels`.
        stem_channels: Channels of the stem's output, a multiple of `2 * group_channels`.
        kernel_size: K of the involutions in the bottlenecks; the stem's is 3.
        group_channels: Channels that share one kernel.
        in_channels: Channels of the image.
        num_classes: Width of a linear head on the averaged map; 0 for none.

    Raises:
        ValueError: If `depths` and `widths` differ in length, or a width does not split into groups.
    """

    def __init__(
        self,
        depths: Sequence[int] = REDNET_DEPTHS[50],
        widths: Sequence[int] = (256, 512, 1024, 2048),
        stem_channels: int = 64,
        kernel_size: int = 7,
        group_channels: int = 16,
        in_channels: int = 3,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        if not depths or len(depths) != len(widths):
            raise ValueError(f"RedNet needs one width a stage, got depths {list(depths)} and widths {list(widths)}")
        if stem_channels % (2 * group_channels) or any(w % (Bottleneck.expansion * group_channels) for w in widths):
            raise ValueError(
                f"RedNet needs stem_channels divisible by 2 * group_channels and widths by 4 * group_channels, "
                f"got stem_channels {stem_channels}, widths {list(widths)}, group_channels {group_channels}"
            )
        half = stem_channels // 2
        self.stem = nn.Sequential(
            conv_norm(in_channels, half, 3, stride=2),
            Involution2d(half, 3, group_channels=group_channels),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            conv_norm(half, stem_channels, 3),
        )
        self.stages = [f"layer{number}" for number in range(1, len(depths) + 1)]
        channels = stem_channels
        for stage, depth, width in zip(self.stages, depths, widths, strict=True):
            stride = 1 if stage == "layer1" else 2
            blocks = [Bottleneck(channels, width, stride, kernel_size, group_channels)]
            blocks += [Bottleneck(width, width, 1, kernel_size, group_channels) for _ in range(depth - 1)]
            self.add_module(stage, nn.Sequential(*blocks))
            channels = width
        self.out_channels = channels
        self.fc = nn.Linear(channels, num_classes) if num_classes else None
        for module in self.modules():
            if getattr(module, "starts_at_zero", False):
                nn.init.zeros_(module.weight)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor, hidden_states: list[Tensor] | None = None) -> Tensor:
        """Computes the last stage's map.

        Args:
            x: Images [B, in_channels, H, W].
            hidden_states: Takes the maps of the stem [B, stem_channels, H / 4, W / 4] and of each stage.

        Returns:
            [B, widths[-1], H / 32, W / 32] with four stages.
        """
        if x.device.type == "cpu":  # where convolutions and involutions are a third faster in this format
            x = x.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(self.stem(x), 3, stride=2, padding=1)
        if hidden_states is not None:
            hidden_states.append(x)
        for stage in self.stages:
            x = getattr(self, stage)(x)
            if hidden_states is not None:
                hidden_states.append(x)
        return x

    def forward(self, x: Tensor, hidden_states: list[Tensor] | None = None) -> Tensor:
        """[B, in_channels, H, W] -> [B, num_classes], or where there is no head what `forward_features` returns."""
        x = self.forward_features(x, hidden_states)
        return x if self.fc is None else self.fc(x.mean(dim=(2, 3)))


def _checkpoint(checkpoint: Callable[..., Tensor], module: nn.Module, run: Callable, *args: Tensor) -> Tensor:
    """Checkpoints `run`, whose second pass, in the backward pass, leaves the module's running statistics alone."""
    passes = count()

    def run_counted(*args: Tensor) -> Tensor:
        with _frozen_running_statistics(module) if next(passes) else nullcontext():
            return run(*args)

    return checkpoint(run_counted, *args)


@contextmanager
def _frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Keeps BatchNorm from counting a batch a second time when checkpointing computes a block's forward again."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    saved = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, num_batches_tracked) in zip(norms, saved, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, num_batches_tracked
