import json

import numpy as np
import pytest
from PIL import Image

from involvit.reports import run_report as report
from involvit.reports.writer import to_terminal

LABELS = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
HISTORY = [
    {
        "epoch": e,
        "step": 10 * e,
        "train_loss": 2 / e,
        "validation_loss": 2.2 / e,
        "accuracy": 0.1 * e,
        "macro_f1": 0.09 * e,
    }
    for e in range(1, 6)
]


@pytest.fixture
def metrics():
    counts = np.random.default_rng(0).integers(0, 20, (7, 7)) + np.diag([50] * 7)
    per_class = {
        label: {"precision": 0.5, "recall": 0.25 + 0.1 * i, "f1": 0.3, "support": 10 + i}
        for i, label in enumerate(LABELS)
    }
    return {
        "num_images": int(counts.sum()),
        "accuracy": 0.625,
        "macro_precision": 0.61,
        "macro_recall": 0.59,
        "macro_f1": 0.58765,
        "per_class": per_class,
        "confusion_matrix": counts.tolist(),
    }


def lines_of(*arguments):
    """The printed lines of the table that compares, and of the table of classes."""
    return [to_terminal([table]).splitlines() for table in report.run_tables(*arguments)]


def test_the_table_sets_the_run_beside_the_published_figures_marked_as_such(metrics):
    lines, _ = lines_of(metrics, "faces, group split", 0.2789)
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["this run"][-4:] == ["0.6250", "0.6100", "0.5900", "0.5877"]
    assert rows["largest class"][-4:] == ["0.2789", "-", "-", "-"]
    assert rows["SFEW baseline"][-4:] == ["0.1900", "-", "-", "-"]
    assert rows["Island Loss"][-4:] == ["0.5252", "-", "-", "-"]
    assert rows["RAN"][-4:] == ["0.5640", "-", "-", "-"]
    assert rows["Liu: transformer + involution"][-4:] == ["0.6471", "0.6847", "0.6565", "0.6615"]
    assert sum("published, SFEW" in line for line in lines) == 4
    assert "published" not in lines[2]


def test_the_table_has_a_row_for_each_source_of_joined_data(metrics):
    sources = {"fer2013": metrics | {"accuracy": 0.7}, "wildfaces": metrics | {"accuracy": 0.5}}
    lines, _ = lines_of(metrics, "both", 0.2789, sources)
    assert [line.split()[2:4] for line in lines[2:5]] == [
        ["both", "0.6250"],
        ["fer2013", "0.7000"],
        ["wildfaces", "0.5000"],
    ]


def test_the_table_has_a_row_for_one_person_where_votes_are_known(metrics):
    def rows_of(*arguments):
        lines, _ = lines_of(metrics | {"human_accuracy": 0.7123}, "both", 0.2789, *arguments)
        return [line.split()[2:4] for line in lines if line.startswith("one person")]

    assert rows_of() == [["both", "0.7123"]]
    # of several sources only those that people voted on: the whole mixes two kinds of images
    assert rows_of({"ferplus": metrics | {"human_accuracy": 0.6543}, "wildfaces": metrics}) == [["ferplus", "0.6543"]]
    assert not any("one person" in line for line in lines_of(metrics, "both", 0.2789)[0])


def test_the_table_of_classes_has_them_in_order(metrics):
    lines = lines_of(metrics, "both", 0.2789)[1][2:]
    assert [line.split()[0] for line in lines] == LABELS
    assert lines[2].split() == ["Fear", "12", "0.5000", "0.4500", "0.3000"]


def test_the_confusion_matrix_shows_every_count_in_its_place(metrics):
    (axes, _) = report.confusion_matrix_figure(metrics).axes
    counts = np.asarray(metrics["confusion_matrix"])
    assert [label.get_text() for label in axes.get_yticklabels()] == LABELS
    for text in axes.texts:
        column, row = text.get_position()
        count, share = text.get_text().split("\n")
        assert int(count) == counts[row, column]
        assert share == f"{counts[row, column] / counts[row].sum():.0%}"
    assert len(axes.texts) == 49


def test_a_class_without_images_has_no_shares(metrics):
    metrics["confusion_matrix"][2] = [0] * 7
    (axes, _) = report.confusion_matrix_figure(metrics).axes
    assert [text.get_text() for text in axes.texts if text.get_position()[1] == 2] == ["0"] * 7


@pytest.mark.parametrize("number", [1, 5])
def test_the_curves_are_those_of_the_history(number):
    loss, score = report.training_curves_figure(HISTORY[:number]).axes
    curves = {line.get_label(): line.get_xydata().tolist() for axes in (loss, score) for line in axes.lines}
    assert curves["validation"] == [[e["epoch"], e["validation_loss"]] for e in HISTORY[:number]]
    assert curves["macro F1"] == [[e["epoch"], e["macro_f1"]] for e in HISTORY[:number]]


def test_a_curve_leaves_out_evaluations_without_its_value():
    history = [{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0, "accuracy": 0.5, "macro_f1": None}]
    loss, score = report.training_curves_figure(history).axes
    curves = {line.get_label(): line.get_xydata().tolist() for axes in (loss, score) for line in axes.lines}
    assert curves["training (as optimized)"] == [[1, 2.0], [2, 1.0]]
    assert curves["validation"] == curves["macro F1"] == []
    assert curves["accuracy"] == [[2, 0.5]]


def test_the_report_is_strict_json_beside_two_pictures(metrics, tmp_path):
    report.write_run_report(tmp_path, metrics, HISTORY, {"seed": 1, "best": float("-inf"), "sizes": (1, float("nan"))})

    def refuse(constant):
        raise AssertionError(constant)

    written = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    run = {"seed": 1, "best": None, "sizes": [1, None]}
    assert written == {"metrics": metrics, "sources": {}, "history": HISTORY, "run": run}
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "confusion_matrix.png", "training_curves.png"}
    for name in ("confusion_matrix.png", "training_curves.png"):
        assert np.asarray(Image.open(tmp_path / name)).std() > 10


def test_a_failure_leaves_nothing_half_written(metrics, tmp_path):
    (tmp_path / "report.json").write_text("before")
    with pytest.raises(TypeError):
        report.write_run_report(tmp_path, metrics, HISTORY, {"value": object()})
    assert (tmp_path / "report.json").read_text() == "before"
    assert not [p.name for p in tmp_path.iterdir() if "unfinished" in p.name]


def test_a_picture_that_fails_to_save_leaves_the_one_before(metrics, tmp_path, monkeypatch):
    def save_half(figure, path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    (tmp_path / "confusion_matrix.png").write_bytes(b"before")
    monkeypatch.setattr(report.Figure, "savefig", save_half)
    with pytest.raises(OSError, match="no space left"):
        report.write_run_report(tmp_path, metrics, HISTORY, {})
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("confusion_matrix.png", b"before")]
