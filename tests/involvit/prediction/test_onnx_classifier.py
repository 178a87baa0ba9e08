import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.special import softmax

from involvit.prediction.onnx_classifier import OnnxClassifier
from modeling_involvit import LABELS, InvolViTImageProcessor

from ..conftest import PREPROCESSING

ROOT = Path(__file__).parents[3]


def random_images(*sizes, seed=0):
    """Smooth images with noise, [H, W, 3]."""
    rng = np.random.default_rng(seed)
    waves = [np.sin(np.linspace(0, 9, h))[:, None, None] * np.cos(np.linspace(0, 7, w))[:, None] for h, w in sizes]
    return [
        np.clip(120 + 90 * wave + rng.normal(0, 20, (*wave.shape[:2], 3)), 0, 255).astype(np.uint8) for wave in waves
    ]


def test_probabilities_are_the_softmax_of_the_logits(tmp_path, write_onnx):
    weights = write_onnx(tmp_path / "model.onnx")
    classifier = OnnxClassifier(tmp_path / "model.onnx")
    colours = np.random.default_rng(1).integers(0, 256, (5, 3))
    images = [np.full((4 + n, 9, 3), colour, np.uint8) for n, colour in enumerate(colours)]
    logits = (colours / 255 - PREPROCESSING["image_mean"]) / PREPROCESSING["image_std"] @ weights.astype(np.float64)
    probabilities = classifier(images)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, softmax(logits, axis=1), rtol=1e-4, atol=1e-6)
    assert classifier.labels == LABELS
    assert classifier.image_size == PREPROCESSING["image_size"]
    assert classifier([]).shape == (0, 7)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_preprocessing_is_the_image_processors_to_within_a_grey_level(tmp_path, write_onnx, resample):
    write_onnx(tmp_path / "model.onnx", image_size=64, resample=resample)
    images = random_images((64, 64), (48, 48), (201, 97), (64, 640), (1, 1), (63, 65))
    processor = InvolViTImageProcessor(
        size={"height": 64, "width": 64}, resample={"bilinear": 2, "bicubic": 3}[resample]
    )
    expected = processor(images, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    pixel_values = OnnxClassifier(tmp_path / "model.onnx").preprocess(images)
    assert pixel_values.dtype == np.float32
    levels = np.abs(pixel_values - expected) * np.array(PREPROCESSING["image_std"])[:, None, None] * 255
    assert levels.max() < 1.001
    assert levels[0].max() < 1e-3  # an image of the right size is not resampled


def test_the_name_tells_weights_apart(tmp_path, write_onnx):
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        write_onnx(tmp_path / str(seed) / "model.onnx", seed=seed)
    (tmp_path / "same.onnx").write_bytes((tmp_path / "0/model.onnx").read_bytes())
    zero, one, same = (OnnxClassifier(tmp_path / name).name for name in ("0/model.onnx", "1/model.onnx", "same.onnx"))
    assert zero != one
    assert zero.split("@")[1] == same.split("@")[1]


@pytest.mark.parametrize(
    ("value", "threads"),
    [("2", 2), ("2,1", 2), (" 3 ", 3), ("+2", 2), ("", 0), ("all", 0), ("-2", 0), ("9" * 30, 0), (None, 0)],
)
def test_the_number_of_threads_is_read_as_torch_reads_it(onnx_model, monkeypatch, value, threads):
    if value is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    classifier = OnnxClassifier(onnx_model)
    assert classifier._session.get_session_options().intra_op_num_threads == threads


def test_a_model_in_half_precision_classifies_too(tmp_path, write_onnx):
    write_onnx(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), "weights")
            )
    onnx.save(model, tmp_path / "half.onnx")
    images = random_images((20, 30), (8, 8))
    expected = OnnxClassifier(tmp_path / "model.onnx")(images)
    found = OnnxClassifier(tmp_path / "half.onnx")(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_onnxruntime_leaves_no_file_in_the_home_folder(onnx_model, tmp_path):
    script = f"""
import numpy as np
from pathlib import Path
from involvit.prediction.onnx_classifier import OnnxClassifier
OnnxClassifier(Path({str(onnx_model)!r}))([np.zeros((8, 8, 3), np.uint8)])
"""
    unset = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "entries",
    [
        {"labels": "{"},
        {"labels": "null"},
        {"labels": '{"0": "no", "1": "yes"}'},
        {"labels": "[1, 2]"},
        {"resample": '"foo"'},
        {"resample": "2"},
        {"image_size": "[32, 32]"},
        {"image_size": "0"},
        {"image_std": "[0, 1, 1]"},
        {"image_std": "[1, 1]"},
        {"image_mean": '"grey"'},
    ],
)
@pytest.mark.filterwarnings("error")  # a warning would be a line of its own
def test_metadata_that_cannot_be_used_is_told_in_one_line(tmp_path, write_onnx, entries):
    write_onnx(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    for entry in model.metadata_props:
        entry.value = entries.get(entry.key, entry.value)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"model\.onnx has metadata that cannot be used \(.*\); export it") as caught:
        OnnxClassifier(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path, write_onnx, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such file; write it by `involvit export"):
        OnnxClassifier(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="is a folder"):
        OnnxClassifier(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ValueError, match=r"cannot be read \(it is a pipe or a device"):
        OnnxClassifier(tmp_path / "pipe.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match="onnxruntime cannot load it"):
        OnnxClassifier(tmp_path / "text.onnx")
    write_onnx(tmp_path / "model.onnx", image_std=None)
    with pytest.raises(ValueError, match="has no 'image_std' in its metadata"):
        OnnxClassifier(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'involvit\[onnx\]'"):
        OnnxClassifier(Path("model.onnx"))
