"""`involvit push --space web` to a Hub on loopback."""

import json
from pathlib import Path

import pytest
import yaml

from .hub_server import HubServer, run

ROOT = Path(__file__).parents[3]
TOKEN = "hf_recognisableTokenOfAnna"

# Pushes each Space, with a page that is written at once, and prints what came of it.
PUSHER = """
import json, sys
from involvit.publishing import web_space

def export_web(directory, out):
    out.mkdir()
    for name in ("index.html", "settings.json", "model.onnx"):
        (out / name).write_text(f"{name} of {directory}")
    return out

web_space.export_web = export_web
for model in json.load(sys.stdin):
    try:
        outcome = str(web_space.push_web_space("outputs/faces", model))
    except ValueError as error:
        outcome = f"error: {error}"
    print("outcome", json.dumps(outcome), flush=True)
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """The server, and what came of each push by its name."""
    edited = "---\ntitle: My faces\nsdk: gradio\n---\n\nWords of mine.\n"
    names = ["anna/fer", "anna/fer", "anna/edited", "anna/other", "anna/open"]
    with HubServer({TOKEN: "anna"}) as server:
        for name in set(names):
            server.create_repo(name)
        server.repos["anna/open"].private = True
        server.create_repo("spaces/anna/edited", {"settings.json": b"{}", "README.md": edited.encode()})
        server.create_repo("spaces/anna/other", {"app.py": b"print()"})
        server.create_repo("spaces/anna/open")
        where = {"endpoint": server.url, "home": tmp_path_factory.mktemp("home"), "cwd": ROOT}
        process = run(PUSHER, **where, standard_input=json.dumps(names), HF_TOKEN=TOKEN)
        assert process.returncode == 0, process.stderr[-4000:]
        lines = [line.partition(" ")[2] for line in process.stdout.splitlines() if line.startswith("outcome ")]
        yield server, list(map(json.loads, lines))


def settings_of(space):
    return yaml.safe_load(space.files["README.md"].decode().split("---")[1])


def test_the_space_is_static_and_holds_the_page(pushed):
    server, outcomes = pushed
    space = server.repos["spaces/anna/fer"]
    assert outcomes[:2] == [f"{server.url}/spaces/anna/fer"] * 2
    assert space.sdk == "static" and len(space.commits) == 1  # the second push changed nothing
    assert set(space.files) == {"README.md", "index.html", "settings.json", "model.onnx"}
    settings = settings_of(space)
    assert (settings["sdk"], settings["app_file"], settings["models"]) == ("static", "index.html", ["anna/fer"])
    assert "stay on your device" in " ".join(space.files["README.md"].decode().split())


def test_what_is_written_by_hand_stays(pushed):
    server, _ = pushed
    space = server.repos["spaces/anna/edited"]
    assert settings_of(space) == {
        "title": "My faces",
        "sdk": "static",
        "app_file": "index.html",
        "models": ["anna/edited"],
    }
    assert space.files["README.md"].decode().endswith("\nWords of mine.\n")


def test_a_space_of_something_else_or_a_public_one_of_a_private_model_is_left_alone(pushed):
    server, outcomes = pushed
    assert outcomes[3].startswith("error: the Space anna/other holds something else; rename it")
    assert outcomes[4].startswith("error: the model anna/open is private, but its Space is public")
    assert server.repos["spaces/anna/other"].files == {"app.py": b"print()"}
    assert server.repos["spaces/anna/open"].files == {}
