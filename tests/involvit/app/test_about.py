import pytest

from involvit.app.about import about
from involvit.app.models import settings


@pytest.mark.parametrize("model", ["someone/model", "model.onnx"])
def test_a_model_without_a_card_is_said_to_have_none(monkeypatch, model):
    monkeypatch.setattr(settings, "models", [model])
    assert about() == ("This model has no card.", "")
