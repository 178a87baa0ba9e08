"""Involution on the CPU: kernels that Numba compiles at first use. No compiler need be installed, nor need Numba be.

- channels last: a tap multiplies the neighbouring channels of a group, a vector, by one number of the kernel tensor,
  which is read from memory once and in order; so is x, and the result is written once
- sums stay in registers, where one pass a tap over the whole tensor reads and writes the result K * K times
- threads share the rows; taps outside the image are left out, so nothing is padded
- Numba's vectoriser does not see that (24 to 58 times slower, benchmarks/LOG.md), so the innermost loops are written in
  LLVM's vector instructions, the rest in Python

Tensors in another memory format are brought to channels last first.

Tensor names carry their axes as in involution.py; T is K * K.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    import numba
    from llvmlite import ir
    from numba.core import cgutils
    from numba.extending import intrinsic
except ImportError:
    numba = None

VECTOR_BYTES = 64  # of AVX-512; LLVM cuts such vectors up where the processor has shorter ones
PIXELS = 8  # of a row at once: as many sums as keep the multipliers busy


def is_available() -> bool:
    """Returns whether Numba is installed."""
    return numba is not None


def forward(x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> Tensor:
    """Applies the operator to tensors on the CPU; see `involution`.

    Args:
        x_BCHW: Input, of any floating point type; half precision is computed in float32.
        weight_BGKKhw: Kernels in the type of x.
        stride: Stride S.

    Returns:
        Channels-last tensor [B, C, h, w] in the type of x.
    """
    x_BHWC, weight_BhwGKK = _channels_last(x_BCHW), _channels_last(weight_BGKKhw)
    out_BhwC = x_BHWC.new_empty(*weight_BhwGKK.shape[:3], x_BHWC.shape[3])
    _run(_forward_rows, x_BHWC, weight_BhwGKK, out_BhwC, stride)
    return out_BhwC.to(x_BCHW.dtype).permute(0, 3, 1, 2)


def backward(grad_BChw: Tensor, x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and of weight, channels last, for that of the output; see `forward`."""
    x_BHWC, weight_BhwGKK, grad_BhwC = map(_channels_last, (x_BCHW, weight_BGKKhw, grad_BChw))
    grad_x_BHWC, grad_weight_BhwGKK = torch.empty_like(x_BHWC), torch.empty_like(weight_BhwGKK)
    _run(_grad_x_rows, grad_BhwC, weight_BhwGKK, grad_x_BHWC, stride)
    _run(_grad_weight_rows, grad_BhwC, x_BHWC, grad_weight_BhwGKK, stride)
    grad_x, grad_weight = grad_x_BHWC.to(x_BCHW.dtype), grad_weight_BhwGKK.to(x_BCHW.dtype)
    return grad_x.permute(0, 3, 1, 2), grad_weight.permute(0, 3, 4, 5, 1, 2)


def _channels_last(tensor: Tensor) -> Tensor:
    """[B, ..., H, W] -> [B, H, W, ...], contiguous, of a type that the kernels are compiled for."""
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return tensor.detach().movedim((-2, -1), (1, 2)).to(dtype).contiguous()


def _run(kernel: Callable, *arguments: Tensor | int) -> None:
    """Runs a kernel on as many threads as torch uses."""
    num_threads = torch.get_num_threads()
    numba.set_num_threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))
    if torch.get_num_threads() != num_threads:  # both use OpenMP, whose number Numba sets when it starts its threads
        torch.set_num_threads(num_threads)
    kernel(*(argument.numpy() if isinstance(argument, Tensor) else argument for argument in arguments))


