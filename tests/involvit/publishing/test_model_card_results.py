"""The figures in the card's text."""

import re

import pytest
from huggingface_hub import ModelCard

from involvit.publishing.model_card import write_model_card

from .card_reports import VOTED, report_of


def table(text, header):
    """The rows of the Markdown tables whose first cell is `header`, by their first cell."""
    lines = text.splitlines()
    found = []
    for start in (index for index, line in enumerate(lines) if line.startswith(f"| {header} |")):
        rows = {}
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows[name] = cells
        found.append(rows)
    return found


def test_the_tables_hold_the_figures_of_the_report(folder, joined_report):
    text = ModelCard.load(write_model_card(folder(joined_report))).text
    (results,) = table(text, "Data")
    rows = joined_report["sources"] | {"all together": joined_report["metrics"]}
    assert list(results) == list(rows)
    for name, metrics in rows.items():
        split, images, accuracy, precision, recall, f1, largest = results[name]
        assert split == {"fer": "official", "faces": "group"}.get(name, "")
        assert int(images) == metrics["num_images"]
        got = [float(cell.split()[0]) for cell in (accuracy, precision, recall, f1)]
        keys = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
        assert got == pytest.approx([metrics[key] for key in keys], abs=5e-5)
        supports = [values["support"] for values in metrics["per_class"].values()]
        assert float(largest) == pytest.approx(max(supports) / sum(supports), abs=5e-5)
    assert re.findall(r"[\d.]+", results["fer"][2])[1:] == ["0.6011", "0.6622"]
    assert re.findall(r"[\d.]+", results["fer"][5])[1:] == ["0.5711", "0.6388"]
    for rows, metrics in zip(table(text, "Class"), joined_report["sources"].values(), strict=True):
        for label, values in metrics["per_class"].items():
            expected = [values["support"], values["precision"], values["recall"], values["f1"]]
            assert [float(cell) for cell in rows[label]] == pytest.approx(expected, abs=5e-5)
    assert "say much: Angry (5), Fear (2)." in text
    assert "4.01 M parameters" in text


def test_the_model_stands_beside_one_person_where_people_voted(folder, joined_report):
    joined_report["sources"]["fer"] |= VOTED
    joined_report["metrics"] |= VOTED  # of other images than the accuracy: no table of their own
    text = ModelCard.load(write_model_card(folder(joined_report))).text
    assert text.count("### Against what people say") == 1
    assert "### Against what people say, fer\n" in text
    assert "in 400 of the 403 images" in text
    assert "the others count as unanimous" in text
    (rows,) = table(text, "Answers of")
    assert rows == {
        "the model": ["81.1", "66.7", "0.988", "0.123"],
        "one person": ["72.2", "63.3", "-", "-"],
        "the votes themselves": ["100.0", "75.6", "0.543", "0.000"],
    }


def test_nothing_is_said_of_people_where_nobody_voted(folder, joined_report):
    joined_report["metrics"]["num_voted"] = joined_report["sources"]["fer"]["num_voted"] = 0
    text = write_model_card(folder(joined_report)).read_text()
    assert "what people say" not in text
    assert "of 10 people" not in text


def test_a_model_of_votes_says_what_its_probabilities_mean(folder, joined_report):
    joined_report["run"]["votes"] = True
    text = " ".join(write_model_card(folder(joined_report)).read_text().split())
    assert "0.6 for Happy means that about 6 of 10 people would say Happy." in text


def test_a_run_on_one_source_has_one_row_and_no_brackets(folder):
    text = ModelCard.load(write_model_card(folder(report_of("faces.zip", split="group")))).text
    (results,) = table(text, "Data")
    assert list(results) == ["faces"]
    assert results["faces"][:2] == ["group", "450"]
    assert "bracket" not in text


def test_a_best_epoch_chosen_on_the_measured_images_is_owned_up_to(folder):
    fixed = write_model_card(folder(report_of("faces.zip"))).read_text()
    chosen = write_model_card(folder(report_of("faces.zip", select_best="accuracy"))).read_text()
    assert "too high" not in fixed
    assert "too high" in chosen


def test_without_a_report_it_says_that_nothing_was_measured(folder):
    card = ModelCard.load(write_model_card(folder()))
    assert "None were measured" in card.text
    assert "model-index" not in card.data.to_dict()
    assert card.data.metrics is None
    assert not table(card.text, "Data")
    assert "FER2013" not in card.text
