import pytest

from involvit.evaluation.named_models import load_models, name_models
from involvit.prediction.classifier import default_model


def test_a_model_is_named_after_its_folder(tmp_path):
    (tmp_path / "one").mkdir()
    assert name_models([str(tmp_path / "one"), "owner/two"]) == {"one": str(tmp_path / "one"), "two": "owner/two"}


def test_folders_that_end_alike_get_more_of_their_path(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "best").mkdir(parents=True)
    assert list(name_models([str(tmp_path / "a/best"), str(tmp_path / "b/best")])) == ["a/best", "b/best"]


def test_a_name_of_ones_own_is_taken():
    assert name_models(["fusion=owner/model", "other"]) == {"fusion": "owner/model", "other": "other"}


def test_a_path_that_is_there_is_no_name_and_model(tmp_path):
    (tmp_path / "x=y").mkdir()
    assert name_models([str(tmp_path / "x=y")]) == {"x=y": str(tmp_path / "x=y")}


@pytest.mark.parametrize("second", ["{}", "again={}", "{}/", "{}/../one"])
def test_a_model_given_twice_is_refused(tmp_path, second):
    (tmp_path / "one").mkdir()
    with pytest.raises(ValueError, match="named twice"):
        name_models([str(tmp_path / "one"), second.format(tmp_path / "one")])


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="two models are named a"):
        name_models(["a=x/y", "a=x/z"])


def test_the_models_default_to_that_of_the_package(onnx_model, monkeypatch):
    from involvit.evaluation import named_models

    monkeypatch.setattr(named_models, "load_classifier", lambda model: model)
    assert load_models(None) == {"involvit-tiny": str(default_model())}
    assert load_models([str(onnx_model)]) == {"model.onnx": str(onnx_model)}
