"""Weights stored in int8, with one scale a channel, and computed with in float32.

The file has about a quarter of its size, and the answers hardly change. Unlike 8-bit arithmetic, which rounds each
activation, it gives the same answers wherever it runs: in 8 bits, sums in another order moved probabilities by 0.02
between onnxruntime and its build for browsers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

FEWEST = 1024  # smaller weights are not worth their two operators


def store_weights_in_int8(model: ModelProto) -> None:
    """Replaces the float32 weights of convolutions and matrix products by int8, cast and scaled back when loaded.

    onnxruntime folds cast and scale into float32 weights once, when it opens the file.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    axes = {}  # name of a weight -> the axis of its output channels
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            is_transposed = any(one.name == "transB" and one.i for one in node.attribute)
            axes[node.input[1]] = 0 if node.op_type == "Conv" or is_transposed else -1
    restored = []
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if weight.name not in axes or values.dtype != np.float32 or values.ndim < 2 or values.size < FEWEST:
            continue
        others = tuple(axis for axis in range(values.ndim) if axis != axes[weight.name] % values.ndim)
        scale = np.abs(values).max(axis=others, keepdims=True) / 127
        scale[scale == 0] = 1
        stored, scales, cast = (f"{weight.name}_{part}" for part in ("int8", "scale", "float32"))
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), stored))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), scales))
        restored.append(helper.make_node("Cast", [stored], [cast], to=TensorProto.FLOAT))
        restored.append(helper.make_node("Mul", [cast, scales], [weight.name]))
    nodes = [*restored, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
