from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import RepoUrl
from PIL import Image

from involvit.cli import main
from involvit.prediction import predictor
from involvit.prediction.face_detection import Face
from involvit.prediction.onnx_classifier import OnnxClassifier
from modeling_involvit import LABELS

ROOT = Path(__file__).parents[2]
NUM_FILES = 300


@pytest.fixture
def run(onnx_model):
    def run_predict(*arguments, model=onnx_model):
        return main(["predict", *map(str, arguments), "--model", str(model)])

    return run_predict


@pytest.fixture
def many_files(tmp_path):
    """A folder of images that take seconds to read all together."""
    folder = tmp_path / "many"
    folder.mkdir()
    Image.effect_noise((700, 700), 50).convert("RGB").save(folder / "000.png")
    for number in range(1, NUM_FILES):
        os.link(folder / "000.png", folder / f"{number:03d}.png")
    return folder


def start(onnx_model, *arguments):
    command = [sys.executable, "-m", "involvit", "predict", *map(str, arguments), "--model", str(onnx_model)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_lines(journal, process, number=5):
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.002)
    raise AssertionError("the process did not get so far")


def test_predict_writes_a_row_for_each_image(run, tmp_path, write_images, onnx_model, capsys):
    paths = write_images(tmp_path / "images", "b.png", "a.png", "deep.jpg")
    assert run(tmp_path / "images", "--out", tmp_path / "out.parquet") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.parquet'}: 3 files\n"
    rows = pd.read_parquet(tmp_path / "out.parquet")
    assert sorted(rows["file"]) == sorted(map(str, paths))
    expected = OnnxClassifier(onnx_model)([np.asarray(Image.open(path)) for path in rows["file"]])
    np.testing.assert_allclose(rows[list(LABELS)], expected, atol=1e-6)
    assert list(rows["label"]) == [LABELS[index] for index in expected.argmax(axis=1)]
    assert rows[["frame", "time_s", "x", "width", "detection_score", "error"]].isna().all(axis=None)
    assert set(rows["detector"]) == {"none"}


def test_without_out_a_line_is_printed_for_each_image(run, tmp_path, write_images, capsys):
    one, two = write_images(tmp_path / "images", "1.png", "2.png")
    two.write_bytes(b"")
    assert run(one, two) == 1
    printed = capsys.readouterr()
    first, second = printed.out.splitlines()
    assert first.startswith(f"{one}: ")
    assert [part.rsplit(" ", 1)[0] in LABELS for part in first.split(": ")[1].split(", ")] == [True] * 3
    assert second == f"{two} is empty (0 bytes); replace or remove it"
    assert printed.err == "1 of 2 files could not be read\n"


def test_faces_have_boxes_and_images_without_any_say_so(run, tmp_path, write_images, monkeypatch, capsys):
    one, two = write_images(tmp_path / "images", "1.png", "2.png")

    class Detector:
        name = "fake"
        found = iter([[Face((1.0, 2.0, 6.0, 5.0), 0.75), Face((0.0, 0.0, 4.0, 4.0))], []] * 2)

        def __call__(self, image):
            return next(self.found)

    monkeypatch.setattr(predictor, "READERS", 1)
    monkeypatch.setattr(predictor, "load_face_detector", lambda path: Detector())
    assert run(one, two, "--faces", "--out", tmp_path / "out.csv") == 0
    rows = pd.read_csv(tmp_path / "out.csv")
    assert list(rows["file"]) == [str(one), str(one), str(two)]
    assert list(rows["status"]) == ["ok", "ok", "no face"]
    assert rows[["x", "y", "width", "height"]][:2].values.tolist() == [[1, 2, 6, 5], [0, 0, 4, 4]]
    assert rows["detection_score"][0] == 0.75
    assert rows[["detection_score"]][1:].isna().all(axis=None)
    assert rows[["face", "label", "error", *LABELS]][2:].isna().all(axis=None)
    assert set(rows["detector"]) == {"fake"}
    capsys.readouterr()
    assert run(one, two, "--faces") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{one}: face 6 x 5 at 1, 2: ")
    assert lines[2] == f"{two}: no face"


