"""The baseline on a GPU: plain CUDA kernels, a thread an output, float32, stride 1. Needs CuPy (cupy-cuda13x).

The way the reference implementation works: no tiles, nothing shared, each gradient a kernel of its own. Other types are
computed in float32, as it offers no others.
"""

from __future__ import annotations

import cupy
import torch
from torch import Tensor

_SOURCE = r"""
// x, out [B, C, H, W]; weight [B, G, K, K, H, W]; channel c is of group c / (C / G).
#define OUTSIDE(row, column) ((row) < 0 || (row) >= H || (column) < 0 || (column) >= W)

extern "C" __global__ void forward(const float* x, const float* weight, float* out,
                                   int C, int G, int H, int W, int K, long long total) {
    long long index = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (index >= total) return;
    int j = index % W, i = index / W % H, c = index / W / H % C;
    long long b = index / W / H / C, g = c / (C / G);
    float sum = 0;
    for (int u = 0; u < K; u++)
        for (int v = 0; v < K; v++) {
            int row = i + u - K / 2, column = j + v - K / 2;
            if (OUTSIDE(row, column)) continue;
            sum += weight[((((b * G + g) * K + u) * K + v) * H + i) * W + j] * x[((b * C + c) * H + row) * W + column];
        }
    out[index] = sum;
}

extern "C" __global__ void backward_x(const float* grad, const float* weight, float* grad_x,
                                      int C, int G, int H, int W, int K, long long total) {
    long long index = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (index >= total) return;
    int column = index % W, row = index / W % H, c = index / W / H % C;
    long long b = index / W / H / C, g = c / (C / G);
    float sum = 0;
    for (int u = 0; u < K; u++)
        for (int v = 0; v < K; v++) {
            int i = row - u + K / 2, j = column - v + K / 2;
            if (OUTSIDE(i, j)) continue;
            sum += weight[((((b * G + g) * K + u) * K + v) * H + i) * W + j] * grad[((b * C + c) * H + i) * W + j];
        }
    grad_x[index] = sum;
}

extern "C" __global__ void backward_weight(const float* grad, const float* x, float* grad_weight,
                                           int C, int G, int H, int W, int K, long long total) {
    long long index = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (index >= total) return;
    int j = index % W, i = index / W % H, v = index / W / H % K, u = index / W / H / K % K;
    long long g = index / W / H / K / K % G, b = index / W / H / K / K / G;
    int row = i + u - K / 2, column = j + v - K / 2, channels = C / G;
    float sum = 0;
    if (!OUTSIDE(row, column))
        for (int c = g * channels; c < (g + 1) * channels; c++)
            sum += grad[((b * C + c) * H + i) * W + j] * x[((b * C + c) * H + row) * W + column];
    grad_weight[index] = sum;
}
"""
_MODULE = cupy.RawModule(code=_SOURCE)
_THREADS = 256


def _launch(name: str, first: Tensor, second: Tensor, result: Tensor, sizes: tuple[int, ...]) -> Tensor:
    blocks = -(-result.numel() // _THREADS)
    arguments = (first.data_ptr(), second.data_ptr(), result.data_ptr(), *map(cupy.int32, sizes), result.numel())
    with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
        _MODULE.get_function(name)((blocks,), (_THREADS,), arguments)
    return result


class _Involution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.sizes = (x.shape[1], weight.shape[1], *x.shape[2:], weight.shape[2])
        x, weight = x.float().contiguous(), weight.float().contiguous()
        ctx.save_for_backward(x, weight)
        return _launch("forward", x, weight, torch.empty_like(x), ctx.sizes)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grad.float().contiguous()
        grad_x = _launch("backward_x", grad, weight, torch.empty_like(x), ctx.sizes)
        return grad_x, _launch("backward_weight", grad, x, torch.empty_like(weight), ctx.sizes)


def involution_by_cuda(x: Tensor, weight: Tensor) -> Tensor:
    """Equation 1 at stride 1 by the plain kernels; the result has the type of `x`."""
    return _Involution.apply(x, weight).to(x.dtype)
