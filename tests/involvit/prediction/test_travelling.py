"""A `Predictor` is copied and sent to other processes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from involvit import Predictor
from involvit.prediction.face_detection import Face, LBPDetector
from involvit.prediction.torch_classifier import TorchClassifier

from .test_torch_classifier import save_involvit

FACE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


class WholeDetector:
    """Takes the whole image as a face."""

    name = "whole"

    def __call__(self, image):
        return [Face((0.0, 0.0, float(image.shape[1]), float(image.shape[0])))]


WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda it: pickle.loads(pickle.dumps(it))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("detector", [None, WholeDetector(), LBPDetector()])
def test_a_copy_predicts_the_same_in_another_folder(onnx_model, tmp_path, monkeypatch, way, detector):
    monkeypatch.chdir(onnx_model.parent)
    predictor = Predictor(Path(onnx_model.name), detector is not None, detector)
    expected = [face.probabilities for face in predictor(FACE)]
    monkeypatch.chdir(tmp_path)
    twin = WAYS[way](predictor)
    assert [face.probabilities for face in twin(FACE)] == expected
    assert (twin.classifier.name, type(twin.detector)) == (predictor.classifier.name, type(detector))


def test_a_torch_model_travels_by_its_folder(tmp_path, monkeypatch):
    save_involvit(tmp_path / "modèle [v2]")
    monkeypatch.chdir(tmp_path)
    classifier = TorchClassifier("modèle [v2]", trust_remote_code=False)
    sent = pickle.dumps(classifier)
    assert len(sent) < 1000  # no weights
    monkeypatch.chdir("/")
    twin = pickle.loads(sent)
    np.testing.assert_array_equal(twin([FACE]), classifier([FACE]))
    assert twin.name == classifier.name


def error_of(call):
    try:
        return str(call())
    except ValueError as error:
        return str(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_refused(onnx_model):
    predictor = Predictor(onnx_model)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    for call in (lambda: predictor(FACE), lambda: Predictor(onnx_model)):
        process = context.Process(target=lambda call=call: answers.put(error_of(call)))
        process.start()
        assert answers.get(timeout=20).startswith("a model was loaded before this process was forked")
        process.join()
    assert len(predictor(FACE)) == 1


def test_a_process_gets_it(onnx_model):
    predictor = Predictor(onnx_model)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.apply(predictor, [FACE])
    assert found.probabilities == predictor(FACE)[0].probabilities