def test_the_same_command_goes_on_and_tries_again_what_failed(run, tmp_path, write_images, capsys):
    _, two, three = write_images(tmp_path / "images", "1.png", "2.png", "3.png")
    two.write_bytes(b"no image")
    arguments = (tmp_path / "images", "--out", tmp_path / "out.csv")
    assert run(*arguments) == 1
    assert capsys.readouterr().err == "1 of 3 files could not be read\n"
    before = pd.read_csv(tmp_path / "out.csv")
    assert list(before["status"]) == ["ok", "unreadable", "ok"]
    assert "2.png" in before["error"][1]
    three.write_bytes(two.read_bytes())  # is not read again
    Image.new("RGB", (9, 9)).save(two)
    assert run(*arguments) == 0
    assert capsys.readouterr().out.endswith("out.csv: 3 files, 2 of them from before\n")
    after = pd.read_csv(tmp_path / "out.csv")
    assert list(after["status"]) == ["ok"] * 3
    pd.testing.assert_frame_equal(after.drop(index=1), before.drop(index=1), check_dtype=False)
    write_images(tmp_path / "more", "4.png")
    assert run(tmp_path / "more", "--out", tmp_path / "out.csv") == 0
    assert [Path(name).name for name in pd.read_csv(tmp_path / "out.csv")["file"]] == [
        "1.png",
        "2.png",
        "3.png",
        "4.png",
    ]


def test_a_model_in_onnx_is_run_without_torch(tmp_path, write_images, onnx_model):
    write_images(tmp_path / "images", "1.png")
    script = (
        "import sys; from involvit.cli import main; status = main(sys.argv[1:]); "
        "print(status, [name for name in ('torch', 'transformers', 'accelerate', 'datasets') if name in sys.modules])"
    )
    arguments = ["predict", tmp_path / "images", "--model", onnx_model, "--out", tmp_path / "out.csv"]
    result = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "0 []", result.stderr
    assert len(pd.read_csv(tmp_path / "out.csv")) == 1


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(run, tmp_path, many_files, onnx_model):
    arguments = (many_files, "--out", tmp_path / "out.csv", "--batch_size", 1)
    process = start(onnx_model, *arguments)
    wait_for_lines(tmp_path / "out.csv.unfinished.jsonl", process)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 130
    assert printed.splitlines()[-1] == (
        f"interrupted; what is done is in {tmp_path / 'out.csv'}, and the same command continues from there"
    )
    assert "Traceback" not in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "out.csv"]
    done = pd.read_csv(tmp_path / "out.csv")
    assert 5 <= len(done) < NUM_FILES
    assert run(*arguments) == 0
    rows = pd.read_csv(tmp_path / "out.csv")
    assert list(rows["file"]) == [str(many_files / f"{number:03d}.png") for number in range(NUM_FILES)]
    pd.testing.assert_frame_equal(rows[: len(done)], done)


