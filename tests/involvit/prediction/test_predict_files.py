from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from PIL import Image

from involvit.prediction.predict_files import predict_files

ODD = ["x\ry.png", "u\nz.png: Happy 99%.png", "e\x1b[31m.png", os.fsdecode(b"\xff.png"), "笑顔.png", "broken\n.jpg"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "[odd] names"
    folder.mkdir()
    for name in ODD[:-1]:
        Image.new("RGB", (8, 8), "red").save(folder / name)
    (folder / ODD[-1]).write_text("hello")
    os.mkfifo(folder / "pipe.jpg")
    return folder


def predict(*paths, model, out=None):
    return predict_files([str(path) for path in paths], str(model), False, None, out)


def test_each_file_is_one_line_on_the_terminal(folder, onnx_model, capfd):
    assert predict(folder / "*", folder / ODD[0], model=onnx_model) == 1
    lines = capfd.readouterr().out.split("\n")[:-1]
    assert len(lines) == len(ODD)
    assert all(line.startswith(str(folder)) and line.isprintable() for line in lines)
    (broken,) = (line for line in lines if "broken" in line)
    assert broken.startswith(rf"{folder}/broken\n.jpg: cannot be read as an image")


def test_a_class_cannot_fake_a_line(tmp_path, write_onnx, folder, capsys):
    write_onnx(tmp_path / "m.onnx", labels=("no\nx.png: Happy 99%", "yes"))
    assert predict(folder / ODD[0], model=tmp_path / "m.onnx") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert r"no\nx.png: Happy 99%" in line


def test_each_file_is_one_row_after_any_number_of_runs(folder, onnx_model, tmp_path, capsys):
    out = tmp_path / "R.CSV"
    for _ in range(3):
        assert predict(folder, model=onnx_model, out=out) == 1
    assert "5 files, 5 of them from before" in capsys.readouterr().out
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {str(folder / name).replace("\udcff", r"\xff") for name in ODD}
    assert len(rows) == len(ODD)


def test_a_model_may_have_an_odd_name(folder, onnx_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("-m.onnx", "http:[m]\r%s\udcff.ONNX"):
        Path(name).write_bytes(onnx_model.read_bytes())
        for _ in range(2):
            assert predict(folder / ODD[0], model=name, out=Path(f"{name[1:3]}.csv")) == 0
    with Path("tt.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["model"].startswith("http:[m]\r%s\\xff.ONNX@")
