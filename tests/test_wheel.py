"""An installed wheel, away from the checkout: with the dependencies of its base alone, and with those of all extras."""

import contextlib
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pytest
import skimage
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]


def canonical(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def closure(names: set[str]) -> set[str]:
    """Returns the distributions and, recursively, what they need without any extra of theirs."""
    found, pending = set(), {canonical(name) for name in names}
    while pending:
        name = pending.pop()
        found.add(name)
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # for another system
            continue
        pending |= {canonical(one) for one in needed if "extra ==" not in one} - found
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    source = tmp_path_factory.mktemp("source")  # setuptools leaves its files where it builds
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder like the site-packages where only what the base needs was installed."""
    folder = tmp_path_factory.mktemp("base")
    for name in closure({one for one in importlib.metadata.requires("involvit") if "extra ==" not in one}):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another system
            continue
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
    return folder


@pytest.fixture
def run(installed, base, tmp_path):
    """Returns a function that runs `involvit` in an empty folder."""

    def run(*words: str, module: str = "involvit", extras: bool = True) -> subprocess.CompletedProcess[str]:
        paths, options = ([installed], []) if extras else ([installed, base], ["-S"])
        return subprocess.run(
            [sys.executable, "-P", *options, "-m", module, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "TQDM_DISABLE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_it_holds_the_default_model_the_metric_and_no_tests(installed):
    assert (installed / "involvit" / "default_model" / "model.safetensors").exists()
    assert (installed / "involvit" / "fer_report" / "fer_report.py").exists()
    web = installed / "involvit" / "publishing" / "web"
    assert {"index.html.jinja", "page.js", "style.css"} <= {path.name for path in web.iterdir()}
    assert not list(installed.glob("**/test_*.py"))


def test_the_base_predicts(run, tmp_path):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "astronaut.png")
    result = run("predict", "astronaut.png", "--faces", extras=False)
    assert result.returncode == 0, result.stderr
    assert re.match(r"astronaut\.png: face \d+ x \d+ at \d+, \d+: Happy \d+%", result.stdout)


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["train"], "train"),
        (["evaluate", "--data", "rendered"], "evaluate"),
        (["robustness", "--data", "rendered"], "evaluate"),
        (["audit", "--data", "rendered"], "evaluate"),
        (["study", "--config", "recipe.yaml"], "evaluate"),
        (["export", "folder", "--out", "model.onnx"], "onnx"),
        (["app"], "app"),
        (["predict", "face.png", "--model", "model.onnx"], "onnx"),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(run, tmp_path, words, extra):
    for name in ("face.png", "model.onnx"):
        (tmp_path / name).write_bytes(b"")
    result = run(*words, extras=False)
    assert result.returncode == 2
    assert re.fullmatch(rf"error: (?!.*None).*pip install 'involvit\[{extra}\]'\n", result.stderr)


def test_the_base_pushes(run, tmp_path):
    (tmp_path / "model").mkdir()
    result = run("push", "model", "me/model", extras=False)
    assert result.stderr.startswith("error: model/config.json is missing; give a model's folder")


def test_data_sets_are_built_with_the_extra_data(run):
    result = run("build", "--data", "faces.zip", "--out", "faces", module="dataset_script", extras=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "pip install 'involvit[data]'" in result.stderr


RECIPE = """
model: {image_size: 32, rednet_depths: [1, 1], rednet_widths: [64, 128], rednet_stem_channels: 32, branches: rednet}
data: rendered
rendered_images: 70
rendered_size: 96
num_epochs: 1
batch_size: 32
gradient_accumulation_steps: 1
num_workers: 0
"""


def test_it_trains_in_an_empty_folder(run, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    result = run("train", "--config", "recipe.yaml", "--out", "run")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["run"]["steps"] == 2  # 63 images of 70


def test_it_studies_in_an_empty_folder(run, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ["--variants", "rednet", "--splits", "group", "--repeats", "1", "--out", "study"]
    words += ["--set", "model.branches=fusion", "--set", "max_steps=1", "--set", "num_threads=1"]
    result = run("study", "--config", "recipe.yaml", *words)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "study" / "report" / "report.json").read_text())
    assert [(run["split"], run["train_images"]) for run in report["runs"]] == [("group", 63)]
    saved = yaml.safe_load((tmp_path / "study" / "runs" / "rednet" / "group" / "seed42" / "recipe.yaml").read_text())
    assert saved["model"]["branches"] == "rednet"
    assert (saved["max_steps"], saved["split"]) == (1, "group")


def test_the_app_answers_in_an_empty_folder_and_leaves_nothing_of_its_visitors(installed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = tmp_path / "files"
    files.mkdir()
    settings = {"PYTHONPATH": str(installed), "TMPDIR": str(files), "GRADIO_SERVER_PORT": str(port)}
    app = subprocess.Popen(
        [sys.executable, "-P", "-m", "involvit", "app"], cwd=tmp_path, env={**os.environ, **settings}
    )
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and app.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                answer = httpx.get(f"http://127.0.0.1:{port}")
                break
            time.sleep(0.5)
        assert answer.status_code == 200
        assert list(files.glob("involvit_app_*/results"))
        app.terminate()
        app.wait(60)
        assert not list(files.glob("involvit_app_*"))
    finally:
        app.kill()
