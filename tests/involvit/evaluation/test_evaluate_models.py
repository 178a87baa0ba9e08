import json

import pytest

from dataset_script import LABELS
from involvit.evaluation import evaluate_models as module
from involvit.evaluation.evaluate_models import evaluate_models


@pytest.fixture(scope="module")
def evaluate(grey_folder, colour_classifier, tmp_path_factory):
    models = {"sharp": colour_classifier(), "shifted": colour_classifier(width=0.8, shift=0.8)}

    def run(out, names=("sharp", "shifted"), **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "load_models", lambda given: {name: models[name] for name in given})
            return evaluate_models(names, str(grey_folder), out, command="involvit evaluate", **options)

    return run


@pytest.fixture(scope="module")
def report(evaluate, tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("evaluate") / "out", part="all")


def test_the_report_has_every_part(report):
    text = (report.parent / "report.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Results",
        "Which model is better?",
        "Class by class",
        "Can its probabilities be trusted?",
        "Each class against the rest",
        "The most confident mistakes",
        "Speed",
    ]
    assert "Liu: transformer + involution" in text
    assert "sharp is better than shifted by" in text
    assert "10 persons or films" in text
    for label in LABELS:
        assert f"| {label} | 10 |" in text


def test_its_json_holds_what_the_models_answered(report):
    results = json.loads((report.parent / "report.json").read_text())
    assert results["num_images"] == 70
    for name, model in results["models"].items():
        answers = [max(range(7), key=row.__getitem__) for row in model["probabilities"]]
        right = sum(LABELS[answer] == label for answer, label in zip(answers, results["images"]["label"], strict=True))
        assert model["metrics"]["accuracy"] == pytest.approx(right / 70), name
    (comparison,) = results["comparisons"]
    sharp, shifted = (results["models"][name]["metrics"]["accuracy"] for name in ("sharp", "shifted"))
    assert comparison["accuracy"]["value"] == pytest.approx(sharp - shifted)


def test_one_model_is_compared_with_nobody(evaluate, tmp_path):
    page = evaluate(tmp_path / "out", names=("sharp",), split="group", validation_fraction=0.3)
    text = (page.parent / "report.md").read_text()
    assert "Which model is better?" not in text
    assert "21 images" in text


def test_a_folder_in_the_way_is_found_before_the_work(evaluate, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        evaluate(tmp_path, names=("no such model",))
