"""Which models a visitor may name."""

import pytest

from involvit.app.compare import check_model
from involvit.app.models import settings
from involvit.app.uploads import UploadError
from involvit.prediction.classifier import default_model

OPEN = [{"GRADIO_SERVER_NAME": "0.0.0.0"}, {"GRADIO_SHARE": "True"}, {"SPACE_ID": "anna/app"}]
PATHS = [
    "m/swin",
    "~/m/swin",
    "~root",
    "/etc",
    "./m/swin",
    "m/../m/swin",
    "..",
    "nowhere.onnx",
    "~/nowhere",
    "m/no/such",
]


@pytest.fixture(autouse=True)
def _at_home(tmp_path, monkeypatch):
    """A folder with a model at a place that could be a Hub id, in the working folder and at home."""
    (tmp_path / "m" / "swin").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SHARE", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "models", [str(default_model()), "anna/faces"])


@pytest.mark.parametrize("environment", OPEN, ids=lambda environment: next(iter(environment)))
@pytest.mark.parametrize("path", PATHS)
def test_visitors_from_elsewhere_learn_nothing_of_the_servers_files(path, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UploadError, match="is not on the list; choose a model from the list, or name one on the Hub"):
        check_model(path)


@pytest.mark.parametrize("environment", [{}, *OPEN], ids=lambda environment: next(iter(environment), "local"))
@pytest.mark.parametrize("model", ["involvit-tiny", "faces", "ben/faces", "vit"])
def test_models_of_the_hub_and_those_on_the_list_may_be_named_from_everywhere(model, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_model(model)


@pytest.mark.parametrize("environment", [{}, {"GRADIO_SERVER_NAME": "localhost", "GRADIO_SHARE": "false"}])
def test_on_this_machine_alone_its_folders_may_be_named(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for path in PATHS:
        check_model(path)


@pytest.mark.parametrize("model", ["", "x" * 201, None, 3])
def test_what_is_no_name_is_refused(model):
    with pytest.raises(UploadError, match="Choose two models first"):
        check_model(model)