def _compiled(function: Callable) -> Callable:
    """Compiles a kernel at its first call, and keeps the code for the next process where there is a folder for it."""
    if numba is None:
        return function
    options = {"parallel": True, "nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no such folder
        return numba.njit(**options)(function)


if numba is not None:

    class _Vectors:
        """Writes LLVM instructions on vectors of the element type of an array."""

        def __init__(self, context: Any, builder: ir.IRBuilder, dtype: Any) -> None:
            self.builder = builder
            self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
            self.element = context.get_value_type(dtype)
            self.type = ir.VectorType(self.element, self.lanes)
            self.mask = ir.VectorType(ir.IntType(1), self.lanes)
            self.zero = ir.Constant(self.type, [0.0] * self.lanes)
            self.alignment = ir.Constant(ir.IntType(32), dtype.bitwidth // 8)
            self.name = f"v{self.lanes}f{dtype.bitwidth}"

        def _call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
            function = ir.FunctionType(result, [argument.type for argument in arguments])
            return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function, name), arguments)

        def _shuffle(self, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
            return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

        def splat(self, value: ir.Value) -> ir.Value:
            """The vector of one number, or the mask of one bit, in all lanes."""
            empty = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
            first = self.builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
            return self._shuffle(first, first, [0] * self.lanes)

        def first_lanes(self, count: ir.Value) -> ir.Value:
            """The mask of the lanes below `count`."""
            numbers = ir.Constant(ir.VectorType(count.type, self.lanes), list(range(self.lanes)))
            return self.builder.icmp_signed("<", numbers, self.splat(count))

        def load(self, data: ir.Value, index: ir.Value, mask: ir.Value | None) -> ir.Value:
            """data[index + l] in all lanes, or in those of the mask and 0 in the others."""
            pointer = self.builder.gep(data, [index])
            if mask is None:
                value = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
                value.align = self.alignment.constant
                return value
            return self._call(f"llvm.masked.load.{self.name}.p0", self.type, pointer, self.alignment, mask, self.zero)

        def store(self, value: ir.Value, data: ir.Value, index: ir.Value, mask: ir.Value | None) -> None:
            """Writes data[index + l] in all lanes, or in those of the mask."""
            pointer = self.builder.gep(data, [index])
            if mask is None:
                store = self.builder.store(value, self.builder.bitcast(pointer, self.type.as_pointer()))
                store.align = self.alignment.constant
                return
            self._call(f"llvm.masked.store.{self.name}.p0", ir.VoidType(), value, pointer, self.alignment, mask)

        def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
            """a * b + c, rounded once."""
            return self._call(f"llvm.fma.{self.name}", self.type, a, b, c)

        def sums(self, vectors: list[ir.Value]) -> ir.Value:
            """The vector whose lane n is the sum over all lanes of the n-th of as many vectors as there are lanes."""
            even, odd = (list(range(start, 2 * self.lanes, 2)) for start in (0, 1))
            while len(vectors) > 1:
                vectors = [
                    self.builder.fadd(self._shuffle(a, b, even), self._shuffle(a, b, odd))
                    for a, b in zip(vectors[::2], vectors[1::2], strict=True)
                ]
            return vectors[0]

    def _unpack(context: Any, builder: ir.IRBuilder, signature: Any, arguments: tuple) -> list[ir.Value]:
        """Turns arrays into pointers to their data, and tuples into their items."""
        values = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if isinstance(kind, numba.types.Array):
                value = context.make_array(kind)(context, builder, value).data
            elif isinstance(kind, numba.types.BaseTuple):
                value = cgutils.unpack_tuple(builder, value)
            values.append(value)
        return values

    def _sum_taps_of(is_at_edge: bool) -> Any:
        @intrinsic
        def sum_taps(typingctx, out, out_at, out_step, a, a_at, a_steps, b, b_at, b_steps, column, width, taps, lanes):  # noqa: ANN001, ANN202
            """Sums a * b over taps, for PIXELS neighbouring pixels n and all channels l of a vector.

            out[out_at + n * out_step + l] = sum over u < taps[0], v < taps[1] of
            a[a_at + (u, v, n) . a_steps] * b[b_at + (u, v, n) . b_steps + l]. At an edge, those terms are left out
            whose column[0] + (v, n) . column[1:3] is not in 0 .. width - 1, pixels are not written from n = column[3]
            on, and channels not from l = lanes on.
            """

            def codegen(context, builder, signature, arguments):  # noqa: ANN001, ANN202
                out, out_at, out_step, a, a_at, a_steps, b, b_at, b_steps, column, width, taps, lanes = _unpack(
                    context, builder, signature, arguments
                )
                vectors = _Vectors(context, builder, signature.args[0].dtype)
                zero, one = (ir.Constant(width.type, value) for value in (0, 1))
                numbers = [ir.Constant(width.type, n) for n in range(PIXELS)]
                in_group = vectors.first_lanes(lanes) if is_at_edge else None

                def at(start: ir.Value, *terms: tuple[ir.Value, ir.Value]) -> ir.Value:
                    for number, step in terms:
                        start = builder.add(start, builder.mul(number, step))
                    return start

                sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in numbers]
                for total in sums:
                    builder.store(vectors.zero, total)
                with (
                    cgutils.for_range_slice(builder, zero, taps[0], one) as (u, _),
                    cgutils.for_range_slice(builder, zero, taps[1], one) as (v, _),
                ):
                    a_uv, b_uv = at(a_at, (u, a_steps[0]), (v, a_steps[1])), at(b_at, (u, b_steps[0]), (v, b_steps[1]))
                    for n, total in zip(numbers, sums, strict=True):
                        a_index, b_index, mask = a_uv, b_uv, in_group
                        a_uv, b_uv = builder.add(a_uv, a_steps[2]), builder.add(b_uv, b_steps[2])
                        if is_at_edge:
                            inside = builder.icmp_unsigned("<", at(column[0], (v, column[1]), (n, column[2])), width)
                            inside = builder.and_(inside, builder.icmp_signed("<", n, column[3]))
                            a_index = builder.select(inside, a_index, zero)
                            mask = builder.and_(mask, vectors.splat(inside))
                        scale = builder.load(builder.gep(a, [a_index]))
                        if is_at_edge:
                            scale = builder.select(inside, scale, ir.Constant(vectors.element, 0.0))
                        b_lanes = vectors.load(b, b_index, mask)
                        builder.store(vectors.multiply_add(vectors.splat(scale), b_lanes, builder.load(total)), total)
                for n, total in zip(numbers, sums, strict=True):
                    mask = in_group
                    if is_at_edge:
                        mask = builder.and_(mask, vectors.splat(builder.icmp_signed("<", n, column[3])))
                    vectors.store(builder.load(total), out, at(out_at, (n, out_step)), mask)
                return context.get_dummy_value()

            kinds = (out, out_at, out_step, a, a_at, a_steps, b, b_at, b_steps, column, width, taps, lanes)
            return numba.types.void(*kinds), codegen

        return sum_taps

    _sum_taps, _sum_taps_at_edge = _sum_taps_of(False), _sum_taps_of(True)

    def _sum_channels_of(is_at_edge: bool) -> Any:
        @intrinsic
        def sum_channels(typingctx, out, out_at, room, a, a_at, b, b_at, u, v, offset, first, corner, size, channels):  # noqa: ANN001, ANN202
            """Sums a * b over the channels of a group, for as many taps t = first, first + 1 .. as a vector has lanes.

            out[out_at + t - first] = sum over d < channels of a[a_at + d] * b[b_at + offset[t] + d]. At an edge it is 0
            where row corner[0] + u[t] or column corner[1] + v[t] is outside the image of that size, and only the first
            `room` are written.
            """

            def codegen(context, builder, signature, arguments):  # noqa: ANN001, ANN202
                out, out_at, room, a, a_at, b, b_at, u, v, offset, first, corner, size, channels = _unpack(
                    context, builder, signature, arguments
                )
                vectors = _Vectors(context, builder, signature.args[0].dtype)
                zero, lanes = (ir.Constant(room.type, value) for value in (0, vectors.lanes))
                sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in range(vectors.lanes)]
                indices, masks = [], []
                for n, total in enumerate(sums):
                    builder.store(vectors.zero, total)
                    tap = builder.add(first, ir.Constant(room.type, n))
                    indices.append(builder.add(b_at, builder.load(builder.gep(offset, [tap]))))
                    if is_at_edge:
                        inside = [
                            builder.icmp_unsigned(
                                "<", builder.add(start, builder.load(builder.gep(number, [tap]))), length
                            )
                            for start, number, length in zip(corner, (u, v), size, strict=True)
                        ]
                        masks.append(vectors.splat(builder.and_(*inside)))
                with cgutils.for_range_slice(builder, zero, channels, lanes) as (d, _):
                    in_group = vectors.first_lanes(builder.sub(channels, d)) if is_at_edge else None
                    a_lanes = vectors.load(a, builder.add(a_at, d), in_group)
                    for n, total in enumerate(sums):
                        mask = builder.and_(in_group, masks[n]) if is_at_edge else in_group
                        b_lanes = vectors.load(b, builder.add(indices[n], d), mask)
                        builder.store(vectors.multiply_add(a_lanes, b_lanes, builder.load(total)), total)
                result = vectors.sums([builder.load(total) for total in sums])
                vectors.store(result, out, out_at, vectors.first_lanes(room) if is_at_edge else None)
                return context.get_dummy_value()

            kinds = (out, out_at, room, a, a_at, b, b_at, u, v, offset, first, corner, size, channels)
            return numba.types.void(*kinds), codegen

        return sum_channels

    _sum_channels, _sum_channels_at_edge = _sum_channels_of(False), _sum_channels_of(True)


