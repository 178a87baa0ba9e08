"""The model in checkpoints/involvit-tiny, as it is shipped."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import skimage
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import safe_open

from involvit import Predictor
from modeling_involvit import LABELS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "checkpoints" / "involvit-tiny"


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """The astronaut of scikit-image, who smiles, and the calm officer of matplotlib."""
    folder = tmp_path_factory.mktemp("portraits")
    Image.fromarray(skimage.data.astronaut()).save(folder / "astronaut.png")
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        Image.open(file).save(folder / "officer.png")
    return folder


def test_it_sees_a_smile_and_a_calm_face(portraits):
    predictor = Predictor(faces=True)
    (smiling,), (calm,) = predictor(portraits / "astronaut.png"), predictor(portraits / "officer.png")
    assert smiling.label == "Happy"
    assert smiling.probabilities["Happy"] > 0.5
    # The officer's calm is close to sadness for it: Neutral is one of the two likeliest, and it is sure of nothing.
    assert "Neutral" in sorted(calm.probabilities, key=calm.probabilities.get)[-2:]
    assert max(calm.probabilities.values()) < 0.5
    assert calm.probabilities["Neutral"] > 3 * smiling.probabilities["Neutral"]
    assert calm.probabilities["Happy"] < 0.1


def test_it_is_small():
    with safe_open(FOLDER / "model.safetensors", "numpy") as weights:
        parameters = sum(
            int(np.prod(weights.get_slice(name).get_shape()))
            for name in weights.keys()  # noqa: SIM118
            if "running_" not in name and "num_batches" not in name
        )
    assert 1e6 < parameters < 8e6
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20e6


def test_its_code_is_that_of_the_package():
    code = sorted(path.name for path in FOLDER.glob("*.py"))
    assert "modeling_involvit.py" in code
    for name in code:
        assert (FOLDER / name).read_bytes() == (ROOT / "modeling_involvit" / name).read_bytes(), (
            f"copy modeling_involvit/{name} to {FOLDER}"
        )


def test_pipeline_loads_it_where_the_package_is_not(portraits, tmp_path):
    script = (
        "import sys, json; from transformers import pipeline;"
        f"classify = pipeline('image-classification', model={str(FOLDER)!r}, trust_remote_code=True);"
        f"print(json.dumps(classify({str(portraits / 'astronaut.png')!r}, top_k=7)));"
        "assert type(classify.model).__module__.startswith('transformers_modules')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120
    )
    rows = json.loads(run.stdout.splitlines()[-1])
    assert {row["label"] for row in rows} == set(LABELS)
    assert sum(row["score"] for row in rows) == pytest.approx(1, abs=1e-4)


def test_its_card_gives_the_figures_of_its_report():
    report = json.loads((FOLDER / "report.json").read_text())
    results = {result.dataset_name: result for result in ModelCard.load(FOLDER / "README.md").data.eval_results}
    assert report["sources"].keys() == {"fer2013", "wildfaces"}
    text = (FOLDER / "README.md").read_text()
    for metrics in report["sources"].values():
        assert f"{metrics['accuracy']:.4f}" in text
        low, high = metrics["intervals"]["accuracy"]
        assert low < metrics["accuracy"] < high
    assert len(results) == 2
