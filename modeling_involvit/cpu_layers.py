"""Layers that compute the same faster, for inference on a CPU.

- torch puts a convolution's weights into oneDNN's order at each call, and multiplies matrices with MKL, which leaves
  half of an AMD processor unused (benchmarks/LOG.md). The operators that take ordered weights are those that Inductor
  freezes models with.
- torch's group normalisation of channels last maps, which those convolutions give, takes up to eight times as long as
  that of contiguous ones
"""

from __future__ import annotations

import os
import platform

import torch
from timm.layers import Conv2dSame, GroupNormAct
from timm.layers.padding import pad_same
from torch import Tensor, nn

# Of a convolution's input. Below it torch itself leaves oneDNN alone, whose calls would cost more than they save.
MIN_NUMBERS = 20480


def is_available() -> bool:
    """Returns whether torch has the operators, on the processors on which they were tried.

    They compute wrong numbers where OpenMP may start fewer threads than torch asks for.
    """
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if any(os.environ.get(name) for name in ("OMP_THREAD_LIMIT", "OMP_DYNAMIC")):
        return False
    return is_x86 and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _computes_plainly(x: Tensor) -> bool:
    """Returns whether a layer computes in float32 on a CPU, for results alone."""
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return is_plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


class _Packed:
    """A layer with a second copy of its weight, ordered at first use; no buffer, as it cannot be moved or saved.

    What oneDNN does not compute, or not with gradients, is left to the layer's own forward pass.
    """

    ordered_weight: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The layer's function."""
        if _computes_plainly(x) and self._gains(x):
            return self._forward_ordered(x)
        return super().forward(x)

    def _gains(self, x: Tensor) -> bool:
        return True

    def __getstate__(self) -> dict:  # for copies as well
        return {**self.__dict__, "ordered_weight": None}


class PackedLinear(_Packed, nn.Linear):
    """A linear layer by oneDNN."""

    def _forward_ordered(self, x: Tensor) -> Tensor:
        if self.ordered_weight is None:
            num_rows = x.numel() // x.shape[-1]
            self.ordered_weight = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), num_rows)
        return torch.ops.mkldnn._linear_pointwise(x, self.ordered_weight, self.bias, "none", [], "")


class PackedConv2d(_Packed, nn.Conv2d):
    """A convolution by oneDNN."""

    def _gains(self, x: Tensor) -> bool:
        return x.numel() > MIN_NUMBERS

    def _forward_ordered(self, x: Tensor) -> Tensor:
        sizes = self.padding, self.stride, self.dilation, self.groups
        if self.ordered_weight is None:
            weight = self.weight.detach().contiguous(memory_format=torch.channels_last)
            self.ordered_weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *sizes, list(x.shape))
        convolve = torch.ops.mkldnn._convolution_pointwise
        return convolve(x, self.ordered_weight, self.bias, *sizes, "none", [], "")


class PackedConv2dSame(PackedConv2d, Conv2dSame):
    """timm's convolution, whose padding depends on the input's size."""

    def _forward_ordered(self, x: Tensor) -> Tensor:
        return super()._forward_ordered(pad_same(x, self.kernel_size, self.stride, self.dilation))


class ChannelsLastGroupNorm(GroupNormAct):
    """timm's group normalisation with activation, by the mean and mean square of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if not _computes_plainly(x) or x.is_contiguous():
            return super().forward(x)
        mean, square = (values.mean((2, 3)).unflatten(1, (self.num_groups, -1)).mean(2) for values in (x, x * x))
        inverse = (square - mean**2 + self.eps).rsqrt()
        scale = inverse.repeat_interleave(x.shape[1] // self.num_groups, dim=1) * self.weight
        shift = self.bias - mean.repeat_interleave(x.shape[1] // self.num_groups, dim=1) * scale
        return self.act(self.drop(torch.addcmul(shift[..., None, None], x, scale[..., None, None])))


FASTER = {
    nn.Linear: PackedLinear,
    nn.Conv2d: PackedConv2d,
    Conv2dSame: PackedConv2dSame,
    GroupNormAct: ChannelsLastGroupNorm,
}


def use_cpu_layers(module: nn.Module) -> None:
    """Makes layers faster ones, in place; names and weights stay."""
    for layer in module.modules():
        layer.__class__ = FASTER.get(type(layer), type(layer))
