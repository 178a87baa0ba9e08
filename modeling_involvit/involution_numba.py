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

# ruff: noqa: ANN001, ANN002, ANN202 (the arguments of kernels get their types from Numba)

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    import numba
    from llvmlite import binding, ir
    from numba.core import cgutils
    from numba.extending import intrinsic
except ImportError:
    numba = None

# One for the process: a model from the Hub brings a copy of this module.
_ONE_AT_A_TIME = numba and vars(numba).setdefault("_involution_lock", threading.Lock())


def register_bytes() -> int:
    """Returns how long the processor's vector registers are: 64 with AVX-512, 32 with AVX2, 16 with NEON or SSE."""
    features = numba.config.CPU_FEATURES  # set by those who compile for another processor
    features = (binding.get_host_cpu_features().flatten() if features is None else features).split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


REGISTER_BYTES = register_bytes() if numba else 64
VECTOR_BYTES = 64  # of 16 channels; LLVM cuts such vectors up where registers are shorter
PIXELS = 8 * REGISTER_BYTES // VECTOR_BYTES  # of a row at once: eight sums keep the multipliers busy, more do not fit


def is_available() -> bool:
    """Returns whether Numba is installed and compiles (NUMBA_DISABLE_JIT has it interpret)."""
    return numba is not None and not numba.config.DISABLE_JIT


def forward(x_BCHW: Tensor, weight_BGKKhw: Tensor, stride: int) -> Tensor:
    """Applies the operator to tensors on the CPU; see `involution`. The output [B, C, h, w] is channels last."""
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
    # Numba's own layer, the default of its wheels for macOS, aborts the process when two threads call it at once.
    with _ONE_AT_A_TIME if numba.threading_layer() == "workqueue" else nullcontext():
        kernel(*(argument.numpy() if isinstance(argument, Tensor) else argument for argument in arguments))


def _compiled(function: Callable) -> Callable:
    """Compiles a kernel at its first call, and keeps the code for the next process where there is a folder for it."""
    if not is_available():
        return function
    kernel = numba.njit(parallel=True, nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError):  # no such folder
        kernel.enable_caching()
    return kernel


