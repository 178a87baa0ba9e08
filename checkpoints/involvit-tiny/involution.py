"""The involution operator and its layer.

Involution (Li et al., CVPR 2021, arXiv 2103.06255) turns convolution round: its kernel differs from pixel to pixel and
is shared by the channels of a group. `involution` is the operator (equation 1), `Involution2d` the layer that also
generates the kernels from the input (equations 2 and 3). To `torch.compile` and FLOP counters the operator is one node.
`torch.export` writes it out in plain ATen operations: its files, and those of ONNX, need nothing of this module.

Tensor names carry their axes: B batch, C channels, G groups, D channels of a group (C = G * D), K kernel size,
H and W of the input, h and w of the output.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

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
# same operator twice (the second would free the first), so the namespace is the module's name, in the letters that
# torch allows: the name comes from that of a folder.
_NAMESPACE = re.sub(r"\W", lambda sign: "_" if sign[0] == "." else f"_{ord(sign[0]):x}_", __name__, flags=re.ASCII)


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
    if torch.compiler.is_exporting():
        return _written_out(x, weight, stride)
    return _involution(x, weight, stride)


def _check_arguments(x: Tensor, weight: Tensor, stride: int) -> None:
    def require(is_met: bool, what: str) -> None:
        if not is_met:
            given = f"got x {list(x.shape)}, weight {list(weight.shape)}, stride {stride}"
            raise ValueError(f"involution needs {what}; {given}")

    require(x.ndim == 4 and weight.ndim == 6, "x [B, C, H, W] and weight [B, G, K, K, h, w]")
    require(stride >= 1, "a stride of at least 1")
    (batch, channels, height, width), (groups, kernel_size) = x.shape, weight.shape[1:3]
    require(groups > 0 and channels % groups == 0, f"channels ({channels}) divisible by groups ({groups})")
    require(kernel_size % 2 == 1, f"an odd kernel_size, not {kernel_size}")
    expected = [batch, groups, kernel_size, kernel_size, -(-height // stride), -(-width // stride)]
    require(list(weight.shape) == expected, f"weight {expected} for this x")
    is_one_type = x.dtype == weight.dtype and x.is_floating_point()
    require(is_one_type, f"one floating point type, not x {x.dtype} and weight {weight.dtype}")


def _backend_for(x: Tensor) -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor]]]:
    """Chooses what computes the operator and its gradients: the one place where that is decided."""
    if x.device.type == "cpu" and numba_is_available():
        return numba_forward, numba_backward
    if x.device.type == "cuda" and triton_is_available():
        return triton_forward, triton_backward
    return _forward_by_views, _backward_by_views


def _in_format_of(reference: Tensor, tensor: Tensor) -> Tensor:
    """Brings a result [B, ..., H, W] to channels last where the input that it belongs to is, else to contiguous."""
    if reference.movedim((-2, -1), (1, 2)).is_contiguous() and not reference.is_contiguous():
        return tensor.movedim((-2, -1), (1, 2)).contiguous().movedim((1, 2), (-2, -1))
    return tensor.contiguous()


def _taps(padded_BGDHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yields u, v and the view [B, G, D, h, w] of the padded input under each of the K * K kernel positions."""
    kernel_size, _, height, width = weight_BGKKhw.shape[2:]
    for u in range(kernel_size):
        rows = padded_BGDHW[..., u : u + (height - 1) * stride + 1 : stride, :]
        for v in range(kernel_size):
            yield u, v, rows[..., v : v + (width - 1) * stride + 1 : stride]