@_compiled
def _forward_rows(x, weight, out, S):  # noqa: ANN001, ANN202
    B, H, W, C = x.shape
    h, w, G, K, _ = weight.shape[1:]
    T, D, padding, lanes = K * K, C // G, (K - 1) // 2, VECTOR_BYTES // x.itemsize
    for row in numba.prange(B * h):
        b, i = row // h, row % h
        top = i * S - padding
        u, u_end = max(0, -top), min(K, H - top)
        for j in range(0, w, PIXELS):
            left = j * S - padding
            is_inside = D % lanes == 0 and j + PIXELS <= w and left >= 0 and left + (PIXELS - 1) * S + K <= W
            for g in range(G):
                weight_at = ((row * w + j) * G + g) * T + u * K
                for d in range(g * D, (g + 1) * D, lanes):
                    tile = (
                        *(out, (row * w + j) * C + d, C, weight, weight_at, (K, 1, G * T)),
                        *(x, ((b * H + top + u) * W + left) * C + d, (W * C, C, S * C)),
                        *((left, 1, S, w - j), W, (u_end - u, K), (g + 1) * D - d),
                    )
                    if is_inside:
                        _sum_taps(*tile)
                    else:
                        _sum_taps_at_edge(*tile)


@_compiled
def _grad_x_rows(grad, weight, grad_x, S):  # noqa: ANN001, ANN202
    # Pixel y, x is under tap u, v of output pixel (y + padding - u) / S, (x + padding - v) / S where S divides both:
    # pixels of the same phase x mod S are under the same taps, so they are taken together.
    B, H, W, C = grad_x.shape
    h, w, G, K, _ = weight.shape[1:]
    T, D, padding, lanes = K * K, C // G, (K - 1) // 2, VECTOR_BYTES // grad.itemsize
    for row in numba.prange(B * H):
        b, y = row // H, row % H
        i, u = (y + padding) // S, (y + padding) % S
        skipped = max(0, i - h + 1)
        i, u = i - skipped, u + S * skipped
        num_u = max(0, min(i, (K - 1 - u) // S) + 1)
        for phase in range(S):
            v = (phase + padding) % S
            num_v, num_pixels = max(0, (K - 1 - v) // S + 1), (W - phase + S - 1) // S
            for n in range(0, num_pixels, PIXELS):
                j = (phase + padding) // S + n
                is_inside = D % lanes == 0 and n + PIXELS <= num_pixels and j - num_v + 1 >= 0 and j + PIXELS <= w
                for g in range(G):
                    weight_at = (((b * h + i) * w + j) * G + g) * T + u * K + v
                    for d in range(g * D, (g + 1) * D, lanes):
                        tile = (
                            *(grad_x, (row * W + phase + S * n) * C + d, S * C),
                            *(weight, weight_at, (S * K - w * G * T, S - G * T, G * T)),
                            *(grad, ((b * h + i) * w + j) * C + d, (-w * C, -C, C)),
                            *((j, -1, 1, num_pixels - n), w, (num_u, num_v), (g + 1) * D - d),
                        )
                        if is_inside:
                            _sum_taps(*tile)
                        else:
                            _sum_taps_at_edge(*tile)


@_compiled
def _grad_weight_rows(grad, x, grad_weight, S):  # noqa: ANN001, ANN202
    B, H, W, C = x.shape
    h, w, G, K, _ = grad_weight.shape[1:]
    T, D, padding, lanes = K * K, C // G, (K - 1) // 2, VECTOR_BYTES // x.itemsize
    tap = np.minimum(np.arange(T + lanes - 1), T - 1)  # the last vector may hold more than there are
    u, v = tap // K, tap % K
    offset = (u * W + v) * C
    for row in numba.prange(B * h):
        b, top = row // h, row % h * S - padding
        for pixel in range(row * w, (row + 1) * w):
            left = (pixel - row * w) * S - padding
            is_inside = D % lanes == 0 and top >= 0 and top + K <= H and left >= 0 and left + K <= W
            for g in range(G):
                for first in range(0, T, lanes):
                    taps = (
                        *(grad_weight, (pixel * G + g) * T + first, T - first, grad, pixel * C + g * D),
                        *(x, ((b * H + top) * W + left) * C + g * D, u, v, offset, first, (top, left), (H, W), D),
                    )
                    if is_inside and first + lanes <= T:
                        _sum_channels(*taps)
                    else:
                        _sum_channels_at_edge(*taps)
