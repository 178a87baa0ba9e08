import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from involvit.prediction.onnx_classifier import OnnxClassifier
from modeling_involvit import LABELS, InvolViTImageProcessor

from ..conftest import PREPROCESSING


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


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path, write_onnx, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such file; write it by `involvit export"):
        OnnxClassifier(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="is a folder"):
        OnnxClassifier(tmp_path)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match="onnxruntime cannot load it"):
        OnnxClassifier(tmp_path / "text.onnx")
    write_onnx(tmp_path / "model.onnx", image_std=None)
    with pytest.raises(ValueError, match="has no 'image_std' in its metadata"):
        OnnxClassifier(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'involvit\[onnx\]'"):
        OnnxClassifier(Path("model.onnx"))
