import json

import pytest

from dataset_script import LABELS
from involvit.evaluation import predictions
from involvit.evaluation.evaluate import run as module
from involvit.evaluation.evaluate.run import evaluate_models


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


def test_votes_are_shown_beside_one_person_where_the_data_has_them(
    evaluate, report, voted_faces, tmp_path, monkeypatch
):
    monkeypatch.setattr(predictions, "load_fer_dataset", lambda data: {"validation": voted_faces})
    page = evaluate(tmp_path / "out")
    text = (page.parent / "report.md").read_text()
    section = text.partition("## Against what people say")[2].partition("## ")[0]
    assert "in 63 of the 70 images" in section
    assert "count as unanimous" in section
    # 7 of 10 people agree with the majority, and 7 x 6 + 2 x 1 of 10 x 9 pairs with each other
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in section.splitlines() if line.startswith("|")}
    assert [cell.strip() for cell in rows["one person"]] == ["70.0", "48.9", "-", "-"]
    assert [cell.strip() for cell in rows["the votes themselves"]][:2] == ["100.0", "70.0"]
    metrics = json.loads((page.parent / "report.json").read_text())["models"]["sharp"]["metrics"]
    assert [cell.strip() for cell in rows["sharp"]] == [
        f"{100 * metrics['voted_accuracy']:.1f}",
        f"{100 * metrics['agreement_with_person']:.1f}",
        f"{metrics['cross_entropy_to_votes']:.3f}",
        f"{metrics['js_divergence_to_votes']:.3f}",
    ]
    assert "takes the majority for the truth" in text
    assert "people say" not in (report.parent / "report.md").read_text()


def test_one_model_is_compared_with_nobody(evaluate, tmp_path):
    page = evaluate(tmp_path / "out", names=("sharp",), split="group", validation_fraction=0.3)
    text = (page.parent / "report.md").read_text()
    assert "Which model is better?" not in text
    assert "21 images" in text


def test_a_folder_in_the_way_is_found_before_the_work(evaluate, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        evaluate(tmp_path, names=("no such model",))
