"""What people wrote into a card stays."""

import re

import pytest
from huggingface_hub import ModelCard

from involvit.publishing.model_card import BEGIN, END, write_model_card

from .card_reports import metrics_of, report_of

HAND_WRITTEN = f"""---
license: cc-by-nc-4.0
language: en
tags:
- my-tag
- involution
base_model: anna/older
---

# A better title

Words of mine before.

{BEGIN}
Stale 0.1111
{END}

## Thanks

Words of mine after. 0.1111 is mine here.
"""


def test_hand_written_text_and_metadata_survive_and_the_figures_are_new(folder, joined_report):
    path = folder(joined_report)
    (path / "README.md").write_text(HAND_WRITTEN)
    write_model_card(path)
    text = (path / "README.md").read_text()
    before, generated, after = re.split(f"{BEGIN}|{END}", text.split("\n---\n", 1)[1])
    old_before, _, old_after = re.split(f"{BEGIN}|{END}", HAND_WRITTEN.split("\n---\n", 1)[1])
    assert (before, after) == (old_before, old_after)
    assert "Stale" not in generated
    assert "0.6346" in generated
    data = ModelCard.load(path / "README.md").data
    assert data.license == "cc-by-nc-4.0"
    assert data.to_dict()["language"] == "en"
    assert data.base_model == "anna/older"
    assert sorted(data.tags) == sorted(
        ["facial-expression-recognition", "involution", "vision-transformer", "custom_code", "my-tag"]
    )
    assert len(data.eval_results) == 4

    write_model_card(path)
    assert (path / "README.md").read_text() == text


def test_writing_twice_gives_the_same_card_and_new_figures_replace_old_ones(folder):
    first = write_model_card(folder(report_of("faces.zip"))).read_text()
    assert write_model_card(folder()).read_text() == first
    report = report_of("faces.zip")
    report["metrics"] = metrics_of(0.7345, (10, 20, 30, 40, 50, 60, 70))
    second = write_model_card(folder(report)).read_text()
    assert "0.7345" in second
    assert "0.6123" not in second


@pytest.mark.parametrize("text", ["# Mine\n\nAll by hand.\n", "---\nlicense: mit\n---\nAll by hand.\n"])
def test_a_card_without_the_two_lines_is_kept_whole_above_the_generated_part(folder, text):
    path = folder()
    (path / "README.md").write_text(text)
    card = ModelCard.load(write_model_card(path))
    body = text.rpartition("---\n")[2]
    assert card.text.lstrip().startswith(body)
    assert card.text.count(BEGIN) == card.text.count(END) == 1
    assert card.data.license == ("mit" if "mit" in text else "apache-2.0")


def test_the_card_of_the_hub_lends_its_text_where_the_folders_has_none(folder):
    path = folder()
    write_model_card(path)
    card = ModelCard.load(write_model_card(path, "anna/fer", HAND_WRITTEN))
    assert "Words of mine before." in card.text
    assert "Words of mine after." in card.text
    assert "Stale" not in card.text
    assert card.data.license == "cc-by-nc-4.0"

    (path / "README.md").write_text((path / "README.md").read_text().replace("Words of mine before.", "Newer words."))
    card = ModelCard.load(write_model_card(path, "anna/fer", HAND_WRITTEN))
    assert "Newer words." in card.text
    assert "Words of mine before." not in card.text
