"""The involution operator and its layer.

Involution (Li et al., CVPR 2021, arXiv 2103.06255) turns convolution round: its kernel differs from pixel to pixel and
is shared by the channels of a group. `involution` is the operator (equation 1), `Involution2d` the layer that also
generates the kernels from the input (equations 2 and 3). To `torch.compile`, `torch.export` and FLOP counters the
operator is one node.

Tensor names carry their axes: B batch, C channels, G groups, D channels of a group (C = G * D), K kernel size,
H and W of the input, h and w of the output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from .involution_numba import backward as numba_backward
from .involution_numba import forward as numba_forward
from .involution_numba import is_available as numba_is_available
from .involution_triton import backward as triton_backward
from .involution_triton import forward as triton_forward
from .involution_triton import is_available as triton_is_available

# Each model repository on the Hub brings its own copy of this file. Two copies in one process must not register the
# same operator twice (the second would free the first), so the namespace is the module's name.
_NAMESPACE = re.sub(r"\W", "_", __name__)


def involution(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Applies a kernel of its own at each output pixel, shared by the channels of a group (equation 1).

    `out[b, c, i, j] = sum over u, v of weight[b, g, u, v, i, j] * x[b, c, i * stride + u - p, j * stride + v - p]` with
    `g = c // (C / G)`, zero padding `p = (K - 1) / 2`, `u, v` in `0 .. K - 1`.

    Half precision inputs are accumulated in float32. Under autocast both inputs are cast to the autocast type.

    Args:
        x: Input of shape [B, C, H, W], any floating point type.
        weight: Kernels of shape [B, G, K, K, h, w] in the type of `x`, K odd, G a divisor of C, h = ceil(H / stride),
            w = ceil(W / stride).
        stride: Distance in pixels between the centres of two neighbouring windows.

    Returns:
        Tensor of shape [B, C, h, w] in the type of the inputs; channels last where `x` is, else contiguous.

    Raises:
        ValueError: If shapes or types do not fit together; the message states them.
    """
    return _involution(x, weight, stride)


