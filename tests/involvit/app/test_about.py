import json
import re

import pytest

from involvit.app.about import about
from involvit.app.models import default_model, learned_from_votes, settings
from involvit.publishing.model_card import write_model_card


@pytest.mark.parametrize("model", ["someone/model", "model.onnx"])
def test_a_model_without_a_card_is_said_to_have_none(monkeypatch, model):
    monkeypatch.setattr(settings, "models", [model])
    assert about() == "This model has no card."


def test_it_says_what_the_model_is_how_good_and_what_not_to_use_it_for_and_no_more(monkeypatch):
    monkeypatch.setattr(settings, "models", [str(default_model())])
    text = about()
    titles = re.findall("^#+ (.*)$", text, re.MULTILINE)
    assert titles == ["InvolViT tiny", "Results", "Intended use and limits"]
    assert "about 6 of 10 people would say Happy" in text
    assert "An expression is not a feeling" in text and "| F1 |" in text
    assert not re.search(r"```|<!--|!\[|bibtex|optimizer", text)
    assert len(text.split()) < 0.5 * len((default_model() / "README.md").read_text().split())
    assert text.endswith("README.md in the model's folder.")


def test_a_card_by_somebody_else_is_shown_as_far_as_it_says_what_the_model_is(monkeypatch, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n\nA model.\n\n## Setup\n\nLong.\n")
    monkeypatch.setattr(settings, "models", [str(tmp_path)])
    assert about().startswith("# Mine\n\nA model.\n") and "Long" not in about()


@pytest.mark.parametrize(("votes", "says"), [(True, True), (False, False)])
def test_ten_people_are_spoken_of_where_the_card_speaks_of_them(monkeypatch, tmp_path, votes, says):
    report = json.loads((default_model() / "report.json").read_text())
    report["run"]["votes"] = votes
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "config.json").write_bytes((default_model() / "config.json").read_bytes())
    write_model_card(tmp_path)
    monkeypatch.setattr(settings, "models", [str(tmp_path)])
    assert learned_from_votes() is says
    assert ("of 10 people" in about()) is says