if numba is not None:

    class _Vectors:
        """Writes LLVM instructions on vectors of the element type of an array."""

        def __init__(self, context: Any, builder: ir.IRBuilder, dtype: Any, num_bytes: int) -> None:
            self.builder = builder
            self.lanes = num_bytes * 8 // dtype.bitwidth
            self.type = ir.VectorType(context.get_value_type(dtype), self.lanes)
            self.zero = self.type([0.0] * self.lanes)
            self.all_lanes = ir.VectorType(ir.IntType(1), self.lanes)([1] * self.lanes)
            self.alignment = ir.IntType(32)(dtype.bitwidth // 8)
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

        def load(self, data: ir.Value, index: ir.Value, mask: ir.Value) -> ir.Value:
            """data[index + l] in the lanes l of the mask, and 0 in the others."""
            pointer = self.builder.gep(data, [index])
            return self._call(f"llvm.masked.load.{self.name}.p0", self.type, pointer, self.alignment, mask, self.zero)

        def store(self, value: ir.Value, data: ir.Value, index: ir.Value, mask: ir.Value) -> None:
            """Writes data[index + l] in the lanes l of the mask."""
            pointer = self.builder.gep(data, [index])
            self._call(f"llvm.masked.store.{self.name}.p0", ir.VoidType(), value, pointer, self.alignment, mask)

        def add_product(self, total: ir.Value, a: ir.Value, b: ir.Value) -> None:
            """total += a * b, rounded once where the processor can, where `total` is a pointer."""
            product = self._call(f"llvm.fmuladd.{self.name}", self.type, a, b, self.builder.load(total))
            self.builder.store(product, total)

        def sums(self, vectors: list[ir.Value]) -> ir.Value:
            """The vector whose lane n is the sum over all lanes of the n-th of as many vectors as there are lanes."""
            even, odd = (list(range(start, 2 * self.lanes, 2)) for start in (0, 1))
            while len(vectors) > 1:
                vectors = [
                    self.builder.fadd(self._shuffle(a, b, even), self._shuffle(a, b, odd))
                    for a, b in zip(vectors[::2], vectors[1::2], strict=True)
                ]
            return vectors[0]

    def _unpack(context: Any, builder: ir.IRBuilder, kind: Any, value: ir.Value) -> Any:
        """Turns arrays into pointers to their data, and tuples into lists of their items."""
        if isinstance(kind, numba.types.Array):
            return context.make_array(kind)(context, builder, value).data
        if isinstance(kind, numba.types.BaseTuple):
            items = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
            return [_unpack(context, builder, *item) for item in items]
        return value

    def _instructions(num_bytes: int) -> Callable[[Callable], Any]:
        """Makes what is decorated a function of kernels on vectors of `num_bytes`.

        What it writes is there twice, for inside of the image and for its edge.
        """
        return lambda write: _typed(write, num_bytes)

    def _typed(write: Callable, num_bytes: int) -> Any:
        def typed(typingctx, is_inside, out, a, b, places, counts):
            def codegen(context, builder, signature, arguments):
                pairs = zip(signature.args, arguments, strict=True)
                is_inside, *operands = (_unpack(context, builder, *pair) for pair in pairs)
                vectors = _Vectors(context, builder, signature.args[1][0].dtype, num_bytes)
                with builder.if_else(is_inside) as branches:
                    for branch, at_edge in zip(branches, (False, True), strict=True):
                        with branch:
                            write(builder, vectors, at_edge, *operands)
                return context.get_dummy_value()

            return numba.types.void(is_inside, out, a, b, places, counts), codegen

        typed.__name__ = write.__name__
        return intrinsic(typed)

    @_instructions(VECTOR_BYTES)
    def _sum_taps(builder, vectors, at_edge, out, a, b, columns, counts):
        """Sums a * b over taps, for PIXELS neighbouring pixels n and all channels l of a vector.

        out[at + n * step + l] = sum over u, v of a[at + (u, v, n) . steps] * b[at + (u, v, n) . steps + l], where each
        of the three has its own `at` and steps. At the edge, terms are left out whose column first + (v, n) . steps is
        not in 0 .. width - 1, and nothing is written past the number of pixels or channels.
        """
        (out, out_at, out_step), (a, a_at, a_steps), (b, b_at, b_steps) = out, a, b
        (first, v_step, n_step, width), (num_u, num_v, num_pixels, num_channels) = columns, counts

        def at(start, *terms):
            for number, step in terms:
                start = builder.add(start, builder.mul(number, step))
            return start

        def mask_of(is_pixel):
            if not at_edge:
                return vectors.all_lanes
            return builder.and_(vectors.first_lanes(num_channels), vectors.splat(is_pixel))

        numbers = [width.type(n) for n in range(PIXELS)]
        sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in numbers]
        written = [builder.icmp_signed("<", n, num_pixels) for n in numbers]
        with cgutils.for_range(builder, num_u) as (u, _), cgutils.for_range(builder, num_v) as (v, _):
            a_index, b_index = at(a_at, (u, a_steps[0]), (v, a_steps[1])), at(b_at, (u, b_steps[0]), (v, b_steps[1]))
            for n, total, is_pixel in zip(numbers, sums, written, strict=True):
                if at_edge:
                    is_column = builder.icmp_unsigned("<", at(first, (v, v_step), (n, n_step)), width)
                    is_pixel = builder.and_(is_pixel, is_column)
                    scale = builder.load(builder.gep(a, [builder.select(is_pixel, a_index, width.type(0))]))
                    scale = builder.select(is_pixel, scale, scale.type(0.0))
                else:
                    scale = builder.load(builder.gep(a, [a_index]))
                vectors.add_product(total, vectors.splat(scale), vectors.load(b, b_index, mask_of(is_pixel)))
                a_index, b_index = builder.add(a_index, a_steps[2]), builder.add(b_index, b_steps[2])
        for n, total, is_pixel in zip(numbers, sums, written, strict=True):
            vectors.store(builder.load(total), out, at(out_at, (n, out_step)), mask_of(is_pixel))

    @_instructions(REGISTER_BYTES)  # it keeps a sum for each lane
    def _sum_channels(builder, vectors, at_edge, out, a, b, window, counts):
        """Sums a * b over the channels of a group, for as many taps t = first, first + 1 .. as a vector has lanes.

        out[at + t - first] = sum over d of a[at + d] * b[at + offset[t] + d], where each of the three has its own `at`.
        At the edge it is 0 where row top + u[t] or column left + v[t] is outside of the image, and nothing is written
        past the number of taps.
        """
        (out, out_at), (a, a_at), (b, b_at) = out, a, b
        (offset, u, v, first, top, left, height, width), (num_taps, num_channels) = window, counts

        def at(table, tap):
            return builder.load(builder.gep(table, [tap]))

        def is_seen(tap):
            row, column = builder.add(top, at(u, tap)), builder.add(left, at(v, tap))
            return builder.and_(builder.icmp_unsigned("<", row, height), builder.icmp_unsigned("<", column, width))

        sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in range(vectors.lanes)]
        taps = [builder.add(first, first.type(n)) for n in range(vectors.lanes)]
        indices = [builder.add(b_at, at(offset, tap)) for tap in taps]
        seen = [vectors.splat(is_seen(tap)) if at_edge else vectors.all_lanes for tap in taps]
        with cgutils.for_range_slice(builder, first.type(0), num_channels, first.type(vectors.lanes)) as (d, _):
            in_group = vectors.first_lanes(builder.sub(num_channels, d)) if at_edge else vectors.all_lanes
            a_lanes = vectors.load(a, builder.add(a_at, d), in_group)
            for total, index, mask in zip(sums, indices, seen, strict=True):
                b_lanes = vectors.load(b, builder.add(index, d), builder.and_(in_group, mask))
                vectors.add_product(total, a_lanes, b_lanes)
        result = vectors.sums([builder.load(total) for total in sums])
        vectors.store(result, out, out_at, vectors.first_lanes(num_taps) if at_edge else vectors.all_lanes)


