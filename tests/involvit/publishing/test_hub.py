"""Pushing to a Hub on loopback. Where the Hub is, is read at import: each push runs in a process of its own."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from involvit.publishing import hub
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from .hub_server import HubServer, run

ROOT = Path(__file__).parents[3]
TOKEN = "hf_recognisableTokenOfAnna"
WRONG_TOKEN = "hf_recognisableTokenOfNobody"
CARD = "---\nlicense: mit\nlanguage: en\n---\n\n# Edited on the Hub\n\nWords of mine.\n"

# Runs pushes one after the other and prints a line of JSON for each.
PUSHER = """
import json, os, pathlib, sys, time
wait = time.sleep
time.sleep = lambda seconds: wait(min(seconds, 0.01))  # the pauses between tries
from huggingface_hub import constants
from involvit.publishing.hub import push_folder
login = pathlib.Path(constants.HF_TOKEN_PATH)
for job in json.load(sys.stdin):
    os.environ.pop("HF_TOKEN", None)
    login.unlink(missing_ok=True)
    token, logged_in = job.pop("token"), job.pop("logged_in")
    if logged_in:
        login.parent.mkdir(parents=True, exist_ok=True)
        login.write_text(token)
    elif token:
        os.environ["HF_TOKEN"] = token
    try:
        outcome = {"url": push_folder(**job)}
    except ValueError as error:
        outcome = {"error": str(error), "type": type(error).__name__}
    login.unlink(missing_ok=True)
    print("outcome", json.dumps(outcome), flush=True)
