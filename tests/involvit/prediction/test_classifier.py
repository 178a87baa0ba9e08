import math

import numpy as np
import onnx
import pytest

from involvit.prediction import classifier
from involvit.prediction.classifier import default_model, load_classifier
from involvit.prediction.onnx_classifier import OnnxClassifier
from involvit.prediction.torch_classifier import TorchClassifier

from .test_torch_classifier import add_to_json, save_involvit, save_resnet


def test_a_file_in_onnx_is_run_by_onnxruntime(onnx_model):
    assert isinstance(load_classifier(str(onnx_model)), OnnxClassifier)


def test_a_path_that_exists_is_what_it_is(onnx_model, tmp_path):
    (tmp_path / "m.ONNX").write_bytes(onnx_model.read_bytes())
    assert isinstance(load_classifier(tmp_path / "m.ONNX"), OnnxClassifier)
    save_involvit(tmp_path / "model.onnx")  # a folder
    assert isinstance(load_classifier(tmp_path / "model.onnx"), TorchClassifier)


def test_the_default_is_the_installed_model_else_that_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "__file__", str(tmp_path / "involvit" / "prediction" / "classifier.py"))
    assert default_model() == tmp_path / "checkpoints" / "involvit-tiny"
    (tmp_path / "involvit/default_model").mkdir(parents=True)
    assert default_model() == tmp_path / "involvit" / "default_model"


def test_no_model_is_the_default_model(tmp_path, monkeypatch, write_onnx):
    write_onnx(tmp_path / "model.onnx", labels=("no", "yes"))
    monkeypatch.setattr(classifier, "default_model", lambda: tmp_path / "model.onnx")
    assert load_classifier()([np.zeros((8, 8, 3), np.uint8)]).sum() == pytest.approx(1)
    assert load_classifier().labels == ("no", "yes")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("Happy", "Sad", "Happy"), "m has several classes named 'Happy'"),
        (("Happy",), "m has fewer than two classes; name"),
        (("Happy", ""), "m has a class named ''; give it a text"),
    ],
)
def test_each_of_several_classes_has_a_name_of_its_own(tmp_path, write_onnx, labels, message):
    write_onnx(tmp_path / "m.onnx", labels=labels)
    with pytest.raises(ValueError, match=message.replace("m has", r"m\.onnx has")):
        load_classifier(tmp_path / "m.onnx")
    save_resnet(tmp_path / "m", labels)
    with pytest.raises(ValueError, match=message):
        load_classifier(tmp_path / "m")


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_a_model_that_does_not_choose_one_class_is_refused(tmp_path, problem):
    save_resnet(tmp_path / "m")
    add_to_json(tmp_path / "m" / "config.json", problem_type=problem)
    with pytest.raises(ValueError, match=f"m was trained for {problem}; name a model that chooses one"):
        load_classifier(tmp_path / "m")


def test_an_empty_name_is_not_the_working_folder():
    with pytest.raises(ValueError, match="the name of the model is empty"):
        load_classifier("")


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"height": 24, "width": 24}},
        {"size": {"longest_edge": 32}},
        {"size": "large"},
        {"do_resize": False},
        {"image_mean": [0.5], "image_std": [0.5, 0.5]},
        {"do_center_crop": True, "crop_size": {"height": -3, "width": 3}},
    ],
)
def test_an_image_processor_that_does_not_fit_its_model_is_refused_by_name(tmp_path, settings):
    save_involvit(tmp_path / "m")
    add_to_json(tmp_path / "m" / "preprocessor_config.json", **settings)
    with pytest.raises(ValueError, match=r"m (cannot classify images|has settings that|cannot be loaded)") as caught:
        load_classifier(tmp_path / "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"image_std": [0, 0, 0]}, {"image_mean": [math.nan] * 3}, {"rescale_factor": 1e308}]
)
def test_settings_that_spoil_the_pixels_are_the_reason(tmp_path, settings):
    save_involvit(tmp_path / "m")
    add_to_json(tmp_path / "m" / "preprocessor_config.json", **settings)
    with pytest.raises(ValueError, match="m makes pixels that are not finite: correct image_mean, image_std"):
        load_classifier(tmp_path / "m")


def test_an_onnx_file_that_answers_no_value_for_a_label_is_refused_by_name(tmp_path, write_onnx):
    write_onnx(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    next(entry for entry in model.metadata_props if entry.key == "labels").value = '["no", "yes"]'
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx has 2 labels, but answers \[7\] values an image"):
        load_classifier(tmp_path / "m.onnx")


def test_an_onnx_file_with_other_names_of_its_tensors_is_refused_by_name(tmp_path, write_onnx):
    write_onnx(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    name = model.graph.output[0].name
    model.graph.output[0].name = "scores"
    for node in model.graph.node:
        node.output[:] = ["scores" if output == name else output for output in node.output]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx cannot classify images"):
        load_classifier(tmp_path / "m.onnx")