def _padded_and_cast(x_BCHW: Tensor, weight_BGKKhw: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-pads x to [B, G, D, H + K - 1, W + K - 1], and brings both to the type that sums are accumulated in."""
    groups, kernel_size = weight_BGKKhw.shape[1:3]
    dtype = torch.promote_types(x_BCHW.dtype, torch.float32)
    padded_BCHW = F.pad(x_BCHW.to(dtype), [kernel_size // 2] * 4)
    return padded_BCHW.unflatten(1, (groups, -1)), weight_BGKKhw.to(dtype)


def _forward_by_views(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Accumulates over the K * K shifted views, and never makes the K * K times larger unfolded input."""
    padded_BGDHW, weight_BGKKhw = _padded_and_cast(x, weight)
    out_BGDhw = padded_BGDHW.new_zeros(*padded_BGDHW.shape[:3], *weight.shape[4:])
    for u, v, view_BGDhw in _taps(padded_BGDHW, weight, stride):
        out_BGDhw.addcmul_(view_BGDhw, weight_BGKKhw[:, :, None, u, v])
    return out_BGDhw.flatten(1, 2).to(x.dtype)


def _backward_by_views(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    padded_BGDHW, weight_BGKKhw = _padded_and_cast(x, weight)
    grad_BGDhw = grad.to(padded_BGDHW.dtype).unflatten(1, (weight.shape[1], -1))
    grad_padded_BGDHW = torch.zeros_like(padded_BGDHW)
    grad_weight_BGKKhw = torch.empty_like(weight, memory_format=torch.contiguous_format)
    for u, v, grad_view_BGDhw in _taps(grad_padded_BGDHW, weight, stride):
        grad_view_BGDhw.addcmul_(grad_BGDhw, weight_BGKKhw[:, :, None, u, v])
    for u, v, view_BGDhw in _taps(padded_BGDHW, weight, stride):
        grad_weight_BGKKhw[:, :, u, v] = (grad_BGDhw * view_BGDhw).sum(dim=2)
    padding = weight.shape[2] // 2
    grad_x_BCHW = F.pad(grad_padded_BGDHW.flatten(1, 2), [-padding] * 4)
    return grad_x_BCHW.to(x.dtype), grad_weight_BGKKhw


@torch.library.custom_op(f"{_NAMESPACE}::involution", mutates_args=())
def _involution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    _check_arguments(x, weight, stride)
    forward, _ = _backend_for(x)
    return _in_format_of(x, forward(x, weight, stride))


@_involution.register_fake
def _(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    _check_arguments(x, weight, stride)
    return _in_format_of(x, x.new_empty(*x.shape[:2], *weight.shape[4:]))


@torch.library.custom_op(f"{_NAMESPACE}::involution_backward", mutates_args=())
def _involution_backward(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    _, backward = _backend_for(x)
    grad_x, grad_weight = backward(grad, x, weight, stride)
    return _in_format_of(x, grad_x), _in_format_of(weight, grad_weight)


@_involution_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    return _in_format_of(x, x.new_empty(x.shape)), _in_format_of(weight, weight.new_empty(weight.shape))


def _written_out(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The operator in operations that ONNX and any process have: one vector-matrix product a pixel and group.

    Of the forms tried this is the fastest in onnxruntime. The D channels of a group lie side by side, so the gather
    copies whole rows of them. A neighbour off the map is row 0, of zeros.
    """
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return _autocast(_written_out, x, weight, stride)
    _check_arguments(x, weight, stride)
    if x.dtype.itemsize < 4:
        return _written_out(x.float(), weight.float(), stride).to(x.dtype)
    (groups, kernel_size), (height, width) = weight.shape[1:3], weight.shape[4:]
    pixels_BGPD = F.pad(x.unflatten(1, (groups, -1)).flatten(3).transpose(2, 3), [0, 0, 1, 0])
    rows_HW = torch.arange(1, x.shape[2] * x.shape[3] + 1, device=x.device).unflatten(0, x.shape[2:])
    rows_hwKK = F.pad(rows_HW, [kernel_size // 2] * 4).unfold(0, kernel_size, stride).unfold(1, kernel_size, stride)
    patches_BGpkD = pixels_BGPD.index_select(2, rows_hwKK.flatten()).unflatten(2, (height * width, kernel_size**2))
    kernels_BGp1k = weight.flatten(4).flatten(2, 3).transpose(2, 3).unsqueeze(3)
    out_BGpD = (kernels_BGp1k @ patches_BGpkD).squeeze(3)
    return out_BGpD.transpose(2, 3).flatten(1, 2).unflatten(2, (height, width))


def _save_inputs(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, weight, ctx.stride = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_involution_backward(grad, *ctx.saved_tensors, ctx.stride), None


_involution.register_autograd(_backward, setup_context=_save_inputs)


def _autocast(operator: Callable[..., Tensor], x: Tensor, weight: Tensor, stride: int) -> Tensor:
    dtype = torch.get_autocast_dtype(x.device.type)
    with torch.autocast(x.device.type, enabled=False):
        return operator(x.to(dtype), weight.to(dtype), stride)


# torch.library.register_autocast knows one fixed type only, not the one that autocast is entered with.
_LIBRARY = torch.library.Library(_NAMESPACE, "FRAGMENT")
for _key in ("AutocastCPU", "AutocastCUDA"):
    _LIBRARY.impl("involution", partial(_autocast, _involution), _key)


@register_flop_formula(getattr(torch.ops, _NAMESPACE).involution)
def _(x_shape: list[int], weight_shape: list[int], stride: int, *, out_shape: list[int], **kwargs: object) -> int:
    return 2 * weight_shape[2] ** 2 * math.prod(out_shape)


@register_flop_formula(getattr(torch.ops, _NAMESPACE).involution_backward)
def _(grad_shape: list[int], x_shape: list[int], weight_shape: list[int], stride: int, **kwargs: object) -> int:
    return 2 * 2 * weight_shape[2] ** 2 * math.prod(grad_shape)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU, by the names of the published tensors. Expects and returns NCHW."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels), relu=nn.ReLU()))


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
            given = f"channels {channels}, group_channels {group_channels}, reduction_ratio {reduction_ratio}"
            raise ValueError(
                f"Involution2d needs channels divisible by group_channels and by reduction_ratio, got {given}"
            )
        if kernel_size % 2 == 0:
            raise ValueError(f"Involution2d needs an odd kernel_size, got {kernel_size}")
        self.kernel_size, self.stride, self.groups = kernel_size, stride, channels // group_channels
        reduced = channels // reduction_ratio
        self.conv1 = conv_norm(channels, reduced, 1)
        self.conv2 = nn.Sequential(OrderedDict(conv=nn.Conv2d(reduced, self.groups * kernel_size**2, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, ceil(H / stride), ceil(W / stride)]."""
        pooled = x if self.stride == 1 else F.avg_pool2d(x, self.stride, ceil_mode=True)
        weight = self.conv2(self.conv1(pooled))  # [B, G * K * K, h, w]
        return involution(x, weight.unflatten(1, (self.groups, self.kernel_size, self.kernel_size)), self.stride)