"""

# Loads a model by its name on the Hub, as somebody without the project does.
STRANGER = """
import json, sys
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained("anna/fer", trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained("anna/fer", trust_remote_code=True)
project = [name for name in sys.modules if name.partition(".")[0] in ("modeling_involvit", "involvit")]
logits = model(load_file(sys.argv[1])["pixel_values"]).logits
print(json.dumps({
    "modules": [type(model).__module__, type(processor).__module__], "project": project, "logits": logits.tolist()
}))
"""


def push(jobs, endpoint, home, **environment):
    """Pushes in one process, and returns the outcomes by name and all that was printed."""
    defaults = {"token": TOKEN, "logged_in": False, "private": False}
    jobs = {
        name: defaults | {k: str(v) if isinstance(v, Path) else v for k, v in job.items()} for name, job in jobs.items()
    }
    standard_input = json.dumps(list(jobs.values()))
    process = run(PUSHER, endpoint=endpoint, home=home, cwd=ROOT, standard_input=standard_input, **environment)
    assert process.returncode == 0, process.stderr[-4000:]
    lines = [line.partition(" ")[2] for line in process.stdout.splitlines() if line.startswith("outcome ")]
    return dict(zip(jobs, map(json.loads, lines), strict=True)), process.stdout + process.stderr


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = InvolViTConfig(
        image_size=32,
        rednet_depths=(1, 1),
        rednet_widths=(64, 128),
        rednet_stem_channels=32,
        vit_backbone_layers=(1,),
        vit_backbone_channels=(128,),
        vit_stem_channels=32,
        vit_hidden_size=32,
        vit_num_layers=1,
        vit_num_heads=1,
        fusion_channels=16,
    )
    return InvolViTForImageClassification(config).eval()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A run's folder: the model as a Hub repository, and beside it what is nobody's business."""
    path = tmp_path_factory.mktemp("runs") / "faces"
    model.save_pretrained(path)
    InvolViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    (path / "model_int8.onnx").write_bytes(b"onnx")
    (path / "confusion_matrix.png").write_bytes(b"png")
    for name in ("checkpoints/step_1/model.safetensors", "logs/events", "best/config.json", "unfinished/config.json"):
        (path / name).parent.mkdir(parents=True)
        (path / name).write_bytes(b"{}")
    for name in ("recipe.yaml", "face_of_anna.png", ".unfinished_report.json", "notes.txt"):
        (path / name).write_bytes(b"private")
    (path / "README.md").write_text("# faces\n\nWords of mine.\n")
    return path


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    """Returns a function that makes a folder that passes for a model, with weights unlike any other's."""
    root = tmp_path_factory.mktemp("small")

    def make(name):
        path = root / name
        path.mkdir()
        (path / "config.json").write_text('{"model_type": "vit", "id2label": {"0": "Happy", "1": "Sad"}}')
        weights = np.random.default_rng(len(list(root.iterdir()))).normal(size=1000).astype(np.float32)
        save_file({"weight": weights}, path / "model.safetensors")
        return path

    return make


@pytest.fixture(scope="module")
def pushed(folder, small_folder, tmp_path_factory):
    """What came of the pushes, all that their process printed, the server, and the home of the caches."""
    home = tmp_path_factory.mktemp("home")
    with HubServer({TOKEN: "anna", "hf_tokenOfBen": "ben"}) as server:
        server.fail("upload", "anna/cut-upload", times=6)  # as often as huggingface_hub tries
        server.fail("commit", "anna/cut-commit", times=1)
        server.fail("committed", "anna/cut-answer", times=1)
        server.fail("create", "anna/overloaded", 503)
        server.fail("create", "anna/echo", 418)
        server.fail("commit", "anna/changed", 412)
        other = small_folder("other")
        cut = {name: small_folder(name) for name in ("cut-upload", "cut-commit", "cut-answer")}
        edited = small_folder("edited")
        server.create_repo("anna/edited", {"README.md": CARD.encode()})
        server.create_repo("ben/fer")
        jobs = {
            "first": {"directory": folder, "repo_id": "anna/fer"},
            "again": {"directory": folder, "repo_id": "anna/fer"},
            "logged_in": {"directory": other, "repo_id": "anna/logged-in", "logged_in": True},
            "own_name": {"directory": other, "repo_id": "short-name"},
            "private": {"directory": other, "repo_id": "anna/secret", "private": True},
            "private_but_public": {"directory": other, "repo_id": "anna/fer", "private": True},
            "edited": {"directory": edited, "repo_id": "anna/edited"},
            "no_token": {"directory": other, "repo_id": "anna/new", "token": None},
            "wrong_token": {"directory": other, "repo_id": "anna/new", "token": WRONG_TOKEN},
            "odd_token": {"directory": other, "repo_id": "anna/new", "token": f"{TOKEN}\x01"},
            "taken": {"directory": other, "repo_id": "ben/fer"},
            "foreign": {"directory": other, "repo_id": "ben/new"},
            "bad_name": {"directory": other, "repo_id": "anna/has space"},
            "overloaded": {"directory": other, "repo_id": "anna/overloaded"},
            "echo": {"directory": other, "repo_id": "anna/echo"},
            "changed": {"directory": other, "repo_id": "anna/changed"},
            **{name: {"directory": path, "repo_id": f"anna/{name}"} for name, path in cut.items()},
            **{f"{name} again": {"directory": path, "repo_id": f"anna/{name}"} for name, path in cut.items()},
        }
        outcomes, printed = push(jobs, server.url, home)
        yield outcomes, printed, server, home


# ---- what arrives


def test_one_commit_holds_what_belongs_to_the_model_and_nothing_else(pushed, folder):
    outcomes, _, server, _ = pushed
    repo = server.repos["anna/fer"]
    assert outcomes["first"] == {"url": f"{server.url}/anna/fer"}
    assert len(repo.commits) == 1
    code = {path.name for path in folder.glob("*.py")}
    assert "modeling_involvit.py" in code
    assert set(repo.files) == code | {
        *("README.md", "config.json", "preprocessor_config.json", "model.safetensors", "model_int8.onnx"),
        "confusion_matrix.png",
    }
    card = repo.files.pop("README.md")
    for name, content in repo.files.items():
        assert content == (folder / name).read_bytes()
    assert b'model="anna/fer", trust_remote_code=True' in card
    assert b"Words of mine." in card
    assert (folder / "README.md").read_text() == "# faces\n\nWords of mine.\n"  # nothing is written here


def test_from_pretrained_by_name_gives_the_same_logits_to_a_stranger(pushed, model, tmp_path):
    _, _, server, _ = pushed
    pixel_values = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    save_tensors({"pixel_values": pixel_values}, tmp_path / "pixels.safetensors")
    process = run(STRANGER, tmp_path / "pixels.safetensors", endpoint=server.url, home=tmp_path / "home", cwd=tmp_path)
    assert process.returncode == 0, process.stderr[-4000:]
    result = json.loads(process.stdout.splitlines()[-1])
    assert all(module.startswith("transformers_modules.anna.fer.") for module in result["modules"])
    assert result["project"] == []
    with torch.inference_mode():
        torch.testing.assert_close(torch.tensor(result["logits"]), model(pixel_values).logits, rtol=1e-5, atol=1e-5)


def test_pushing_the_same_again_changes_nothing(pushed):
    outcomes, _, server, _ = pushed
    assert outcomes["again"] == outcomes["first"]
    assert len(server.repos["anna/fer"].commits) == 1


def test_a_login_is_as_good_as_the_variable_and_a_name_alone_is_of_the_tokens_owner(pushed):
    outcomes, _, server, _ = pushed
    assert outcomes["logged_in"] == {"url": f"{server.url}/anna/logged-in"}
    assert outcomes["own_name"] == {"url": f"{server.url}/anna/short-name"}
    assert "model.safetensors" in server.repos["anna/short-name"].files


def test_private_reaches_the_hub(pushed):
    outcomes, _, server, _ = pushed
    assert "url" in outcomes["private"]
    assert server.repos["anna/secret"].private
    assert not server.repos["anna/fer"].private


def test_a_public_repository_does_not_get_what_was_to_be_private(pushed):
    outcomes, _, server, _ = pushed
    assert "exists and is public" in outcomes["private_but_public"]["error"]
    assert len(server.repos["anna/fer"].commits) == 1


def test_a_card_edited_on_the_hub_keeps_its_words(pushed):
    _, _, server, _ = pushed
    card = server.repos["anna/edited"].files["README.md"].decode()
    assert "# Edited on the Hub\n\nWords of mine.\n" in card
    assert "license: mit" in card
    assert "language: en" in card
    assert "None were measured" in card


# ---- what does not


@pytest.mark.parametrize(
    ("name", "says", "advises"),
    [
        ("no_token", "no token", "hf auth login"),
        ("wrong_token", "does not accept the token", "hf auth login"),
        ("odd_token", "characters that no token has", "hf auth login"),
        ("taken", "belongs to somebody else", "choose a name under your own account"),
        ("foreign", "belongs to somebody else", "choose a name under your own account"),
        ("bad_name", "'anna/has space' cannot name a repository", "give OWNER/NAME"),
        ("overloaded", "overloaded or out of order", "again later"),
        ("echo", "told to fail, for Bearer [token]", ""),
        ("changed", "changed by somebody else", "again"),
        ("cut-upload", "was lost", "run the same command again"),
        ("cut-commit", "was lost", "run the same command again"),
        ("cut-answer", "was lost", "run the same command again"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(pushed, name, says, advises):
    outcomes, _, _, _ = pushed
    assert outcomes[name]["type"] == "PushError"
    message = outcomes[name]["error"]
    assert says in message
    assert advises in message
    assert "\n" not in message


def test_nothing_but_the_outcomes_and_progress_is_printed_and_never_a_token(pushed, folder):
    _, printed, _, home = pushed
    assert "hf_recognisable" not in printed
    assert "Traceback" not in printed
    assert "Retrying" not in printed
    files = [path for place in (home, folder) for path in place.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hf_recognisable" in path.read_bytes()]


def test_what_failed_before_the_commit_left_no_commit(pushed):
    _, _, server, _ = pushed
    assert not server.repos["ben/fer"].commits
    assert not server.repos["anna/changed"].commits
    assert {"anna/new", "ben/new", "anna/overloaded"}.isdisjoint(server.repos)


@pytest.mark.parametrize("name", ["cut-upload", "cut-commit", "cut-answer"])
def test_a_push_that_broke_off_is_completed_by_running_it_again(pushed, name):
    outcomes, _, server, _ = pushed
    assert "url" in outcomes[f"{name} again"]
    repo = server.repos[f"anna/{name}"]
    assert len(repo.commits) == 1
    assert set(repo.files) == {"README.md", "config.json", "model.safetensors"}
    assert server.uploads[f"anna/{name}"] == 1  # nothing that had arrived was sent again


@pytest.mark.parametrize(
    ("environment", "says"),
    [({"HF_HUB_OFFLINE": "1"}, "offline mode; unset HF_HUB_OFFLINE"), ({}, "could not be made .*refused")],
)
def test_without_a_network_there_is_one_line(small_folder, tmp_path, environment, says):
    path = small_folder(f"no-network-{len(environment)}")
    with HubServer({}) as server:  # its port is free again afterwards
        endpoint = server.url
    outcomes, printed = push({"it": {"directory": path, "repo_id": "anna/fer"}}, endpoint, tmp_path, **environment)
    assert re.search(says, outcomes["it"]["error"])
    assert "Traceback" not in printed


# ---- what is no model, found before the Hub is asked


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_a_file_of_the_model_is_refused(small_folder, name):
    path = small_folder(f"without-{name}")
    (path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; give a model's folder"):
        hub.push_folder(path, "anna/fer")


def test_a_folder_without_the_code_that_its_config_names_is_refused(small_folder):
    path = small_folder("without-code")
    auto_map = {"AutoConfig": "configuration_involvit.InvolViTConfig", "AutoModel": "other/repo--modeling.Model"}
    (path / "config.json").write_text(json.dumps({"auto_map": auto_map}))
    with pytest.raises(FileNotFoundError, match=r"configuration_involvit\.py is missing"):
        hub.push_folder(path, "anna/fer")
    (path / "config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["slow.Tokenizer", None]}}))
    with pytest.raises(FileNotFoundError, match=r"slow\.py is missing"):
        hub.push_folder(path, "anna/fer")
    (path / "config.json").write_text(json.dumps({"auto_map": "slow.Tokenizer"}))
    with pytest.raises(ValueError, match=r"config\.json: its auto_map is no table of classes"):
        hub.push_folder(path, "anna/fer")


def test_weights_that_are_cut_off_are_refused(small_folder):
    path = small_folder("cut-off")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut off or damaged"):
        hub.push_folder(path, "anna/fer")
    weights.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n")
    with pytest.raises(ValueError, match=r"model\.safetensors is a Git LFS pointer, .* run `git lfs pull`"):
        hub.push_folder(path, "anna/fer")


def test_weights_in_several_files_are_all_pushed_and_each_must_be_there(model, pushed, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    (index,) = tmp_path.glob("*.index.json")
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    outcomes, _ = push({"sharded": {"directory": tmp_path, "repo_id": "anna/sharded"}}, pushed[2].url, pushed[3])
    assert "url" in outcomes["sharded"], outcomes
    assert {index.name, *shards} <= set(pushed[2].repos["anna/sharded"].files)
    (tmp_path / shards[-1]).unlink()
    with pytest.raises(FileNotFoundError, match=f"{shards[-1]} is missing"):
        hub.push_folder(tmp_path, "anna/fer")
    index.write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json names no files of weights; save the model again"):
        hub.push_folder(tmp_path, "anna/fer")


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        hub.push_folder(tmp_path / "nowhere", "anna/fer")


def test_the_published_report_tells_nothing_of_this_machine(tmp_path):
    recipe = {"data": "/home/anna/fer2013.zip", "output_dir": "/home/anna/x", "num_epochs": 3}
    (tmp_path / "report.json").write_text(json.dumps({"metrics": {"accuracy": 0.5}, "run": {"recipe": recipe}}))
    (addition,) = hub._additions(tmp_path)
    content = json.loads(addition.path_or_fileobj)
    assert content == {"metrics": {"accuracy": 0.5}, "run": {"recipe": {"data": "fer2013.zip", "num_epochs": 3}}}
