import json

import pytest

from .card_reports import CONFIG, JOINED, metrics_of, report_of


@pytest.fixture
def folder(tmp_path):
    """Returns a function that writes a model's folder without weights."""

    def make(report=None, **config):
        path = tmp_path / "my-model"
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(CONFIG | config))
        if report is not None:
            (path / "report.json").write_text(json.dumps(report))
        return path

    return make


@pytest.fixture
def joined_report():
    intervals = {"accuracy": [0.6011, 0.6622], "macro_f1": [0.5711, 0.6388]}
    sources = {
        "fer": metrics_of(0.63456, (55, 50, 38, 80, 70, 60, 50), intervals),
        "faces": metrics_of(0.51717, (5, 31, 2, 33, 32, 31, 30)),
    }
    return report_of(JOINED, sources)
