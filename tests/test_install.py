"""The wheel in an environment of its own, with what its base brings and nothing else: `make test-install`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import skimage
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an environment `env` into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("install")
    for command in ("uv build --quiet --wheel --out-dir . {root}", "uv venv --quiet --python {python} env"):
        subprocess.run(command.format(root=ROOT, python=sys.executable).split(), cwd=folder, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", "env", wheel], cwd=folder, check=True)
    return folder


def run(folder, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["env/bin/involvit", *words], cwd=folder, capture_output=True, text=True)


@pytest.mark.install
def test_the_base_predicts(folder):
    Image.fromarray(skimage.data.astronaut()).save(folder / "astronaut.png")
    result = run(folder, "predict", "astronaut.png", "--faces")
    assert re.fullmatch(r"astronaut\.png: face \d+ x \d+ at \d+, \d+: Happy \d+%.*\n", result.stdout), result.stderr


@pytest.mark.install
def test_training_names_its_extra(folder):
    result = run(folder, "train", "--out", "out")
    assert result.returncode == 2
    assert re.fullmatch(r"error: .*pip install 'involvit\[train\]'\n", result.stderr)
