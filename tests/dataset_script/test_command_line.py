from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from datasets import Image, load_dataset
from huggingface_hub import DatasetCard

from dataset_script import LABELS, load_fer_dataset, parquet_repo
from dataset_script.command_line import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parted_source(write_source, encoded) -> Path:
    names = [f"{part}/{name}/Film_{i}.png" for part in ("train", "val") for name in ("Angry", "Sad") for i in range(4)]
    return write_source({name: encoded(i) for i, name in enumerate([*names, "test/x_1.png"])})


@pytest.fixture
def run(tmp_path):
    def run_command(command, *arguments):
        cache = [] if command == "render" else ["--cache_dir", tmp_path / "cache"]
        return main([command, *map(str, [*arguments, *cache])])

    return run_command


def test_build_writes_what_load_dataset_reads_without_our_code(run, parted_source, tmp_path):
    out = tmp_path / "built"
    assert run("build", "--data", parted_source, "--out", out) == 0
    script = (
        "import sys, json, hashlib; from datasets import load_dataset, Image; d = load_dataset(sys.argv[1]); "
        "assert 'dataset_script' not in sys.modules; names = d['train'].features['label'].names; "
        "raw = d.cast_column('image', Image(decode=False)); "
        "row = lambda r: [r['path'], r['label'], r['group'], hashlib.sha256(r['image']['bytes']).hexdigest()]; "
        "print(json.dumps([names, {split: [row(r) for r in raw[split]] for split in raw}]))"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", script, str(out)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    names, rows = json.loads(result.stdout)
    assert names == list(LABELS)
    ours = load_fer_dataset(parted_source, cache_dir=tmp_path / "cache").cast_column("image", Image(decode=False))
    assert rows == {
        split: [
            [row["path"], row["label"], row["group"], hashlib.sha256(row["image"]["bytes"]).hexdigest()] for row in part
        ]
        for split, part in ours.items()
    }


def test_votes_go_out_and_in_and_are_explained(run, write_source, encoded, tmp_path):
    people = {"Angry": "0,0,0,0,6,0,3,1,0,0", "Sad": "2,0,0,8,0,0,0,0,0,0"}
    files = {}
    for part in ("FER2013Train", "FER2013Valid"):
        files[f"{part}/label.csv"] = "\n".join(f'{k}.png,"(0, 0, 8, 8)",{v}' for k, v in people.items()).encode()
        files |= {f"{part}/{name}.png": encoded(seed) for seed, name in enumerate(people)}
    source = write_source(files)
    assert run("build", "--data", source, "--out", tmp_path / "built") == 0
    assert "`votes`" in (tmp_path / "built/README.md").read_text()
    expected = load_fer_dataset(source, cache_dir=tmp_path / "cache")
    assert expected["train"]["vote_counts"][0] == [6, 0, 3, 0, 0, 0, 0, 1, 0, 0]
    plain = load_dataset(str(tmp_path / "built"), cache_dir=tmp_path / "hf")
    again = load_fer_dataset(tmp_path / "built", cache_dir=tmp_path / "cache")
    for part, rows in expected.items():
        for name in ("label", "votes", "vote_counts", "path"):
            assert plain[part][name][:] == rows[name][:] == again[part][name][:]


def test_a_large_part_is_cut_into_shards_that_load_in_order(run, parted_source, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_repo, "MAX_SHARD_BYTES", 500)
    assert run("build", "--data", parted_source, "--out", tmp_path / "built") == 0
    assert len(list((tmp_path / "built/data").glob("train-*.parquet"))) > 1
    rows = load_dataset(str(tmp_path / "built"), cache_dir=tmp_path / "hf")
    assert rows["train"]["path"][:] == [f"train/{name}/Film_{i}.png" for name in ("Angry", "Sad") for i in range(4)]


def test_the_card_has_metadata_counts_and_how_it_was_made(run, parted_source, tmp_path):
    run("build", "--data", parted_source, "--split", "stratified", "--seed", "7", "--out", tmp_path / "built")
    card = DatasetCard.load(tmp_path / "built/README.md")
    assert card.data.task_categories == ["image-classification"]
    assert {files["split"] for files in card.data.configs[0]["data_files"]} == {"train", "validation", "test"}
    sizes = {split["name"]: split["num_examples"] for split in card.data.dataset_info["splits"]}
    assert sizes == {"train": 14, "validation": 2, "test": 1}
    assert "| Angry | 7 | 1 | 0 |" in card.text
    assert "| Disgust | 0 | 0 | 0 |" in card.text
    assert "| no label | 0 | 0 | 1 |" in card.text
    assert "--data source --split stratified --seed 7 --validation_fraction 0.1 " in card.text
    assert str(tmp_path) not in card.content
    assert "keep the licence of their source" in card.text


def test_the_card_lists_what_was_left_out(run, parted_source, tmp_path, capsys):
    (parted_source / "train/Sad/bad.png").write_bytes(b"")
    assert run("build", "--data", parted_source, "--on_error", "skip", "--out", tmp_path / "built") == 0
    text = (tmp_path / "built/README.md").read_text()
    assert "left out 1:\n- train/Sad/bad.png is empty" in text


def test_a_built_folder_is_itself_a_source(run, parted_source, tmp_path):
    run("build", "--data", parted_source, "--out", tmp_path / "built")
    once, twice = (
        load_fer_dataset(source, cache_dir=tmp_path / "cache").cast_column("image", Image(decode=False))
        for source in (parted_source, tmp_path / "built")
    )
    assert {split: list(rows) for split, rows in once.items()} == {split: list(rows) for split, rows in twice.items()}


def test_overwrite_is_asked_for(run, parted_source, tmp_path, capsys):
    arguments = ("build", "--data", parted_source, "--out", tmp_path / "built")
    assert run(*arguments) == 0
    assert run(*arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(*arguments, "--overwrite", "--split", "random") == 0
    assert load_dataset(str(tmp_path / "built"), cache_dir=tmp_path / "hf")["validation"].num_rows == 2


def test_drop_duplicates_and_the_report_of_duplicates(run, parted_source, tmp_path, capsys):
    twin = parted_source / "train/Sad/Twin_1.png"
    twin.write_bytes((parted_source / "val/Sad/Film_0.png").read_bytes())
    assert run("duplicates", "--data", parted_source) == 0
    out = capsys.readouterr().out
    assert [
        line for line in out.splitlines() if line.startswith("exact") and "Twin_1" in line and "val/Sad/Film_0" in line
    ]
    *pairs, total = [line.split("\t") for line in out.splitlines()]
    train, held_out = ({pair[side] for pair in pairs} for side in (1, 2))
    assert total == [
        f"{len(pairs)} duplicate pairs across the split, {sum(pair[0] == 'exact' for pair in pairs)} of them exact: "
        f"{len(train)} training images repeat {len(held_out)} held-out ones"
    ]
    assert run("build", "--data", parted_source, "--drop_duplicates", "--out", tmp_path / "built") == 0
    rows = load_dataset(str(tmp_path / "built"), cache_dir=tmp_path / "hf")
    assert "train/Sad/Twin_1.png" not in rows["train"]["path"][:]
    assert rows["validation"].num_rows == 8


def test_render_writes_class_folders_that_the_reader_reads(run, tmp_path):
    out = tmp_path / "faces"
    assert run("render", "--images", "14", "--size", "96", "--seed", "5", "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(LABELS)
    options = {"cache_dir": tmp_path / "cache", "seed": 5}
    files = load_fer_dataset(out, "kfold", n_folds=2, **options)
    drawn = load_fer_dataset("rendered", "kfold", n_folds=2, rendered_images=14, rendered_size=96, **options)

    def pixels(dataset):
        return {
            row["path"]: (row["image"].tobytes(), row["label"], row["group"])
            for part in dataset.values()
            for row in part
        }

    assert pixels(files) == pixels(drawn)


def test_sheet_writes_a_picture_once(tmp_path, capsys):
    out = tmp_path / "sheet.jpg"
    arguments = ["sheet", "--columns", "1", "--size", "96", "--out", str(out)]
    assert main(arguments) == 0
    with PIL.Image.open(out) as picture:
        assert (picture.format, picture.size) == ("JPEG", (96, 7 * 96))
    before = out.read_bytes()
    assert main([*arguments, "--seed", "1"]) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert out.read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--data", "nowhere", "--out", "OUT"], "does not exist"),
        (["build", "--data", "DATA", "--out", "OUT", "--group_pattern", "("], "not a regular expression"),
        (["build", "--data", "DATA", "--out", "OUT", "--split", "holdout"], "invalid choice"),
        (
            ["build", "--data", "DATA", "--out", "OUT", "--split", "random", "--validation_fraction", "2"],
            "validation_fraction",
        ),
        (["build", "--data", "BROKEN", "--out", "OUT"], "bad.png is empty"),
        (["build", "--data", "rendered", "--rendered_size", "9", "--out", "OUT"], "it must be from 96 to 352 pixels"),
        (["render", "--images", "0", "--out", "OUT"], "it must be at least 1"),
        (["sheet", "--out", "OUT"], "out: name a file that ends in the name of an image format"),
        (["sheet", "--out", "OUT.psd"], "out.psd: name a file that ends in the name of an image format"),
        (["sheet", "--out", "OUT.mpg"], "out.mpg: name a file that ends in the name of an image format"),
        (["duplicates"], "--data"),
        (["duplicates", "--data", ""], "the data has no name"),
        (["duplicates", "--data", "~nobody_here/faces"], "does not exist"),
        (["duplicates", "--data", "x" * 5000], "xxx"),
        (["duplicates", "--data", "a\0b"], "does not exist"),
        (["duplicates", "--data", "PIPE"], "is a pipe or device"),
        (["duplicates", "--data", "DATA", "--split", "kfold", "--n_folds", "1"], "it must be at least 2"),
        (["duplicates", "--data", "DATA", "--split", "random", "--seed", "-1"], "random_state"),
        (["duplicates", "--data", "rendered", "--rendered_images", "0"], "it must be at least 1"),
        (["build", "--data", "DATA", "--out", "PIPE"], "is a file; name a folder"),
        (["render", "--size", "96", "--images", "1", "--seed", "-1", "--out", "OUT"], "seed"),
        (["sheet", "--columns", "0", "--out", "OUT.png"], "at least 1"),
        (["sheet", "--size", "20000", "--out", "OUT.png"], "it must be from 96 to 352 pixels"),
        (["sheet", "--columns", "1000000", "--out", "OUT.png"], "wider than 16383 pixels; lower --columns or --size"),
        (["brew"], "invalid choice"),
    ],
)
def test_a_mistake_is_status_2_and_one_line_and_writes_nothing(parted_source, tmp_path, capsys, arguments, message):
    broken = tmp_path / "broken"
    for name in ("Angry", "Sad"):
        (broken / name).mkdir(parents=True)
        (broken / name / "bad.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    paths = {
        "PIPE": str(tmp_path / "pipe"),
        "DATA": str(parted_source),
        "OUT": str(tmp_path / "out"),
        **{f"OUT.{suffix}": str(tmp_path / f"out.{suffix}") for suffix in ("png", "psd", "mpg")},
        "BROKEN": str(broken),
    }
    cache = ["--cache_dir", str(tmp_path / "cache")] if "--data" in arguments else []
    try:
        status = main([paths.get(argument, argument) for argument in arguments] + cache)
    except SystemExit as stop:  # how argparse ends
        status = stop.code
    *progress, line = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert line.startswith("error: ")
    assert message in line
    assert not any("Traceback" in text for text in progress)
    assert not list(tmp_path.glob("out*"))


def test_the_command_line_ends_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "dataset_script", "build", "--data", "nowhere", "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert result.stderr.startswith("error: 'nowhere' does not exist")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "variable", ["HF_HUB_DOWNLOAD_TIMEOUT=30s", "TQDM_MININTERVAL=1s", "HF_DATASETS_IN_MEMORY_MAX_SIZE="]
)
def test_a_variable_that_a_library_cannot_read_is_named_in_one_line(variable):
    name, _, value = variable.partition("=")
    command = [sys.executable, "-m", "dataset_script", "duplicates", "--data", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, name: value})
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert f"correct or unset the environment variable {name}" in result.stderr


def test_a_name_from_elsewhere_breaks_neither_the_table_nor_the_run(write_source, encoded, tmp_path):
    files = {f"{part}/{c}/{i}.png": encoded(i) for part in ("train", "val") for i, c in enumerate(("Sad", "Fear"))}
    source = write_source({**files, "train/Sad/笑\t\n.png": encoded(0)})
    command = [
        sys.executable,
        "-m",
        "dataset_script",
        "duplicates",
        "--data",
        source,
        "--cache_dir",
        tmp_path / "cache",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run([*map(str, command)], capture_output=True, cwd=ROOT, env=environment)
    assert result.returncode == 0
    rows = [line.split("\t") for line in result.stdout.decode("cp1252").splitlines()]
    assert ["exact", "train: train/Sad/\\u7b11\\t\\n.png", "validation: val/Sad/0.png"] in rows
    assert all(len(row) == 3 for row in rows[:-1])