def test_a_killed_run_goes_on(run, tmp_path, many_files, onnx_model, capsys):
    arguments = (many_files, "--out", tmp_path / "out.jsonl", "--batch_size", 1)
    process = start(onnx_model, *arguments)
    wait_for_lines(tmp_path / "out.jsonl.unfinished.jsonl", process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out.jsonl").exists()
    assert run(*arguments) == 0
    done = int(capsys.readouterr().out.split(f"{NUM_FILES} files, ")[1].split()[0])
    assert 5 <= done < NUM_FILES
    rows = pd.read_json(tmp_path / "out.jsonl", lines=True)
    assert list(rows["file"]) == [str(many_files / f"{number:03d}.png") for number in range(NUM_FILES)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "out.jsonl"]


def test_two_processes_share_the_files_and_write_one_table(run, tmp_path, write_images, onnx_model):
    paths = write_images(tmp_path / "images", *(f"{number:02d}.png" for number in range(9)))
    paths[4].write_bytes(b"")
    assert run(*paths[:2], "--out", tmp_path / "two.csv") == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "involvit"]
    command += ["predict", tmp_path / "images", "--model", onnx_model, "--out", tmp_path / "two.csv"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stderr
    assert "1 of 9 files could not be read" in result.stderr
    assert "two.csv: 8 files, 2 of them from before" in result.stdout
    assert run(*paths, "--out", tmp_path / "one.csv") == 1
    assert (tmp_path / "two.csv").read_text() == (tmp_path / "one.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "one.csv", "two.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "PATH"),
        (["predict", "nowhere.png"], "nowhere.png"),
        (["predict", "IMAGES", "--out", "OUT.xlsx"], "ends in .csv, .jsonl or .parquet"),
        (["predict", "IMAGES", "--out", "nowhere/out.csv"], "there is no folder nowhere"),
        (["predict", "IMAGES", "--model", "nowhere.onnx", "--out", "OUT.csv"], "nowhere.onnx: no such file"),
        (["predict", "IMAGES", "--model", "./nowhere", "--out", "OUT.csv"], "no such folder"),
        (["predict", "IMAGES", "--model", "someone/model", "--out", "OUT.csv"], "cannot be loaded from the Hub"),
        (["predict", "IMAGES", "--model", "MODEL", "--face_detector", "x.onnx"], "(--faces)"),
        (["predict", "IMAGES", "--model", "MODEL", "--out", "OTHER.csv"], "is not a table of predictions"),
        (["predict", "IMAGES", "--batch_size", "0"], "'0' is not a whole number of at least 1"),
        (["export", ""], "the name of the model is empty"),
        (["export", "nowhere/at/all"], "is not a folder here; name the file to write with --out"),
        (["export", "IMAGES", "--format", "coreml"], "invalid choice"),
        (["push", "IMAGES"], "NAME"),
        (["push", "--space", "IMAGES", "me/faces"], "write DIR and NAME first: DIR NAME --space"),
        (["pull"], "invalid choice"),
    ],
)
def test_a_mistake_is_status_2_and_one_line_and_writes_nothing(
    tmp_path, write_images, onnx_model, capsys, arguments, message
):
    write_images(tmp_path / "images", "1.png")
    (tmp_path / "other.csv").write_text("name,age\nme,7\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    words = {"IMAGES": "images", "OUT.csv": "out.csv", "OUT.xlsx": "out.xlsx", "OTHER.csv": "other.csv"}
    paths = {word: str(tmp_path / name) for word, name in words.items()} | {"MODEL": str(onnx_model)}
    try:
        status = main([paths.get(argument, argument) for argument in arguments])
    except SystemExit as stop:  # how argparse ends
        status = stop.code
    printed = capsys.readouterr().err
    assert status == 2
    assert printed.startswith("error: ")
    assert message in printed
    assert printed.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_export_and_push_pass_on_what_was_asked(tmp_path, monkeypatch, capsys):
    calls = []

    def export_onnx(model, out, quantize=None, calibration_data=None):
        calls.append((model, out, quantize, calibration_data))
        return out

    def push_folder(directory, repo_id, private=False):
        calls.append((directory, repo_id, private))
        if repo_id == "taken":
            raise OSError("401 Client Error.\n\nInvalid token")
        return RepoUrl(f"https://hub/{repo_id}", endpoint="https://hub")

    def push_space(model):
        return f"https://hub/spaces/{model}"

    fakes = {
        "onnx_export": {"export_onnx": export_onnx},
        "hub": {"push_folder": push_folder},
        "space": {"push_space": push_space},
        "web_space": {"push_web_space": lambda directory, model: f"https://hub/static/{directory.name}/{model}"},
        "web_export": {"export_web": lambda *arguments: calls.append(arguments) or arguments[1]},
    }
    for name, functions in fakes.items():
        monkeypatch.setitem(sys.modules, f"involvit.publishing.{name}", types.SimpleNamespace(**functions))
    folder = str(tmp_path)
    assert main(["export", folder]) == 0
    assert main(["export", folder, "--format", "onnx", "--quantize", "int8", "--calibration_data", "faces.zip"]) == 0
    assert main(["export", "someone/model", "--out", "m.onnx"]) == 0
    assert main(["push", folder, "me/model", "--private"]) == 0
    assert calls == [
        (folder, tmp_path / "model.onnx", None, None),
        (folder, tmp_path / "model_int8.onnx", "int8", Path("faces.zip")),
        ("someone/model", Path("m.onnx"), None, None),
        (tmp_path, "me/model", True),
    ]
    assert capsys.readouterr().out.splitlines()[-1] == "https://hub/me/model"
    for words in (["--space"], ["--space", "gradio"]):
        assert main(["push", folder, "me/model", *words]) == 0
        assert capsys.readouterr().out.splitlines() == ["https://hub/me/model", "https://hub/spaces/me/model"]
    assert main(["push", folder, "me/model", "--space", "web"]) == 0
    address = f"https://hub/static/{tmp_path.name}/me/model"
    assert capsys.readouterr().out.splitlines() == ["https://hub/me/model", address]
    words = ["--format", "web", "--out", "site", "--face_detector", "y.onnx", "--runtime", "dist"]
    assert main(["export", folder, *words]) == 0 and capsys.readouterr().out == "site\n"
    assert calls[-1] == (folder, Path("site"), Path("y.onnx"), Path("dist"))
    assert main(["push", folder, "taken"]) == 2
    assert capsys.readouterr().err == "error: 401 Client Error. Invalid token\n"


def test_ctrl_c_before_the_first_file_is_status_130(tmp_path, write_images, monkeypatch, capsys):
    (image,) = write_images(tmp_path / "images", "1.png")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(predictor, "load_classifier", interrupt)
    assert main(["predict", str(image), "--out", str(tmp_path / "out.csv")]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not (tmp_path / "out.csv").exists()