@_compiled
def _forward_rows(x, weight, out, S):
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
                    _sum_taps(
                        is_inside,
                        (out, (row * w + j) * C + d, C),
                        (weight, weight_at, (K, 1, G * T)),
                        (x, ((b * H + top + u) * W + left) * C + d, (W * C, C, S * C)),
                        (left, 1, S, W),
                        (u_end - u, K, w - j, (g + 1) * D - d),
                    )


@_compiled
def _grad_x_rows(grad, weight, grad_x, S):
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
                        _sum_taps(
                            is_inside,
                            (grad_x, (row * W + phase + S * n) * C + d, S * C),
                            (weight, weight_at, (S * K - w * G * T, S - G * T, G * T)),
                            (grad, ((b * h + i) * w + j) * C + d, (-w * C, -C, C)),
                            (j, -1, 1, w),
                            (num_u, num_v, num_pixels - n, (g + 1) * D - d),
                        )


@_compiled
def _grad_weight_rows(grad, x, grad_weight, S):
    B, H, W, C = x.shape
    h, w, G, K, _ = grad_weight.shape[1:]
    T, D, padding, lanes = K * K, C // G, (K - 1) // 2, REGISTER_BYTES // x.itemsize
    tap = np.minimum(np.arange(T + lanes - 1), T - 1)  # the last vector may hold more than there are
    u, v = tap // K, tap % K
    offset = (u * W + v) * C
    for row in numba.prange(B * h):
        b, top = row // h, row % h * S - padding
        for pixel in range(row * w, (row + 1) * w):
            left = (pixel - row * w) * S - padding
            is_inside = D % lanes == 0 and top >= 0 and top + K <= H and left >= 0 and left + K <= W
            for g in range(G):
                for start in range(0, T, lanes):
                    first = min(start, max(0, T - lanes))  # the last vector again holds taps of the one before
                    _sum_channels(
                        is_inside and first + lanes <= T,
                        (grad_weight, (pixel * G + g) * T + first),
                        (grad, pixel * C + g * D),
                        (x, ((b * H + top) * W + left) * C + g * D),
                        (offset, u, v, first, top, left, H, W),
                        (T - first, D),
                    )
