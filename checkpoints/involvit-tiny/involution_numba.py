"""Involution on the CPU by kernels that Numba compiles at first use. No compiler need be installed, nor need Numba be.

Sums stay in registers, where one pass a tap over the whole tensor reads and writes the result K * K times. Taps outside
the image are left out, so nothing is padded.

There are kernels for channels last tensors of any stride and for contiguous ones of stride 1; other tensors are brought
to channels last first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .involution_channels_last import forward as channels_last_forward
from .involution_channels_last import grad_weight as channels_last_grad_weight
from .involution_channels_last import grad_x as channels_last_grad_x
from .involution_contiguous import forward as contiguous_forward
from .involution_contiguous import grad_weight as contiguous_grad_weight
from .involution_contiguous import grad_x as contiguous_grad_x
from .numba_kernels import is_available

__all__ = ["backward", "forward", "is_available"]

CHANNELS_LAST = channels_last_forward, channels_last_grad_x, channels_last_grad_weight
CONTIGUOUS = contiguous_forward, contiguous_grad_x, contiguous_grad_weight


def forward(x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> Tensor:
    """Applies the operator to tensors on the CPU; see `involution`. The output may have either memory format."""
    (kernel, _, _), (x, weight) = _prepared(x_BCHW, weight_BGKKhw, stride)
    out = torch.empty_like(x[..., ::stride, ::stride])
    kernel(x, weight, out, sizes=_sizes(x, weight, stride))
    return out.to(x_BCHW.dtype)


def backward(grad_BChw: Tensor, x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and of weight for that of the output; see `forward`."""
    (_, kernel_of_x, kernel_of_weight), (x, weight, grad) = _prepared(x_BCHW, weight_BGKKhw, stride, grad_BChw)
    grad_x, grad_weight, sizes = torch.empty_like(x), torch.empty_like(weight), _sizes(x, weight, stride)
    kernel_of_x(grad, weight, grad_x, sizes=sizes)
    kernel_of_weight(grad, x, grad_weight, sizes=sizes)
    return grad_x.to(x_BCHW.dtype), grad_weight.to(x_BCHW.dtype)


def _prepared(x: Tensor, weight: Tensor, stride: int, *others: Tensor) -> tuple[tuple[Callable, ...], list[Tensor]]:
    """Chooses the kernels, and brings tensors to their memory format and to a type that they are compiled for."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    tensors = [tensor.detach().to(dtype) for tensor in (x, weight, *others)]
    if stride == 1 and weight.is_contiguous():
        return CONTIGUOUS, [tensor.contiguous() for tensor in tensors]
    return CHANNELS_LAST, [
        tensor.movedim((-2, -1), (1, 2)).contiguous().movedim((1, 2), (-2, -1)) for tensor in tensors
    ]


def _sizes(x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> tuple[int, ...]:
    """B, H, W, C, h, w, G, K and the stride."""
    (B, C, H, W), (G, K, _, h, w) = x_BCHW.shape, weight_BGKKhw.shape[1:]
    return B, H, W, C, h, w, G, K, stride
