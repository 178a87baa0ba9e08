import json

import numpy as np
import pytest

from dataset_script import LABELS
from involvit.evaluation.robustness import measure as robustness
from involvit.evaluation.robustness.corruptions import CORRUPTIONS
from involvit.evaluation.robustness.run import evaluate_robustness


@pytest.fixture
def arguments(tmp_path, grey_folder, onnx_model):
    return {
        "models": [f"linear={onnx_model}"],
        "data": str(grey_folder),
        "part": "validation",
        "out": tmp_path / "report",
        "overwrite": False,
        "command": "involvit robustness",
        "split": "group",
        "validation_fraction": 0.2,
    }


def test_the_report_holds_every_condition(arguments, write_onnx, tmp_path):
    write_onnx(tmp_path / "other.onnx", seed=1, labels=LABELS)
    arguments["models"].append(f"other={tmp_path / 'other.onnx'}")
    path = evaluate_robustness(**arguments)
    assert path.read_text(encoding="utf-8").count("<img") == 2
    report = json.loads(path.with_name("report.json").read_text())
    assert list(report["models"]) == ["linear", "other"]
    assert report["images"] == 14 and report["groups"] == 2
    for model in report["models"].values():
        shares = np.array([model["accuracy"][corruption.name] for corruption in CORRUPTIONS])
        assert shares.shape == (16, 5)
        assert model["scores"][robustness.OVERALL]["value"] == pytest.approx(shares.mean())
    assert len(report["comparisons"]) == 5


def test_what_cannot_be_written_is_refused_before_the_work(arguments):
    arguments["out"].mkdir()
    (arguments["out"] / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="thesis"):
        evaluate_robustness(**arguments | {"overwrite": True, "data": "not looked at"})


def test_a_negative_seed_is_refused(arguments):
    with pytest.raises(ValueError, match="the seed is -1; give one of at least 0"):
        evaluate_robustness(**arguments, seed=-1)
    assert not arguments["out"].exists()