def _check_arguments(x: Tensor, weight: Tensor, stride: int) -> None:
    given = f"got x {list(x.shape)}, weight {list(weight.shape)}, stride {stride}"
    if x.ndim != 4 or weight.ndim != 6:
        raise ValueError(f"involution needs x [B, C, H, W] and weight [B, G, K, K, h, w]; {given}")
    if stride < 1:
        raise ValueError(f"involution needs a stride of at least 1; {given}")
    batch, channels, height, width = x.shape
    groups, kernel_size = weight.shape[1:3]
    if groups == 0 or channels % groups:
        raise ValueError(f"involution needs channels ({channels}) divisible by groups ({groups}); {given}")
    if kernel_size % 2 == 0:
        raise ValueError(f"involution needs an odd kernel_size, not {kernel_size}; {given}")
    expected = [batch, groups, kernel_size, kernel_size, -(-height // stride), -(-width // stride)]
    if list(weight.shape) != expected:
        raise ValueError(f"involution needs weight {expected} for this x; {given}")
    if x.dtype != weight.dtype or not x.is_floating_point():
        raise ValueError(
            f"involution needs one floating point type, not x {x.dtype} and weight {weight.dtype}; {given}"
        )


Kernels = tuple[Callable[[Tensor, Tensor, int], Tensor], Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]]


def _backend_for(x: Tensor) -> Kernels:
    """Chooses what computes the operator and its gradients: the one place where that is decided."""
    if x.device.type == "cpu" and numba_is_available():
        return numba_forward, numba_backward
    if x.device.type == "cuda" and triton_is_available():
        return triton_forward, triton_backward
    return _forward_by_views, _backward_by_views


def _is_channels_last(tensor: Tensor) -> bool:
    """Whether [B, ..., H, W] lies in memory as [B, H, W, ...] and not also as its shape says."""
    return tensor.movedim((-2, -1), (1, 2)).is_contiguous() and not tensor.is_contiguous()


def _in_format_of(reference: Tensor, tensor: Tensor) -> Tensor:
    """Brings a result to channels last where the input that it belongs to is, else to contiguous."""
    if _is_channels_last(reference):
        return tensor.movedim((-2, -1), (1, 2)).contiguous().movedim((1, 2), (-2, -1))
    return tensor.contiguous()


def _empty_in_format_of(reference: Tensor, shape: Sequence[int]) -> Tensor:
    return _in_format_of(reference, reference.new_empty(shape))


def _taps(padded_BGDHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yields u, v and the view [B, G, D, h, w] of the padded input under each of the K * K kernel positions."""
    kernel_size, _, height, width = weight_BGKKhw.shape[2:]
    for u in range(kernel_size):
        rows = padded_BGDHW[..., u : u + (height - 1) * stride + 1 : stride, :]
        for v in range(kernel_size):
            yield u, v, rows[..., v : v + (width - 1) * stride + 1 : stride]


def _pad_and_group(x_BCHW: Tensor, groups: int, kernel_size: int) -> Tensor:
    """Zero-pads by (K - 1) / 2 on each side and splits the channels: [B, G, D, H + K - 1, W + K - 1]."""
    return F.pad(x_BCHW, [(kernel_size - 1) // 2] * 4).unflatten(1, (groups, -1))


def _accumulation_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _forward_by_views(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Accumulates over the K * K shifted views, and never makes the K * K times larger unfolded input."""
    groups, kernel_size, _, height, width = weight.shape[1:]
    compute_type = _accumulation_type(x.dtype)
    padded_BGDHW = _pad_and_group(x.to(compute_type), groups, kernel_size)
    weight_BGKKhw = weight.to(compute_type)
    out_BGDhw = padded_BGDHW.new_zeros(*padded_BGDHW.shape[:3], height, width)
    for u, v, view_BGDhw in _taps(padded_BGDHW, weight, stride):
        out_BGDhw.addcmul_(view_BGDhw, weight_BGKKhw[:, :, None, u, v])
    return out_BGDhw.flatten(1, 2).to(x.dtype)


def _backward_by_views(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    groups, kernel_size = weight.shape[1:3]
    compute_type = _accumulation_type(x.dtype)
    grad_BGDhw = grad.to(compute_type).unflatten(1, (groups, -1))
    padded_BGDHW = _pad_and_group(x.to(compute_type), groups, kernel_size)
    weight_BGKKhw = weight.to(compute_type)
    grad_padded_BGDHW = torch.zeros_like(padded_BGDHW)
    grad_weight_BGKKhw = torch.empty_like(weight, memory_format=torch.contiguous_format)
    taps = _taps(padded_BGDHW, weight, stride)
    grad_taps = _taps(grad_padded_BGDHW, weight, stride)
    for (u, v, view_BGDhw), (_, _, grad_view_BGDhw) in zip(taps, grad_taps, strict=True):
        grad_view_BGDhw.addcmul_(grad_BGDhw, weight_BGKKhw[:, :, None, u, v])
        grad_weight_BGKKhw[:, :, u, v] = (grad_BGDhw * view_BGDhw).sum(dim=2)
    padding = (kernel_size - 1) // 2
    height, width = x.shape[2:]
    grad_x_BGDHW = grad_padded_BGDHW[..., padding : padding + height, padding : padding + width]
    return grad_x_BGDHW.flatten(1, 2).to(x.dtype), grad_weight_BGKKhw


@torch.library.custom_op(f"{_NAMESPACE}::involution", mutates_args=())
def _involution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    _check_arguments(x, weight, stride)
    forward, _ = _backend_for(x)
    return _in_format_of(x, forward(x, weight, stride))


@_involution.register_fake
def _(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    _check_arguments(x, weight, stride)
    return _empty_in_format_of(x, (*x.shape[:2], *weight.shape[4:]))


@torch.library.custom_op(f"{_NAMESPACE}::involution_backward", mutates_args=())
def _involution_backward(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    _, backward = _backend_for(x)
    grad_x, grad_weight = backward(grad, x, weight, stride)
    return _in_format_of(x, grad_x), _in_format_of(weight, grad_weight)


@_involution_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    return _empty_in_format_of(x, x.shape), _empty_in_format_of(weight, weight.shape)


def _save_inputs(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, weight, ctx.stride = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_involution_backward(grad, *ctx.saved_tensors, ctx.stride), None


_involution.register_autograd(_backward, setup_context=_save_inputs)


def _autocast(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    dtype = torch.get_autocast_dtype(x.device.type)
    with torch.autocast(x.device.type, enabled=False):
        return _involution(x.to(dtype), weight.to(dtype), stride)


# torch.library.register_autocast knows one fixed type only, not the one that autocast is entered with.
_LIBRARY = torch.library.Library(_NAMESPACE, "FRAGMENT")
for _key in ("AutocastCPU", "AutocastCUDA"):
    _LIBRARY.impl("involution", _autocast, _key)


@register_flop_formula(getattr(torch.ops, _NAMESPACE).involution)
def _(x_shape: list[int], weight_shape: list[int], stride: int, *, out_shape: list[int], **kwargs: object) -> int:
    batch, channels, height, width = out_shape
    return 2 * weight_shape[2] * weight_shape[3] * batch * channels * height * width


@register_flop_formula(getattr(torch.ops, _NAMESPACE).involution_backward)
def _(grad_shape: list[int], x_shape: list[int], weight_shape: list[int], stride: int, **kwargs: object) -> int:
    batch, channels, height, width = grad_shape
    return 4 * weight_shape[2] * weight_shape[3] * batch * channels * height * width


class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm, ReLU: expects and returns NCHW."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        return F.relu(self.bn(self.conv(x)))


class KernelSpan(nn.Module):
    """The 1x1 convolution W1 that spans the kernel, in a module of its own to carry the published tensor names."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, H, W]."""
        return self.conv(x)


class Involution2d(nn.Module):
    """Involution with kernels generated from the input: `kernel = W1 s(W0 x)`, s = BatchNorm + ReLU (equations 2, 3).

    W0 reduces the channels by `reduction_ratio`, W1 spans K * K * G values a pixel. Where `stride > 1` the generator
    sees the average-pooled input; a last, partial pooling window averages over the pixels it has. Expects and returns
    NCHW.

    Args:
        channels: Channels C of input and output, a multiple of `group_channels`.
        kernel_size: K, odd.
        stride: Stride of the operator.
        group_channels: Channels that share one kernel; G = channels / group_channels.
        reduction_ratio: r; the generator's hidden width is channels / r.

    Raises:
        ValueError: If `channels` is not a multiple of `group_channels` and of `reduction_ratio`, or K is even.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int = 1, group_channels: int = 16, reduction_ratio: int = 4
    ) -> None:
        super().__init__()
        if channels % group_channels or channels % reduction_ratio:
            raise ValueError(
                f"Involution2d needs channels divisible by group_channels and by reduction_ratio, "
                f"got channels {channels}, group_channels {group_channels}, reduction_ratio {reduction_ratio}"
            )
        if kernel_size % 2 == 0:
            raise ValueError(f"Involution2d needs an odd kernel_size, got {kernel_size}")
        self.kernel_size = kernel_size
        self.stride = stride
        self.groups = channels // group_channels
        self.conv1 = ConvNorm(channels, channels // reduction_ratio, 1)
        self.conv2 = KernelSpan(channels // reduction_ratio, kernel_size**2 * self.groups)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, ceil(H / stride), ceil(W / stride)]."""
        pooled = x if self.stride == 1 else F.avg_pool2d(x, self.stride, ceil_mode=True)
        weight = self.conv2(self.conv1(pooled))
        return involution(x, weight.unflatten(1, (self.groups, self.kernel_size, self.kernel_size)), self.stride)
