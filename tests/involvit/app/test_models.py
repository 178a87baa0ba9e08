import numpy as np
import pytest

from involvit.app import models
from involvit.prediction.onnx_classifier import OnnxClassifier


@pytest.fixture(autouse=True)
def offered(onnx_model, monkeypatch):
    """The app with one small model, which is loaded anew."""
    monkeypatch.setattr(models, "settings", models.Settings([str(onnx_model)]))
    for cache in (models.loaded, models.shared):
        cache.cache_clear()
    yield onnx_model
    for cache in (models.loaded, models.shared):
        cache.cache_clear()


def face(value=200):
    return np.full((8, 8, 3), (value, 20, 20), np.uint8)


def test_a_model_is_loaded_once_and_answers_as_it_does_alone(offered, monkeypatch):
    loads = []
    monkeypatch.setattr(models, "load_classifier", lambda model, **_: loads.append(model) or OnnxClassifier(offered))
    expected = OnnxClassifier(offered)([face()])[0]
    for _ in range(2):
        (found,) = models.predictor(whole_image=True)(face())
        np.testing.assert_allclose(list(found.probabilities.values()), expected, rtol=1e-5)
    assert len(loads) == 1


def test_each_batch_runs_where_the_decorator_of_the_space_says(monkeypatch):
    batches = []
    classify = models.classify
    monkeypatch.setattr(
        models, "classify", lambda model, images: batches.append((model, len(images))) or classify(model, images)
    )
    models.predictor(whole_image=True)([face(), face(100)])
    assert batches == [("model.onnx", 2)]


def test_only_the_code_of_models_that_were_offered_is_run(offered, monkeypatch):
    loads = {}

    def load_classifier(model, trust_remote_code):
        loads[model] = trust_remote_code
        return OnnxClassifier(offered)

    monkeypatch.setattr(models, "load_classifier", load_classifier)
    models.settings.models.append("us/model")
    for name in ("model.onnx", "us/model", "someone/model"):
        models.shared(name)
    assert loads == {str(offered): True, "us/model": True, "someone/model": False}
