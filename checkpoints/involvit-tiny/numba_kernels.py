"""How kernels that Numba compiles for the CPU are written in vector instructions, and run on torch's threads.

- Numba's vectoriser does not see what such kernels need (24 to 58 times slower, benchmarks/LOG.md), so their innermost
  loops are written in LLVM's vector instructions, the rest in Python
- torch's own threads share the rows, each taking the next few as it is ready: a second pool of threads would spin
  against the first, and fixed shares would wait for the thread that the system holds up
"""

# ruff: noqa: ANN001, ANN201, ANN202 (what Numba compiles gets its types from Numba)

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    import numba
    from llvmlite import binding, ir
    from numba.core import cgutils
    from numba.extending import intrinsic

    inlined = numba.njit
except ImportError:
    numba = cgutils = None

    def inlined(function: Callable) -> Callable:
        """Leaves a function as it is, which nothing calls then."""
        return function

    intrinsic = inlined

SHARES = 8  # a thread, of the rows: the last to finish holds up the others by an eighth of a share at most

# How torch starts its own threads, where it has GNU's OpenMP or one that stands in for it.
_GOMP_PARALLEL = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "GOMP_parallel", None)


def is_available() -> bool:
    """Returns whether Numba is installed and compiles (NUMBA_DISABLE_JIT has it interpret)."""
    return numba is not None and not numba.config.DISABLE_JIT


def register_bytes() -> int:
    """Returns how long the processor's vector registers are: 64 with AVX-512, 32 with AVX2, 16 with NEON or SSE."""
    features = numba.config.CPU_FEATURES  # set by those who compile for another processor
    features = (binding.get_host_cpu_features().flatten() if features is None else features).split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


REGISTER_BYTES = register_bytes() if numba else 64


def kernel(function: Callable) -> Callable[..., None]:
    """Makes a kernel what runs it, on as many threads as torch uses.

    What is decorated computes a job: `tensors(job)`, `sizes(job)`, and the `rows(job, ...)` that its thread gets. It is
    compiled at its first use for a type, and the code kept for the next process where there is a folder for it.

    Returns:
        A function of three tensors, dense and of one type, float32 or float64, and of nine sizes.
    """

    @cache
    def compiled(dtype: torch.dtype) -> Any:
        signature = numba.void(numba.types.CPointer(numba.float64 if dtype == torch.float64 else numba.float32))
        try:
            return numba.cfunc(signature, cache=True, error_model="numpy")(function)
        except (RuntimeError, ImportError):  # there is no folder, or its code is of a module that is gone
            return numba.cfunc(signature, error_model="numpy")(function)

    @wraps(function)
    def run(*tensors: Tensor, sizes: tuple[int, ...]) -> None:
        num_threads = torch.get_num_threads()
        job = np.array([0, SHARES * num_threads, *(tensor.data_ptr() for tensor in tensors), *sizes], dtype=np.int64)
        code, address = compiled(tensors[0].dtype).address, job.ctypes.data
        if _GOMP_PARALLEL is not None:
            _GOMP_PARALLEL(ctypes.c_void_p(code), ctypes.c_void_p(address), num_threads, 0)
        else:
            with ThreadPoolExecutor(num_threads) as threads:
                list(threads.map(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code), [address] * num_threads))

    return run


class Vectors:
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

    def at(self, start: ir.Value, *terms: tuple[ir.Value, ir.Value]) -> ir.Value:
        """start + the sum of number * step."""
        for number, step in terms:
            start = self.builder.add(start, self.builder.mul(number, step))
        return start

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


@intrinsic
def _numbers(typingctx, job):
    """The address of a job as that of numbers of 64 bits, which is what it is; see `run`."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return numba.types.CPointer(numba.int64)(job), codegen


@intrinsic
def _pointer(typingctx, job, address):
    """An address as that of numbers of the type that the job's kernel is compiled for."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[1], context.get_value_type(job))

    return job(job, address), codegen


@intrinsic
def _take(typingctx, numbers, count):
    """numbers[0], to which `count` is added before another thread reads it."""

    def codegen(context, builder, signature, arguments):
        return builder.atomic_rmw("add", *arguments, "monotonic")

    return numba.int64(numbers, numba.int64), codegen


@inlined
def rows(job, num_rows):
    """Yields the rows that are this thread's, as it becomes ready for them."""
    numbers = _numbers(job)
    num_at_once = max(1, num_rows // numbers[1])
    start = _take(numbers, num_at_once)
    while start < num_rows:
        for row in range(start, min(start + num_at_once, num_rows)):  # noqa: UP028 (Numba knows no `yield from`)
            yield row
        start = _take(numbers, num_at_once)


@inlined
def tensors(job):
    """The addresses of the three tensors of a job."""
    numbers = _numbers(job)
    return _pointer(job, numbers[2]), _pointer(job, numbers[3]), _pointer(job, numbers[4])


@inlined
def sizes(job):
    """The nine sizes of a job."""
    n = _numbers(job)
    return n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13]


@inlined
def lanes(job, num_bytes):
    """How many numbers of the type that the job's kernel is compiled for a vector holds."""
    return num_bytes // numba.carray(job, 1).itemsize


def instructions(num_bytes: int) -> Callable[[Callable], Any]:
    """Makes what is decorated a function of kernels on vectors of `num_bytes`.

    What it writes is there twice, for inside of the image and for its edge.
    """

    def typed_for(write: Callable) -> Any:
        def typed(typingctx, is_inside, out, a, b, places, counts):
            def codegen(context, builder, signature, arguments):
                pairs = zip(signature.args, arguments, strict=True)
                is_inside, *operands = (_unpack(context, builder, *pair) for pair in pairs)
                vectors = Vectors(context, builder, signature.args[1][0].dtype, num_bytes)
                with builder.if_else(is_inside) as branches:
                    for branch, at_edge in zip(branches, (False, True), strict=True):
                        with branch:
                            write(builder, vectors, at_edge, *operands)
                return context.get_dummy_value()

            return numba.types.void(is_inside, out, a, b, places, counts), codegen

        typed.__name__ = write.__name__
        return intrinsic(typed)

    return typed_for
