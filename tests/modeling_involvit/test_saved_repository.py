"""A saved model as a stranger meets it: a folder with weights, configuration and code, and no InvolViT installed."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers.dynamic_module_utils import get_imports, get_relative_imports

import modeling_involvit
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from .involvit_reference import TINY, randomize

SOURCES = sorted(Path(modeling_involvit.__file__).parent.glob("*.py"))
STRANGER = Path(__file__).with_name("stranger.py")


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """What the stranger's process got from the folder, beside what this process expects."""
    root = tmp_path_factory.mktemp("stranger")
    repository, copy, elsewhere = root / "modèle, 笑い", root / "saved-again", root / "elsewhere"
    elsewhere.mkdir()
    model = randomize(InvolViTForImageClassification(InvolViTConfig(**TINY))).eval()
    processor = InvolViTImageProcessor(size={"height": 64, "width": 64})
    model.save_pretrained(repository)
    processor.save_pretrained(repository)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "face.png")

    arguments = [repository, copy, root / "face.png", root / "results"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(root / "hf"), "HF_HUB_OFFLINE": "1"}
    process = subprocess.run(
        [sys.executable, "-I", str(STRANGER), *map(str, arguments)],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-4000:]

    pixel_values = processor(Image.open(root / "face.png"), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = {
            "pixel_values": pixel_values,
            "logits": model(pixel_values).logits,
            "pooled": model.involvit(pixel_values).pooler_output,
        }
    report = json.loads((root / "results.json").read_text())
    return repository, copy, load_file(root / "results.safetensors"), report, expected


def test_the_stranger_ran_the_repositorys_code_and_nothing_of_the_project(visit):
    _, _, _, report, _ = visit
    assert report["project_modules"] == []
    assert set(report["used"]) == {"InvolViTConfig", "InvolViTImageProcessor", "InvolViTForImageClassification"}
    assert all(module.startswith("transformers_modules.") for module in report["used"].values())


@pytest.mark.parametrize("source", ["first", "again"])
def test_auto_classes_give_the_same_values_also_when_saved_once_more(visit, source):
    _, _, got, _, expected = visit
    for name, value in expected.items():
        torch.testing.assert_close(got[f"{source}.{name}"], value, rtol=0, atol=1e-5)


def test_the_pipeline_gives_the_same_scores(visit):
    _, _, _, report, expected = visit
    scores = {entry["label"]: entry["score"] for entry in report["scores"]}
    probabilities = expected["logits"][0].softmax(dim=0).tolist()
    labels = [report["labels"][str(index)] for index in range(7)]
    assert labels == ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    assert scores == pytest.approx(dict(zip(labels, probabilities, strict=True)), abs=1e-5)


def test_the_folder_holds_weights_configurations_and_the_code_they_need(visit):
    repository, copy, *_ = visit
    code = {path.name for path in SOURCES} - {"__init__.py", "checkpoints.py", "folding.py", "cpu_layers.py"}
    expected = code | {"config.json", "model.safetensors", "preprocessor_config.json"}
    for folder in (repository, copy):
        assert {path.name for path in folder.iterdir()} == expected
        for name in code:
            assert (folder / name).read_text() == SOURCES[0].with_name(name).read_text()


# ---- what transformers asks of code that travels with a model: its search for imports is a regular expression


def imports(path):
    """Yields (level, module, names) of each import statement, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((0, alias.name, []) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_relative_imports_are_of_siblings_and_found_by_transformers(path):
    siblings = {source.stem for source in SOURCES}
    relative = [(level, module) for level, module, _ in imports(path) if level]
    assert all(level == 1 and module in siblings for level, module in relative), relative
    assert sorted(get_relative_imports(path)) == sorted({module for _, module in relative})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_else_is_needed_than_the_declared_libraries(path):
    allowed = {"torch", "torchvision", "timm", "transformers", "huggingface_hub", "safetensors", "numpy", "PIL"}
    # As transformers sees it: what stands in a try block is optional.
    assert {module.partition(".")[0] for module in get_imports(path)} <= allowed | sys.stdlib_module_names
