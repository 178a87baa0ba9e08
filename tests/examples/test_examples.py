"""The scripts of `examples/`, run on a few drawn faces as their docstrings say."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import load_dataset
from PIL import Image
from safetensors import safe_open
from transformers import AutoImageProcessor, AutoModelForImageClassification

from dataset_script.rendered.rendered_faces import rendered_faces
from modeling_involvit import LABELS

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "checkpoints" / "involvit-tiny"

# Runs scripts one after the other, so that the libraries are imported once, and marks where each begins.
RUNNER = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    print("=== script", flush=True)
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of drawn faces: `faces`, of the seven classes, and `own`, of two that the model does not know."""
    root = tmp_path_factory.mktemp("examples")
    names = {"Neutral": "calm", "Happy": "smiling"}
    for face in rendered_faces(56, 96, seed=5):
        paths = [root / "faces" / face.path]
        if LABELS[face.label] in names:
            paths.append(root / "own" / names[LABELS[face.label]] / Path(face.path).name)
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            face.image.save(path)
    return root


@pytest.fixture(scope="module")
def printed(folders):
    """What each script printed."""
    jobs = {
        "trainer": ["finetune_with_trainer.py", "faces", "trained"],
        "own": ["finetune_with_trainer.py", "own", "trained_own"],
        "lora": ["finetune_with_lora.py", "faces", "adapter"],
        "pipeline": ["predict_with_pipeline.py", "faces", "faces.csv"],
    }
    words = [[f"examples/{script}", *(str(folders / path) for path in paths)] for script, *paths in jobs.values()]
    command = [sys.executable, "-c", RUNNER, json.dumps(words)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    return dict(zip(jobs, result.stdout.split("=== script")[1:], strict=True))


def load(path):
    model = AutoModelForImageClassification.from_pretrained(path, trust_remote_code=True)
    return model.eval(), AutoImageProcessor.from_pretrained(path, trust_remote_code=True)


def logits_of(path, images):
    model, processor = load(path)
    with torch.inference_mode():
        return model(**processor(images, return_tensors="pt")).logits


def loss_of(path, rows):
    return torch.nn.functional.cross_entropy(logits_of(path, rows["image"]), torch.tensor(rows["label"])).item()


@pytest.fixture(scope="module")
def split(folders):
    """The faces as the scripts split them, with the model's numbers for labels."""
    faces = load_dataset("imagefolder", data_dir=str(folders / "faces"), split="train")
    faces = faces.align_labels_with_mapping({label: index for index, label in enumerate(LABELS)}, "label")
    return faces.train_test_split(test_size=0.2, seed=42, stratify_by_column="label")


def evaluation_losses(text):
    return [float(value) for value in re.findall(r"'eval_loss': '?([0-9.e-]+)", text)]


def test_a_fine_tuned_model_is_better_on_its_faces_keeps_its_classes_and_brings_its_code(printed, folders, split):
    before, after = (loss_of(path, split["train"][:]) for path in (MODEL, folders / "trained"))
    assert after < 0.8 * before
    config = json.loads((folders / "trained" / "config.json").read_text())
    assert list(config["id2label"].values()) == list(LABELS)
    assert (folders / "trained" / "modeling_involvit.py").exists()
    losses = evaluation_losses(printed["trainer"])
    assert len(losses) == 3 and "eval_accuracy" in printed["trainer"]
    assert loss_of(folders / "trained", split["test"][:]) == pytest.approx(losses[-1], rel=2e-3)


def test_other_classes_give_the_model_a_new_head(printed, folders):
    model, _ = load(folders / "trained_own")
    assert model.config.id2label == {0: "calm", 1: "smiling"}
    assert model.classifier.out_features == 2


def test_an_adapter_gives_what_it_gave_in_training_and_leaves_the_statistics_alone(printed, folders, split):
    merged = folders / "adapter" / "merged"
    losses = evaluation_losses(printed["lora"])
    assert loss_of(merged, split["test"][:]) == pytest.approx(losses[-1], rel=2e-3)
    assert loss_of(merged, split["train"][:]) < 0.95 * loss_of(MODEL, split["train"][:])
    with safe_open(folders / "adapter" / "adapter_model.safetensors", framework="pt") as adapter:
        assert all("lora_" in name or "classifier" in name for name in adapter.keys())  # noqa: SIM118
    before, after = (load(path)[0].state_dict() for path in (MODEL, merged))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(re.search(r"qkv|fc1|fc2|classifier", name) for name in changed)


def test_the_table_has_a_row_for_each_face_with_what_the_model_answers(printed, folders):
    with (folders / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {str(path) for path in (folders / "faces").rglob("*.png")}
    logits = logits_of(MODEL, [Image.open(row["file"]) for row in rows])
    for row, probabilities in zip(rows, logits.softmax(dim=1).tolist(), strict=True):
        assert [float(row[label]) for label in LABELS] == pytest.approx(probabilities, abs=2e-4)
        assert row["label"] == LABELS[max(range(len(LABELS)), key=probabilities.__getitem__)]
