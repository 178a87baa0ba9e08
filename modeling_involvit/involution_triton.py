"""Involution on a GPU: Triton kernels for the forward pass and for both gradients.

- a program handles a tile of pixels of one group with all its channels; sums stay in registers
- the kernel tensor is read (or its gradient written) once; the values of the input that taps and neighbouring tiles
  share come from the caches
- no atomics: each value is the sum of one program, in a fixed order
- tensors of any strides (contiguous, channels_last), type and size; half precision is accumulated in float32

Triton is optional: `is_available` says whether it is installed. With TRITON_INTERPRET=1 the same kernels run on the
CPU, slowly, to be tested there.

Tensor names carry their axes as in involution.py, and N = G * K * K. In a kernel P is a tile of output pixels, D of a
group's channels and T of kernel positions ("taps").
"""

# ruff: noqa: ANN001, ANN202 (the arguments of a kernel get their types from Triton)

from __future__ import annotations

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

MAX_CHANNELS = 32  # of a group, held in registers at once
MAX_TAPS = 4  # loaded at once where they are neighbours in memory


def is_available() -> bool:
    """Returns whether Triton is installed."""
    return triton is not None


def forward(x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> Tensor:
    """Applies the operator to tensors on a GPU; see `involution`. The output has the memory format of x."""
    weight_BNhw = weight_BGKKhw.flatten(1, 3)
    out_BChw = _empty_like(x_BCHW, *x_BCHW.shape[:2], *weight_BNhw.shape[2:])
    _launch(_forward_kernel, x_BCHW, weight_BNhw, out_BChw, weight_BGKKhw.shape[2], stride)
    return out_BChw


def backward(grad_BChw: Tensor, x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and weight for that of the output, in their memory formats; see `involution`."""
    weight_BNhw = weight_BGKKhw.flatten(1, 3)
    grad_x_BCHW = _empty_like(x_BCHW, *x_BCHW.shape)
    grad_weight_BNhw = _empty_like(weight_BNhw, *weight_BNhw.shape)
    kernel_size = weight_BGKKhw.shape[2]
    _launch(_grad_x_kernel, grad_x_BCHW, weight_BNhw, grad_BChw, kernel_size, stride, parts=stride**2)
    _launch(_grad_weight_kernel, x_BCHW, grad_weight_BNhw, grad_BChw, kernel_size, stride)
    return grad_x_BCHW, grad_weight_BNhw.unflatten(1, weight_BGKKhw.shape[1:4])


def _empty_like(like_BChw: Tensor, *shape: int) -> Tensor:
    channels_last = like_BChw.is_contiguous(memory_format=torch.channels_last) and not like_BChw.is_contiguous()
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like_BChw.dtype, device=like_BChw.device, memory_format=memory_format)


def _launch(
    kernel: object, x_BCHW: Tensor, weight_BNhw: Tensor, out_BChw: Tensor, kernel_size: int, stride: int, parts: int = 1
) -> None:
    """Runs a kernel on the operator's three tensors, or on their gradients in the same places."""
    if x_BCHW.numel() == 0:
        return
    batch, channels, in_height, in_width = x_BCHW.shape
    height, width = out_BChw.shape[2:]
    groups = weight_BNhw.shape[1] // kernel_size**2
    # One stride addresses the pixels. This copies where it cannot: not what is contiguous, channels_last or expanded.
    tensors = [t.flatten(2) for t in (x_BCHW, weight_BNhw, out_BChw)]
    channels_last = [t.stride(1) == 1 for t in tensors]
    # For the tuner alone: it measures again where the layout changes or an image has twice the pixels. The batch is
    # left out: the smaller last one of an epoch would else be tuned for in mid-run.
    layout = sum(last << bit for bit, last in enumerate(channels_last))
    case = layout + 8 * (groups * height * width).bit_length()
    # Kernel values that are neighbours in memory because they belong to one pixel are loaded together.
    together = channels_last[1] and kernel is not _grad_x_kernel
    taps = min(triton.next_power_of_2(kernel_size), MAX_TAPS) if together else 1

    def grid(config: dict[str, int]) -> tuple[int]:
        return (batch * groups * triton.cdiv(height * width, config["TILE"] // taps) * parts,)

    with torch.cuda.device_of(x_BCHW):
        kernel[grid](
            *(*tensors, *(step for t in tensors for step in t.stride())),
            *(groups, in_height, in_width, height, width, case),
            K=kernel_size,
            STRIDE=stride,
            D=channels // groups,
            CHANNELS=min(triton.next_power_of_2(channels // groups), MAX_CHANNELS),
            TAPS=taps,
            enable_fp_fusion=True,  # Triton warns where it is left open
        )


if triton is not None:
    # A pixel a thread, or two threads a pixel. Where pixels are neighbours in memory, a thread of the former has all
    # channels of its pixel: it loads a kernel value once, and sums over channels without exchange.
    _CONFIGS = [
        triton.Config({"TILE": tile}, num_warps=num_warps)
        for tile, num_warps in ((64, 2), (128, 4), (256, 8), (512, 16), (64, 4), (128, 8))
    ]

    def _tuned(kernel: object) -> object:
        # The interpreter has no device to measure on. What was measured is kept on disk, so that the next process takes
        # the same tiles, with which its sums have the same order. Another machine may choose others.
        configs = _CONFIGS[:1] if triton.knobs.runtime.interpret else _CONFIGS
        kernel = triton.jit(kernel, do_not_specialize=["groups", "in_height", "in_width", "height", "width", "case"])
        return triton.autotune(configs, key=["case", "K", "STRIDE", "D", "TAPS"], cache_results=True)(kernel)

    @triton.jit
    def _locate(groups, height, width, PIXELS: tl.constexpr, PARTS: tl.constexpr):
        """Returns batch, group, pixels, their rows and columns, and which of the tile's PARTS this program does."""
        program = tl.program_id(0)
        num_tiles = tl.cdiv(height * width, PIXELS)
        # Programs that run at the same time have neighbouring tiles: the rows they share stay in the cache.
        tile = program // PARTS % num_tiles
        plane = program // PARTS // num_tiles
        # Not to be known as neighbours, in half precision neither: the windows start anywhere, so their values, sixteen
        # times as many as the kernels', are loaded one by one in any case, and what was loaded wide beside them would
        # have to be dealt out again through shared memory.
        p_P = tl.max_contiguous(tile * PIXELS + tl.arange(0, PIXELS), 1)
        # In 64 bits, for offsets into a large tensor.
        batch, group = (plane // groups).to(tl.int64), (plane % groups).to(tl.int64)
        return batch, group, p_P.to(tl.int64), p_P // width, p_P % width, program % PARTS

    @triton.jit
    def _at(pointer, batch, channel, pixel, batch_stride, channel_stride, pixel_stride):
        return pointer + batch * batch_stride + channel * channel_stride + pixel * pixel_stride

    @triton.jit
    def _load_taps(row_DP, in_rows_P, in_group_D, left_P, v_T, in_width, x_pixel):
        """Returns x_TDP: what the tile's pixels see at positions v of a row of their windows, zero past the edges."""
        column_TDP = left_P[None, None, :] + v_T[:, None, None]
        in_columns_TDP = (column_TDP >= 0) & (column_TDP < in_width)
        mask_TDP = in_rows_P[None, None, :] & in_columns_TDP & in_group_D[None, :, None]
        return tl.load(row_DP[None, :, :] + (v_T * x_pixel)[:, None, None], mask=mask_TDP, other=0)

    @_tuned
    def _forward_kernel(
        x_ptr, weight_ptr, out_ptr,
        x_batch, x_channel, x_pixel, weight_batch, weight_tap, weight_pixel, out_batch, out_channel, out_pixel,
        groups, in_height, in_width, height, width, case,
        K: tl.constexpr, STRIDE: tl.constexpr, D: tl.constexpr,
        CHANNELS: tl.constexpr, TAPS: tl.constexpr, TILE: tl.constexpr,
    ):  # fmt: skip
        batch, group, p_P, i_P, j_P, _ = _locate(groups, height, width, TILE // TAPS, 1)
        top_P, left_P = i_P * STRIDE - K // 2, j_P * STRIDE - K // 2
        in_tile_P = p_P < height * width
        corner_P = top_P.to(tl.int64) * in_width + left_P
        row_step = tl.cast(in_width, tl.int64) * x_pixel
        sum_type: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
        for first in range(0, D, CHANNELS):
            d_D = first + tl.arange(0, CHANNELS)
            in_group_D = (D % CHANNELS == 0) | (d_D < D)
            c_D = group * D + d_D
            corner_DP = _at(x_ptr, batch, c_D[:, None], corner_P[None, :], x_batch, x_channel, x_pixel)
            sum_TDP = tl.zeros((TAPS, CHANNELS, TILE // TAPS), sum_type)
            for u in range(K):
                in_rows_P = in_tile_P & (top_P + u >= 0) & (top_P + u < in_height)
                for v in tl.static_range(0, K, TAPS):
                    v_T = v + tl.arange(0, TAPS)
                    n_T = group * (K * K) + u * K + v_T
                    in_window_TP = ((K % TAPS == 0) | (v_T < K))[:, None] & in_tile_P[None, :]
                    at_TP = _at(weight_ptr, batch, n_T[:, None], p_P[None, :], weight_batch, weight_tap, weight_pixel)
                    weight_TP = tl.load(at_TP, mask=in_window_TP, other=0)
                    x_TDP = _load_taps(corner_DP + u * row_step, in_rows_P, in_group_D, left_P, v_T, in_width, x_pixel)
                    sum_TDP += weight_TP.to(sum_type)[:, None, :] * x_TDP.to(sum_type)
            out_DP = _at(out_ptr, batch, c_D[:, None], p_P[None, :], out_batch, out_channel, out_pixel)
            tl.store(out_DP, tl.sum(sum_TDP, axis=0), mask=in_group_D[:, None] & in_tile_P[None, :])

    @_tuned
    def _grad_x_kernel(
        x_ptr, weight_ptr, out_ptr,
        x_batch, x_channel, x_pixel, weight_batch, weight_tap, weight_pixel, out_batch, out_channel, out_pixel,
        groups, in_height, in_width, height, width, case,
        K: tl.constexpr, STRIDE: tl.constexpr, D: tl.constexpr,
        CHANNELS: tl.constexpr, TAPS: tl.constexpr, TILE: tl.constexpr,
    ):  # fmt: skip
        # A stride splits the input into STRIDE * STRIDE grids of the output's size, each seen by positions of its own:
        # input row STRIDE * i + row lies under position u = first_u + STRIDE * a of the window of output row
        # i + first_i - a, for a = 0, 1, ...
        batch, group, p_P, i_P, j_P, part = _locate(groups, height, width, TILE, STRIDE * STRIDE)
        row, column = part // STRIDE, part % STRIDE
        first_u, first_v = (row + K // 2) % STRIDE, (column + K // 2) % STRIDE
        first_i_P, first_j_P = i_P + (row + K // 2) // STRIDE, j_P + (column + K // 2) // STRIDE
        first_P = first_i_P.to(tl.int64) * width + first_j_P
        y_P, x_P = i_P * STRIDE + row, j_P * STRIDE + column
        in_tile_P = (y_P < in_height) & (x_P < in_width) & (p_P < height * width)
        sum_type: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
        for first in range(0, D, CHANNELS):
            d_D = first + tl.arange(0, CHANNELS)
            in_group_D = (D % CHANNELS == 0) | (d_D < D)
            c_D = group * D + d_D
            sum_DP = tl.zeros((CHANNELS, TILE), sum_type)
            for a in range(tl.cdiv(K - first_u, STRIDE)):
                u = first_u + STRIDE * a
                in_rows_P = in_tile_P & (first_i_P >= a) & (first_i_P - a < height)
                row_P = first_P - a * width
                grad_DP = _at(out_ptr, batch, c_D[:, None], row_P[None, :], out_batch, out_channel, out_pixel)
                for b in tl.static_range((K + STRIDE - 1) // STRIDE):
                    v = first_v + STRIDE * b
                    # No column where v is past the window. (The interpreter takes no single truth value in a mask.)
                    mask_P = in_rows_P & (first_j_P >= b) & (first_j_P - b < tl.where(v < K, width, 0))
                    n = group * (K * K) + u * K + v
                    at_P = _at(weight_ptr, batch, n, row_P - b, weight_batch, weight_tap, weight_pixel)
                    weight_P = tl.load(at_P, mask=mask_P, other=0)
                    mask_DP = in_group_D[:, None] & mask_P[None, :]
                    shifted_DP = tl.load(grad_DP - b * out_pixel, mask=mask_DP, other=0)
                    sum_DP += weight_P.to(sum_type)[None, :] * shifted_DP.to(sum_type)
            pixel_P = y_P.to(tl.int64) * in_width + x_P
            grad_x_DP = _at(x_ptr, batch, c_D[:, None], pixel_P[None, :], x_batch, x_channel, x_pixel)
            tl.store(grad_x_DP, sum_DP, mask=in_group_D[:, None] & in_tile_P[None, :])

    @_tuned
    def _grad_weight_kernel(
        x_ptr, weight_ptr, out_ptr,
        x_batch, x_channel, x_pixel, weight_batch, weight_tap, weight_pixel, out_batch, out_channel, out_pixel,
        groups, in_height, in_width, height, width, case,
        K: tl.constexpr, STRIDE: tl.constexpr, D: tl.constexpr,
        CHANNELS: tl.constexpr, TAPS: tl.constexpr, TILE: tl.constexpr,
    ):  # fmt: skip
        batch, group, p_P, i_P, j_P, _ = _locate(groups, height, width, TILE // TAPS, 1)
        top_P, left_P = i_P * STRIDE - K // 2, j_P * STRIDE - K // 2
        in_tile_P = p_P < height * width
        corner_P = top_P.to(tl.int64) * in_width + left_P
        row_step = tl.cast(in_width, tl.int64) * x_pixel
        sum_type: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
        if D <= CHANNELS:  # the gradient stays in registers
            d_D = tl.arange(0, CHANNELS)
            grad_DP = _at(out_ptr, batch, (group * D + d_D)[:, None], p_P[None, :], out_batch, out_channel, out_pixel)
            grad_DP = tl.load(grad_DP, mask=(d_D < D)[:, None] & in_tile_P[None, :], other=0)
        for u in range(K):
            in_rows_P = in_tile_P & (top_P + u >= 0) & (top_P + u < in_height)
            for v in tl.static_range(0, K, TAPS):
                v_T = v + tl.arange(0, TAPS)
                sum_TP = tl.zeros((TAPS, TILE // TAPS), sum_type)
                for first in range(0, D, CHANNELS):
                    d_D = first + tl.arange(0, CHANNELS)
                    in_group_D = (D % CHANNELS == 0) | (d_D < D)
                    c_D = group * D + d_D
                    if D > CHANNELS:
                        grad_DP = _at(out_ptr, batch, c_D[:, None], p_P[None, :], out_batch, out_channel, out_pixel)
                        grad_DP = tl.load(grad_DP, mask=in_group_D[:, None] & in_tile_P[None, :], other=0)
                    corner_DP = _at(x_ptr, batch, c_D[:, None], corner_P[None, :], x_batch, x_channel, x_pixel)
                    x_TDP = _load_taps(corner_DP + u * row_step, in_rows_P, in_group_D, left_P, v_T, in_width, x_pixel)
                    sum_TP += tl.sum(grad_DP.to(sum_type)[None, :, :] * x_TDP.to(sum_type), axis=1)
                n_T = group * (K * K) + u * K + v_T
                at_TP = _at(weight_ptr, batch, n_T[:, None], p_P[None, :], weight_batch, weight_tap, weight_pixel)
                tl.store(at_TP, sum_TP, mask=((K % TAPS == 0) | (v_T < K))[:, None] & in_tile_P[None, :])
