import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from involvit.app import models
from involvit.prediction.onnx_classifier import OnnxClassifier

ROOT = Path(__file__).parents[3]


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
    loads = []

    def load_classifier(model, trust_remote_code):
        loads.append((model, trust_remote_code))
        return OnnxClassifier(offered)

    monkeypatch.setattr(models, "load_classifier", load_classifier)
    models.settings.models.append("us/model")
    for name in ("model.onnx", "model", "us/model", "someone/model"):
        models.shared(name)
    assert loads == [(str(offered), True), *[("us/model", True)] * 2, ("someone/model", False)]


def test_models_in_folders_that_end_alike_are_all_offered_each_by_a_name_of_its_own(tmp_path):
    folders = [tmp_path / name / "best" for name in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    models.settings.models = [*map(str, folders), "mine=us/model"]
    assert models.offered() == {"a/best": str(folders[0]), "b/best": str(folders[1]), "mine": "us/model"}
    assert models.main_model() == "a/best"
    (folders[0] / "report.json").write_text('{"run": {"votes": true}}')
    models.settings.models[0] = f"first={folders[0]}"
    assert models.main_model() == "first" and models.learned_from_votes()
    models.settings.models.append(str(folders[1]))
    with pytest.raises(ValueError, match="named twice"):
        models.offered()


VISITORS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from involvit.app import models
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

small = {"branches": "rednet", "rednet_depths": (1, 1), "rednet_widths": (64, 128), "rednet_stem_channels": 32}
model = InvolViTForImageClassification(InvolViTConfig(image_size=32, **small))
for name in ("a", "b"):
    model.save_pretrained(f"{sys.argv[1]}/{name}")
    InvolViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(f"{sys.argv[1]}/{name}")
models.settings.models = [f"{sys.argv[1]}/a", f"{sys.argv[1]}/b"]
face = np.full((32, 32, 3), 128, np.uint8)


def visit(number):
    label = models.predictor("ab"[number % 2], whole_image=True)(face)[0].label
    assert np.isfinite(models.heat_maps("ab"[number % 2], face, label)["rednet"]).all()


visit(0)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(visit, range(40)))
"""


def test_four_visitors_at_once_are_served(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", VISITORS, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
