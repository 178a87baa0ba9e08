import numpy as np
import pytest

from involvit.evaluation.robustness.corruptions import CORRUPTIONS
from involvit.evaluation.robustness.document import robustness_sections
from involvit.evaluation.robustness.measure import Measurement, compare, summarize
from involvit.reports.blocks import Bullets, Picture, Table

OCCLUSIONS = CORRUPTIONS[:2]


def sections_of(clean, corrupted, corruptions=OCCLUSIONS, images=100):
    """Sections of models with these shares of right answers, on clean and on corrupted images."""
    at = np.arange(images) / images
    right = {name: at < share for name, share in clean.items()}
    wrong = {name: np.tile(at < share, (len(corruptions), 5, 1)) for name, share in corrupted.items()}
    measurement = Measurement(corruptions, [str(index % 20) for index in range(images)], right, wrong)
    sections = robustness_sections(measurement, summarize(measurement), compare(measurement), "faces", 0)
    return {section.title: section.blocks for section in sections}


def verdict(clean, corrupted):
    bullets = sections_of({"a": clean[0], "b": clean[1]}, {"a": corrupted[0], "b": corrupted[1]})["By family"][0]
    assert isinstance(bullets, Bullets) and len(bullets.items) == 2
    return bullets.items[1]


@pytest.mark.parametrize(
    ("clean", "corrupted", "robustness", "level"),
    [
        ((0.9, 0.9), (0.5, 0.5), "no difference in robustness is shown", "no difference in accuracy"),
        ((0.9, 0.9), (0.5, 0.7), "b is more robust", "b is right more often under it"),
        ((0.9, 0.9), (0.7, 0.5), "b is less robust", "b is right less often under it"),
        ((0.9, 0.5), (0.5, 0.3), "b loses less, but had less to lose", "b is right less often under it"),
        ((0.5, 0.9), (0.3, 0.5), "b loses more, but had more to lose", "b is right more often under it"),
        ((0.9, 0.7), (0.7, 0.5), "no difference in robustness is shown", "b is right less often under it"),
    ],
)
def test_the_sentence_says_what_came_out(clean, corrupted, robustness, level):
    sentence = verdict(clean, corrupted)
    assert sentence.startswith(f"Occlusion, b against a: {robustness} (drop ")
    assert f"; {level} (accuracy " in sentence


def test_differences_are_written_with_interval_and_p():
    sentence = verdict((0.9, 0.9), (0.5, 0.7))
    assert "drop −20.0 [−" in sentence and "accuracy +20.0 [+" in sentence
    assert "points, p = 0.00" in sentence


def test_one_model_is_told_how_to_compare():
    *_, advice = sections_of({"a": 0.9}, {"a": 0.5})["By family"]
    assert "second model" in advice.text


def test_the_curves_start_at_the_clean_accuracy_and_share_one_legend():
    curves = sections_of({"a": 0.9, "b": 0.8}, {"a": 0.5, "b": 0.4})["Accuracy against severity"][0]
    assert isinstance(curves, Picture)
    panels = [axes for axes in curves.figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == [corruption.name for corruption in OCCLUSIONS]
    for axes in panels:
        assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx([0.9, 0.8])
        assert axes.lines[1].get_ydata()[1:] == pytest.approx([0.4] * 5)
        assert axes.get_ylim() == (0, 1)
    (legend,) = curves.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_the_sheet_has_a_labelled_line_for_each_corruption():
    sheet, parameters = sections_of({"a": 0.9}, {"a": 0.5}, CORRUPTIONS)["The corruptions"]
    labels = [label.get_text() for axes in sheet.figure.axes for label in axes.get_yticklabels()]
    assert labels == [corruption.name for corruption in CORRUPTIONS]
    assert isinstance(parameters, Table) and [row[0] for row in parameters.rows] == labels


def test_each_condition_stands_in_the_table():
    table = sections_of({"a": 0.9, "b": 0.8}, {"a": 0.5, "b": 0.25})["Accuracy against severity"][1]
    assert table.rows[0][:2] == ["eyes bar", "a"]
    assert table.rows[1][2:] == ["25.0%"] * 6 + ["150.0%"]
