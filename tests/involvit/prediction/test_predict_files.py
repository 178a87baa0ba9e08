from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from involvit.prediction.predict_files import predict_files
from involvit.prediction.results import ResultsFile, hold_table

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


@pytest.fixture
def shards(tmp_path, write_images):
    """A folder of a Parquet file, a tar and an image; one row and one member are no images."""
    folder = tmp_path / "shards"
    files = write_images(folder, *[f"{number:02d}.png" for number in range(60)])
    data = [file.read_bytes() for file in files[:59]]
    for file in files[:59]:
        file.unlink()
    structs = [{"bytes": image, "path": None} for image in data[:30]]
    structs[7]["bytes"] = b"hello"
    pq.write_table(pa.table({"image": structs, "label": [0] * 30}), folder / "part.parquet", row_group_size=8)
    with tarfile.open(folder / "part.tar", "w") as tar:
        for number, image in enumerate([*data[30:], b"hello"]):
            for suffix, content in ((".png", image), (".cls", b"3")):
                member = tarfile.TarInfo(f"{number:03d}{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder


def names_of(shards):
    rows, members = (
        [f"{shards}/part.parquet#{row}" for row in range(30)],
        [f"{shards}/part.tar#{i:03d}.png" for i in range(30)],
    )
    return [f"{shards}/59.png", *rows, *members]


def test_rows_of_parquet_and_members_of_a_tar_are_predicted_as_files_are(shards, onnx_model, tmp_path, capsys):
    assert predict(shards, model=onnx_model, out=tmp_path / "out.csv") == 1
    said = capsys.readouterr()
    assert "out.csv: 59 images\n" in said.out
    assert "2 of 61 images could not be read" in said.err
    table = pd.read_csv(tmp_path / "out.csv").set_index("file")
    assert list(table.index) == names_of(shards)
    bad = [f"{shards}/part.parquet#7", f"{shards}/part.tar#029.png"]
    assert list(table.index[table["status"] == "unreadable"]) == bad
    assert all(table.loc[name, "error"].startswith(f"{name}: cannot be read as an image") for name in bad)

    taken_out = tmp_path / "taken out"
    taken_out.mkdir()
    for row, image in enumerate(pq.read_table(shards / "part.parquet")["image"].to_pylist()):
        (taken_out / f"{row}.png").write_bytes(image["bytes"])
    assert predict(taken_out, model=onnx_model, out=tmp_path / "files.csv") == 1
    files = pd.read_csv(tmp_path / "files.csv").drop(columns=["file", "error"])
    pd.testing.assert_frame_equal(files, table[1:31].reset_index(drop=True).drop(columns="error"))

    capsys.readouterr()
    assert predict(shards, model=onnx_model) == 1
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 61
    assert printed[1].startswith(f"{shards}/part.parquet#0: ")


def test_a_mistaken_shard_is_told_before_the_model_is_loaded(tmp_path, shards):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "ids.parquet")
    with pytest.raises(ValueError, match="has no column of images"):
        predict(shards, tmp_path / "ids.parquet", model=tmp_path / "no model.onnx")


def test_a_shard_without_images_costs_no_other(shards, onnx_model, tmp_path, capsys):
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    tarfile.open(tmp_path / "none.tar", "w").close()
    empty = [tmp_path / "none.parquet", tmp_path / "none.tar"]
    assert predict(shards / "59.png", *empty, model=onnx_model, out=tmp_path / "out.csv") == 0
    assert list(pd.read_csv(tmp_path / "out.csv")["file"]) == [str(shards / "59.png")]
    assert f"left out shards without images (2, such as {empty[0]})\n" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"none\.parquet: there are no images in it"):
        predict(*empty, model=onnx_model)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_table_is_no_input_of_the_next_run(shards, onnx_model, monkeypatch, capsys, suffix):
    monkeypatch.chdir(shards)
    for out in (Path(f"r{suffix}"), Path(f"r{suffix}").absolute()):
        for _ in range(2):
            assert predict(*Path().iterdir(), model=onnx_model, out=out) == 1  # as the shell's `*` has it
            assert capsys.readouterr().out.startswith(f"{out}: 59 images")
            Path(f"r{suffix}.unfinished.jsonl").touch()
    with pytest.raises(ValueError, match=rf"r{suffix} is the table to write, not one to read; name images"):
        predict(f"r{suffix}", model=onnx_model, out=Path(f"r{suffix}"))


