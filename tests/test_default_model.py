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

from benchmarks.same_face import same_answers
from dataset_script.rendered.rendered_faces import rendered_faces
from involvit.prediction.classifier import load_classifier
from involvit.prediction.face_detection import Face, LBPDetector, align_face
from modeling_involvit import LABELS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "checkpoints" / "involvit-tiny"


# What YuNet finds: box, and right eye, left eye, nose tip, right and left mouth corner.
YUNET_FACES = {
    "astronaut": ((178, 65, 91, 111), [(203.4, 103.6), (247.5, 104.4), (224.1, 127.7), (204.0, 143.1), (242.9, 143.7)]),
    "officer": ((177, 123, 178, 212), [(224.3, 197.3), (306.8, 195.6), (265.4, 238.9), (229.8, 274), (304.4, 272.3)]),
}


@pytest.fixture(scope="module")
def portraits():
    """The astronaut of scikit-image, who smiles, and the calm officer of matplotlib."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        officer = np.asarray(Image.open(file).convert("RGB"))
    return {"astronaut": skimage.data.astronaut(), "officer": officer}


@pytest.fixture(scope="module")
def classifier():
    return load_classifier(FOLDER)


def crop(portraits, name, detector):
    """Cuts the face out of a portrait as `involvit predict --faces` does."""
    if detector == "lbp":
        face = LBPDetector()(portraits[name])[0]
    else:
        box, landmarks = YUNET_FACES[name]
        face = Face(box, landmarks=np.array(landmarks, np.float32))
    return align_face(portraits[name], face, 80)


@pytest.mark.parametrize("detector", ["yunet", "lbp"])
@pytest.mark.parametrize(("name", "expression"), [("astronaut", "Happy"), ("officer", "Neutral")])
def test_it_sees_a_smile_and_a_calm_face_in_photographs(portraits, classifier, name, expression, detector):
    (probabilities,) = classifier([crop(portraits, name, detector)])
    assert LABELS[probabilities.argmax()] == expression


def test_grey_tinted_bright_and_dark_copies_of_a_face_get_the_same_answer(portraits, classifier):
    faces = [np.asarray(face.image) for face in rendered_faces(140, 96, seed=1)]
    faces += [crop(portraits, name, detector) for name in YUNET_FACES for detector in ("yunet", "lbp")]
    assert min(same_answers(classifier, faces).values()) >= 0.95


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
    Image.fromarray(crop(portraits, "astronaut", "lbp")).save(tmp_path / "smile.png")
    script = (
        "import sys, json; from transformers import pipeline;"
        f"classify = pipeline('image-classification', model={str(FOLDER)!r}, trust_remote_code=True);"
        f"print(json.dumps(classify({str(tmp_path / 'smile.png')!r}, top_k=7)));"
        "assert type(classify.model).__module__.startswith('transformers_modules')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120
    )
    rows = json.loads(run.stdout.splitlines()[-1])
    assert {row["label"] for row in rows} == set(LABELS)
    assert rows[0]["label"] == "Happy"
    assert sum(row["score"] for row in rows) == pytest.approx(1, abs=1e-4)


def test_its_card_gives_the_figures_of_its_report():
    report = json.loads((FOLDER / "report.json").read_text())
    results = {result.dataset_name: result for result in ModelCard.load(FOLDER / "README.md").data.eval_results}
    assert report["sources"].keys() == {"ferplus", "wildfaces"}
    text = (FOLDER / "README.md").read_text()
    for metrics in report["sources"].values():
        assert f"{metrics['accuracy']:.4f}" in text
        low, high = metrics["intervals"]["accuracy"]
        assert low < metrics["accuracy"] < high
    assert len(results) == 2


def test_it_agrees_with_the_majority_of_ten_people_more_often_than_one_of_them_does():
    report = json.loads((FOLDER / "report.json").read_text())
    ferplus = report["sources"]["ferplus"]
    assert report["run"]["votes"]
    assert ferplus["num_voted"] == ferplus["num_images"] == 3370
    assert ferplus["accuracy"] > 0.82 > ferplus["human_majority_share"] > ferplus["human_accuracy"]
    assert ferplus["agreement_with_person"] > ferplus["human_agreement_with_person"]
