"""`involvit push --space` to a Hub on loopback, and the Space that it makes, started as the Hub starts it."""

import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from .card_reports import report_of
from .hub_server import HubServer, free_port, run, user_environment

ROOT = Path(__file__).parents[3]
TOKEN = "hf_recognisableTokenOfAnna"

# Runs the command for each list of words, and prints its exit status and what it said.
PUSHER = """
import contextlib, io, json, logging, sys
from involvit.cli import main
for words in json.load(sys.stdin):
    said, complained = io.StringIO(), io.StringIO()
    logging.basicConfig(format="%(message)s", stream=complained, force=True)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        status = main(["push", *words])
    print("outcome", json.dumps([status, said.getvalue().split(), complained.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that passes for a model's."""
    path = tmp_path_factory.mktemp("runs") / "faces"
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "vit", "id2label": {"0": "Happy", "1": "Sad"}}')
    save_file({"weight": np.zeros(10, np.float32)}, path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model that learned from votes."""
    path = tmp_path_factory.mktemp("models") / "secret"
    widths = {"rednet_depths": (1, 1), "rednet_widths": (64, 128), "rednet_stem_channels": 32}
    InvolViTForImageClassification(InvolViTConfig(image_size=32, branches="rednet", **widths)).save_pretrained(path)
    InvolViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    report = report_of("faces.zip")
    report["run"]["votes"] = True
    (path / "report.json").write_text(json.dumps(report))
    return path


@pytest.fixture(scope="module")
def pushed(folder, model, tmp_path_factory):
    """The server, and what came of each push by its name."""
    ours = {"app.py": b"", "involvit/cli.py": b"", "involvit/gone.py": b"", "notes/mine.md": b"Mine."}
    edited = "---\ntitle: My faces\nsdk: gradio\nsdk_version: 4.0.0\nhf_oauth: true\n---\n\nWords of mine.\n"
    jobs = {
        "public": [folder, "fer", "--space"],
        "again": [folder, "anna/fer", "--space"],
        "without": [folder, "anna/plain"],
        "private": [model, "anna/secret", "--private", "--space"],
        "edited": [folder, "anna/edited", "--space", "gradio"],
        "other_app": [folder, "anna/other", "--space"],
        "open_space": [folder, "anna/open", "--private", "--space"],
        "overloaded": [folder, "anna/overloaded", "--space"],
    }
    with HubServer({TOKEN: "anna"}) as server:
        server.create_repo("spaces/anna/edited", {**ours, "README.md": edited.encode()})
        server.create_repo("spaces/anna/other", {"app.py": b"print()"})
        server.create_repo("spaces/anna/open", ours)
        server.fail("create", "spaces/anna/overloaded", 503)
        script = PUSHER.replace("from involvit", "import time; time.sleep = lambda seconds: None\nfrom involvit", 1)
        words = json.dumps([list(map(str, one)) for one in jobs.values()])
        where = {"endpoint": server.url, "home": tmp_path_factory.mktemp("home"), "cwd": ROOT}
        process = run(script, **where, standard_input=words, HF_TOKEN=TOKEN)
        assert process.returncode == 0, process.stderr[-4000:]
        lines = [line.partition(" ")[2] for line in process.stdout.splitlines() if line.startswith("outcome ")]
        yield server, dict(zip(jobs, map(json.loads, lines), strict=True))


def settings_of(space):
    return yaml.safe_load(space.files["README.md"].decode().split("---")[1])


def test_one_command_makes_the_model_and_its_space(pushed):
    server, outcomes = pushed
    assert outcomes["public"] == [0, [f"{server.url}/anna/fer", f"{server.url}/spaces/anna/fer"], ""]
    space = server.repos["spaces/anna/fer"]
    assert (space.private, space.sdk, len(space.commits)) == (False, "gradio", 1)
    settings = settings_of(space)
    assert settings["models"] == ["anna/fer"] and settings["license"] == "apache-2.0"
    assert settings["app_file"] in space.files and settings["title"] == "fer"
    assert len(settings["short_description"]) <= 60  # the Hub's limit
    assert b"Apache License" in space.files["LICENSE"]
    assert b'"--model", "anna/fer"' in space.files["app.py"]


def test_the_space_installs_what_the_package_and_its_app_need(pushed):
    server, _ = pushed
    space = server.repos["spaces/anna/fer"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["app"]
    lines = space.files["requirements.txt"].decode().splitlines()
    assert sorted(lines) == sorted(needed)
    settings = settings_of(space)
    assert f"gradio[mcp]>={settings['sdk_version'].removesuffix('.0')}" in needed
    assert project["requires-python"] == f">={settings['python_version']}"


def test_the_space_holds_the_code_and_no_weights(pushed):
    server, _ = pushed
    files = server.repos["spaces/anna/fer"].files
    assert files["involvit/app/page.py"] == (ROOT / "involvit" / "app" / "page.py").read_bytes()
    assert not [name for name in files if name.endswith((".safetensors", ".pyc"))]
    assert sum(map(len, files.values())) < 3_000_000


def test_pushing_the_same_again_changes_nothing_and_without_the_flag_there_is_no_space(pushed):
    server, outcomes = pushed
    assert outcomes["again"] == outcomes["public"]
    assert len(server.repos["spaces/anna/fer"].commits) == 1
    assert outcomes["without"][0] == 0 and "spaces/anna/plain" not in server.repos


def test_the_space_of_a_private_model_is_private_and_its_owner_is_told_of_the_token(pushed):
    server, (status, said, complained) = pushed[0], pushed[1]["private"]
    assert status == 0 and server.repos["spaces/anna/secret"].private
    assert complained.count("\n") == 1
    assert "read access into the secret HF_TOKEN" in complained and f"{said[1]}/settings" in complained
    assert TOKEN not in complained
    assert not [content for content in server.repos["spaces/anna/secret"].files.values() if TOKEN.encode() in content]


def test_what_is_written_by_hand_stays_and_what_is_ours_is_brought_up_to_date(pushed):
    server, _ = pushed
    space = server.repos["spaces/anna/edited"]
    settings = settings_of(space)
    assert (settings["title"], settings["hf_oauth"]) == ("My faces", True)
    assert settings["sdk_version"] == settings_of(server.repos["spaces/anna/fer"])["sdk_version"]
    assert settings["models"] == ["anna/edited"]
    assert space.files["README.md"].decode().endswith("\nWords of mine.\n")
    assert "involvit/gone.py" not in space.files and space.files["notes/mine.md"] == b"Mine."


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("other_app", "the Space anna/other holds another app; rename it"),
        ("open_space", "its Space is public; make it private in its settings"),
        ("overloaded", "overloaded or out of order (503); run the same again later"),
    ],
)
def test_a_space_that_cannot_be_made_is_one_line_after_the_model(pushed, name, says):
    server, (status, said, complained) = pushed[0], pushed[1][name]
    assert status == 2 and len(said) == 1  # the model's address
    assert complained.startswith("error: ") and says in complained and complained.count("\n") == 1
    assert not getattr(server.repos.get(f"spaces/{said[0].removeprefix(server.url + '/')}"), "commits", [])


def test_the_space_starts_and_shows_its_private_model(pushed, tmp_path):
    server, _ = pushed
    for name, content in server.repos["spaces/anna/secret"].files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    page = tmp_path / "involvit" / "app" / "page.py"
    page.write_text(page.read_text().replace("# InvolViT", "# Code of the Space"))
    port = free_port()
    environment = user_environment(server.url, tmp_path / "home") | {"HF_TOKEN": TOKEN, "GRADIO_SERVER_PORT": str(port)}
    app = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment)
    try:
        config, deadline = None, time.monotonic() + 240
        while config is None and time.monotonic() < deadline and app.poll() is None:
            try:
                config = httpx.get(f"http://127.0.0.1:{port}/config").text
            except httpx.HTTPError:
                time.sleep(0.5)
    finally:
        app.terminate()
        app.wait(60)
    assert config is not None, "it did not start"
    assert "# Code of the Space" in config
    assert "anna/secret" in config  # the model, of which About shows the card
    assert "6 of 10 people would say Happy" in config