def test_a_damaged_shard_costs_no_other_and_is_tried_again(shards, onnx_model, tmp_path, capsys):
    whole = (shards / "part.tar").read_bytes()
    (shards / "part.tar").write_bytes(whole[:20_000])
    out = tmp_path / "out.parquet"
    assert predict(shards, model=onnx_model, out=out) == 1
    table = pd.read_parquet(out).set_index("file")
    assert "cannot be read as a tar" in table.loc[f"{shards}/part.tar", "error"]
    assert 31 < len(table) < 61
    (shards / "part.tar").write_bytes(whole)
    assert predict(shards, model=onnx_model, out=out) == 1
    assert list(pd.read_parquet(out)["file"]) == names_of(shards)
    assert f"{len(table) - 2} of them from before" in capsys.readouterr().out


def test_a_second_command_into_one_table_is_refused(folder, onnx_model, tmp_path):
    with hold_table(tmp_path / "out.csv"), pytest.raises(ValueError, match="is being written by another process"):
        predict(folder, model=onnx_model, out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_that_may_not_be_read_is_a_failure(nobody, onnx_model, write_images, tmp_path, capsys):
    model = shutil.copy(onnx_model, tmp_path / "model.onnx")
    write_images(tmp_path / "faces" / "secret", "2.png")
    write_images(tmp_path / "faces", "1.png")
    assert predict("faces", model=model) == 0
    (tmp_path / "faces" / "secret").chmod(0)
    capsys.readouterr()
    with nobody():
        assert predict("faces", model="model.onnx") == 1
    (tmp_path / "faces" / "secret").chmod(0o700)
    said = capsys.readouterr()
    assert said.out.count("\n") == 1
    assert said.err == "faces/secret was left out: Permission denied\n"


COMMAND = "-m", "involvit", "predict"


def test_a_killed_run_goes_on_where_it_stopped(shards, onnx_model, tmp_path):
    out = tmp_path / "out.csv"
    killed = """
import os, signal, sys
from involvit.cli import main
from involvit.prediction.results import ResultsFile
append, count = ResultsFile.append, 0
def counted(*arguments):
    global count
    append(*arguments)
    count += 1
    if count == 25:
        os.kill(os.getpid(), signal.SIGKILL)
ResultsFile.append = counted
main(sys.argv[1:])
"""
    words = [str(shards), "--model", str(onnx_model), "--out", str(out), "--batch_size", "4"]
    assert subprocess.run([sys.executable, "-c", killed, "predict", *words]).returncode == -signal.SIGKILL
    (journal,) = tmp_path.glob("out.csv.unfinished*")
    assert len(journal.read_text().splitlines()) == 25
    before = journal.read_text()
    read_again = []

    def watched(self, file, rows, append=ResultsFile.append):
        read_again.append(file)
        append(self, file, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResultsFile, "append", watched)
        assert predict(shards, model=onnx_model, out=out) == 1
    bad = f"{shards}/part.parquet#7"
    assert Counter(read_again) == Counter([*names_of(shards)[25:], bad])  # which is tried again
    assert bad in before
    assert list(pd.read_csv(out)["file"]) == names_of(shards)
    assert list(tmp_path.glob("*unfinished*")) == []


@pytest.mark.engines
def test_two_processes_share_the_images_of_shards(shards, onnx_model, tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert predict(shards, model=onnx_model, out=one) == 1
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = [*COMMAND, str(shards), "--model", str(onnx_model), "--out", str(two)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen([*launcher, *words], env=environment, stderr=subprocess.PIPE, text=True)
    journals = set()
    while run.poll() is None:
        journals |= {path.name for path in tmp_path.glob("two.csv.unfinished*")}
        time.sleep(0.01)
    assert "2 of 61 images could not be read" in run.stderr.read()
    assert journals == {"two.csv.unfinished.jsonl", "two.csv.unfinished-1.jsonl"}
    assert two.read_text() == one.read_text()
