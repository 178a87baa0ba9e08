import json
import os
import zlib
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from modeling_involvit import LABELS

IMAGE_SIZE = 8
PREPROCESSING = {
    "image_size": IMAGE_SIZE,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": "bilinear",
}


@pytest.fixture(scope="session")
def write_onnx():
    """Returns a function that writes a linear classifier of an image's mean colour, and returns its weights [3, N]."""

    def write(path, labels=LABELS, seed=0, **metadata):
        weights = np.random.default_rng(seed).normal(size=(3, len(labels))).astype(np.float32)
        nodes = [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        ]
        constants = {"axes": np.array([2, 3]), "weights": weights}
        graph = helper.make_graph(
            nodes,
            "mean_colour",
            [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, IMAGE_SIZE, IMAGE_SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        values = {"labels": list(labels), **PREPROCESSING, **metadata}
        helper.set_model_props(model, {key: json.dumps(value) for key, value in values.items() if value is not None})
        onnx.save(model, path)
        return weights

    return write


@pytest.fixture(scope="session")
def onnx_model(write_onnx, tmp_path_factory):
    """The path of such a classifier."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(path)
    return path


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """Returns a context in `tmp_path` in which permissions hold, which they do not for root."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # what is above may be forbidden

    @contextmanager
    def as_nobody():
        if os.geteuid():
            yield
            return
        os.setresuid(65534, 65534, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)

    return as_nobody


@pytest.fixture
def write_images():
    """Returns a function that writes images, each of a colour that follows from its name, and returns their paths."""

    def write(folder, *names, size=(12, 10)):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            colour = tuple(zlib.crc32(name.encode()).to_bytes(4)[:3])
            Image.new("RGB", size, colour).save(folder / name)
        return [folder / name for name in names]

    return write
