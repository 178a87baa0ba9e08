import json

import pytest

import involvit.evaluation.audit.run as module
from involvit.evaluation.audit.run import audit_data

from ..palette_faces import PaletteClassifier, clean_rows, face, row


@pytest.fixture
def folder(tmp_path):
    rows = [*clean_rows(4), row(face("Happy", 3), "Sad", "x", "Sad/x.png")]  # the first image of Happy again
    for item in rows:
        path = tmp_path / "faces" / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        item["image"].save(path)
    return tmp_path / "faces"


def test_a_report_is_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_classifier", lambda model: PaletteClassifier())
    options = {"split": "random", "cache_dir": tmp_path / "cache"}
    report = audit_data(str(folder), None, tmp_path / "out", False, "involvit audit --data faces", **options)
    assert report == tmp_path / "out" / "report.html"
    assert "<h1>Audit of faces</h1>" in report.read_text()
    results = json.loads((tmp_path / "out" / "report.json").read_text())
    assert results["model"] == "palette"
    assert sum(part["images"] for part in results["images"].values()) == 29
    (pair,) = results["duplicates"]
    assert {pair["path_a"], pair["path_b"]} == {"Happy/0.png", "Sad/x.png"} and pair["is_contradicting"]
    pictures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"class_balance.png", "contradicting_duplicates.png"} <= pictures
    with pytest.raises(FileExistsError, match="is not empty"):
        audit_data(str(folder), None, tmp_path / "out", False, "", **options)


def test_a_model_without_features_is_refused(folder, onnx_model, tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match=r"gives no features.*name the folder or Hub id of a model by --model"):
        audit_data(str(folder), str(onnx_model), tmp_path / "out", False, "")
    assert not (tmp_path / "out").exists()
