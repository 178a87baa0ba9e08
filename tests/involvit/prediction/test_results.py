import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from involvit.names import file_name
from involvit.prediction.predictor import FacePrediction, ImageResult
from involvit.prediction.results import ResultsFile, result_rows

try:
    import resource
except ModuleNotFoundError:  # not on Windows
    resource = None

LABELS = ("Happy", "Sad")
SUFFIXES = (".csv", ".jsonl", ".parquet")


def row(happy, **more):
    return {"face": 0, "label": "Happy", "Happy": happy, "Sad": 1 - happy, "status": "ok", **more}


UNREADABLE = {"status": "unreadable", "error": "it is empty"}


@pytest.fixture
def opened(tmp_path):
    def open_table(suffix=".csv", model="m@1", detector="none", process_index=0):
        return ResultsFile(tmp_path / f"out{suffix}", LABELS, model, detector, process_index)

    return open_table


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_json(path, lines=True) if path.suffix == ".jsonl" else pd.read_csv(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_holds_every_row_in_the_order_of_the_files(opened, tmp_path, suffix):
    table = opened(suffix)
    assert table.start() == set()
    table.append("b.mp4", [row(0.25, frame=0, time_s=0.0), row(0.123456, frame=1, time_s=0.04, x=1.5, face=1)])
    table.append("c.png", [{"status": "no face"}])
    table.append("a.png", [UNREADABLE])
    written = table.write(["a.png", "b.mp4", "c.png"])
    assert (written.images, written.unreadable) == (3, {"a.png"})
    rows = read(tmp_path / f"out{suffix}")
    assert " ".join(rows.columns) == (
        "file frame time_s face x y width height detection_score label Happy Sad status error model detector"
    )
    assert list(rows["file"]) == ["a.png", "b.mp4", "b.mp4", "c.png"]
    assert list(rows["status"]) == ["unreadable", "ok", "ok", "no face"]
    assert rows["Happy"].tolist()[1:3] == [0.25, 0.123456]
    assert rows["face"].tolist()[1:3] == [0, 1]
    assert rows["time_s"].tolist()[1:3] == [0.0, 0.04]
    assert rows.loc[[0, 3], ["frame", "face", "x", "label", "Happy"]].isna().all(axis=None)
    assert rows["error"][0] == "it is empty"
    assert set(rows["model"]) == {"m@1"}
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_run_adds_to_the_table_and_tries_again_what_failed(opened, tmp_path, suffix):
    names = ["NA", "2020", 'a,"b"\n.png', "é\\xff.png", "null"]
    first = opened(suffix)
    for name in names:
        first.append(name, [row(0.1 + 0.2)])
    first.append("bad.png", [row(0.5, frame=0), UNREADABLE])
    first.write([*names, "bad.png"])
    before = read(tmp_path / f"out{suffix}")

    second = opened(suffix)
    assert second.start() == set(names)
    second.append("new.png", [row(1.0)])
    second.append("bad.png", [row(0.75)])
    written = second.write(["bad.png", "new.png"])
    assert (written.images, written.unreadable) == (2, set())
    after = read(tmp_path / f"out{suffix}")
    pd.testing.assert_frame_equal(after[:5], before[:5], check_dtype=False)
    assert after["Happy"].tolist() == [0.1 + 0.2] * 5 + [0.75, 1.0]
    third = opened(suffix)
    assert third.start() == {*names, "bad.png", "new.png"}


def test_what_was_appended_survives_a_kill_but_for_a_torn_line(opened, tmp_path):
    killed = opened()
    killed.append("a.png", [row(0.5)])
    killed.append("b.png", [row(0.25)])
    journal = tmp_path / "out.csv.unfinished.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1][:-20])
    table = opened()
    assert table.start() == {"a.png"}
    assert list(read(tmp_path / "out.csv")["file"]) == ["a.png"]
    table.append("b.png", [row(0.125)])
    table.write(["a.png", "b.png"])
    assert read(tmp_path / "out.csv")["Happy"].tolist() == [0.5, 0.125]


def test_a_file_that_is_journaled_twice_is_in_the_table_once(opened, tmp_path):
    for table in (opened(), opened()):  # such as two commands at once, on a disk that knows no locks
        table.append("a.png", [row(0.5), row(0.25, face=1)])
    assert opened().write(["a.png"]).images == 1
    assert read(tmp_path / "out.csv")["Happy"].tolist() == [0.5, 0.25]


def test_the_journals_of_several_processes_make_one_table(opened, tmp_path):
    for process, name in enumerate(("b.png", "a.png", "c.png")):
        opened(process_index=process).append(name, [row(process / 2)])
    assert len(list(tmp_path.glob("out.csv.unfinished*.jsonl"))) == 3
    main = opened()
    main.write(["a.png", "b.png", "c.png"], keep_journals=True)  # interrupted
    assert len(list(tmp_path.glob("out.csv.unfinished*.jsonl"))) == 3
    assert opened().start() == {"a.png", "b.png", "c.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    rows = read(tmp_path / "out.csv")
    assert dict(zip(rows["file"], rows["Happy"], strict=True)) == {"a.png": 0.5, "b.png": 0.0, "c.png": 1.0}
    assert len(rows) == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_images_in_shards_are_sorted_by_shard_and_row(opened, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("involvit.prediction.result_tables.ROWS_AT_ONCE", 3)
    monkeypatch.setattr("involvit.prediction.result_lines.LINES_AT_ONCE", 2)
    names = [f"b.parquet#{row}" for row in range(11)] + ["a.tar#img_9.png", "a.tar#img_10.png", "c.png"]
    first = opened(suffix)
    first.append("other.png", [row(0.5)])
    for name in names[::3]:
        first.append(name, [row(0.25), row(0.5, face=1)])
    first.write(["b.parquet", "a.tar", "c.png"])
    second = opened(suffix)
    assert second.start() == {"other.png", *names[::3]}
    for process in (1, 0):
        table = opened(suffix, process_index=process)
        for name in names[1 + process :: 3]:
            table.append(name, [row(0.25), row(0.5, face=1)])
    assert second.write(["b.parquet", "a.tar", "c.png"]).images == len(names)
    rows = read(tmp_path / f"out{suffix}")
    assert list(rows["file"]) == ["other.png", *np.repeat(names, 2)]
    assert list(rows["face"][1:]) == [0, 1] * len(names)
    assert opened(suffix).start() == {"other.png", *names}


def test_a_shard_that_several_processes_cannot_read_is_one_row_until_it_can_be_read(opened, tmp_path):
    for process in (0, 1):
        table = opened(process_index=process)
        table.append(f"a.tar#{process}.png", [row(0.5)])
        table.append("a.tar", [UNREADABLE])
    written = opened().write(["a.tar"], all_tried=True)
    assert (written.images, written.unreadable) == (3, {"a.tar"})
    assert list(read(tmp_path / "out.csv")["file"]) == ["a.tar", "a.tar#0.png", "a.tar#1.png"]
    table = opened()
    assert table.start() == {"a.tar#0.png", "a.tar#1.png"}
    table.append("a.tar#2.png", [row(0.5)])
    table.write(["a.tar"])  # interrupted
    assert list(read(tmp_path / "out.csv")["file"]) == ["a.tar", "a.tar#0.png", "a.tar#1.png", "a.tar#2.png"]
    written = opened().write(["a.tar"], all_tried=True)
    assert (written.images, written.unreadable) == (3, set())
    assert list(read(tmp_path / "out.csv")["file"]) == ["a.tar#0.png", "a.tar#1.png", "a.tar#2.png"]


def test_a_table_stays_as_it_is_where_nothing_is_new(opened, tmp_path):
    table = opened()
    table.append("a.png", [row(0.5)])
    table.write(["a.png"])
    before = (tmp_path / "out.csv").stat()
    table = opened()
    table.start()
    assert table.write(["a.png"], all_tried=True).images == 1
    assert (tmp_path / "out.csv").stat().st_mtime_ns == before.st_mtime_ns


def test_the_journal_of_a_file_with_a_like_name_is_not_taken(opened, tmp_path):
    other = ResultsFile(tmp_path / "[o]ut.csv", LABELS, "m@1", "none")
    other.append("a.png", [row(0.5)])
    opened().append("b.png", [row(0.5)])
    assert ResultsFile(tmp_path / "[o]ut.csv", LABELS, "m@1", "none").start() == {"a.png"}
    assert opened().start() == {"b.png"}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("changes", [{"model": "m@2"}, {"detector": "yunet"}])
def test_a_table_of_another_model_or_detector_is_refused_and_stays(opened, tmp_path, suffix, changes):
    table = opened(suffix)
    table.append("a.png", [row(0.5)])
    table.write(["a.png"])
    before = (tmp_path / f"out{suffix}").read_bytes()
    ((column, value),) = changes.items()
    with pytest.raises(
        ValueError, match=f"was made with the {column} .*, not {value}; name another file, or remove it"
    ):
        opened(suffix, **changes).start()
    assert (tmp_path / f"out{suffix}").read_bytes() == before


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", ["name,age\nme,7\n", '{"name": "me"}\n', "\n", "\x00\xff"])
def test_a_file_that_is_no_table_of_predictions_is_refused_and_stays(opened, tmp_path, suffix, content):
    path = tmp_path / f"out{suffix}"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a table of predictions") as caught:
        opened(suffix).start()
    assert "\n" not in str(caught.value)
    assert path.read_text() == content


def test_a_table_that_ends_within_a_row_is_called_damaged(opened, tmp_path):
    table = opened()
    table.append("a.png", [row(0.5)])
    table.append("b.png", [row(0.5)])
    table.write(["a.png", "b.png"])
    content = (tmp_path / "out.csv").read_bytes()
    assert content.endswith(b"0.5,ok,,m@1,none\n")
    for cut in (b"ne\n", b"none\n", b"1,none\n", b"m@1,none\n", b"5,ok,,m@1,none\n"):
        (tmp_path / "out.csv").write_bytes(content.removesuffix(cut))
        with pytest.raises(ValueError, match=r"out\.csv is damaged: a row ends before or within its (model|detector);"):
            opened().start()
    (tmp_path / "out.csv").write_bytes(content.removesuffix(b"\n"))  # as an editor may leave it
    assert opened().start() == {"a.png", "b.png"}


SHAPES = [[1, 2], None, {"a": 1}, {"rows": "abc"}, {"rows": []}, {"rows": [1]}, {"rows": [{"file": "a.png"}]}]
WHOLE = {"file": "a.png", "model": "m@1", "detector": "none"}
SHAPES += [{"rows": [{**WHOLE, "file": 3}]}, {"rows": [{**WHOLE, "frame": "x"}]}, {"rows": [WHOLE, 1]}]


SHAPES += [{"rows": [{**WHOLE, name: 10**400}]} for name in ("frame", "x")] + [{"rows": [{**WHOLE, "face": math.inf}]}]
SHAPES += ["[" * 100_000]


@pytest.mark.parametrize("content", SHAPES, ids=lambda content: str(content)[:80])
def test_a_journal_of_another_shape_is_named_and_stays(opened, tmp_path, content):
    journal = tmp_path / "out.csv.unfinished.jsonl"
    journal.write_text((content if isinstance(content, str) else json.dumps(content)) + "\n")
    with pytest.raises(ValueError, match=r"out\.csv\.unfinished\*?\.jsonl is no journal of predictions") as caught:
        opened().start()
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [journal.name]


def test_a_table_that_cannot_be_written_leaves_the_old_one_and_the_journal(opened, tmp_path, monkeypatch):
    table = opened()
    table.append("a.png", [row(0.5)])
    table.write(["a.png"])
    before = (tmp_path / "out.csv").read_bytes()

    def write_half(self, file, **kwargs):
        file.write(b"file,")
        raise OSError("No space left on device")

    table = opened()
    table.start()
    table.append("b.png", [row(0.5)])
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(pd.DataFrame, "to_csv", write_half)
        table.write(["a.png", "b.png"])
    assert (tmp_path / "out.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.unfinished.jsonl"]
    assert opened().start() == {"a.png", "b.png"}


@pytest.mark.skipif(resource is None, reason="limits the size of a file as Unix does")
def test_a_disk_that_is_full_is_told_by_name_and_leaves_no_empty_journal(opened, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match=r": .*out\.csv\.unfinished\.jsonl"):
            opened().append("a.png", [row(0.5)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_rows_say_what_was_found():
    probabilities = {"Happy": 0.12345678, "Sad": 0.87654322}
    face = FacePrediction("Sad", 0.87654322, probabilities, (1.04, 2.0, 30.26, 40.0), 0.98765, None, 3, 0.12)
    whole = FacePrediction("Sad", 0.87654322, probabilities)
    found, nothing, broken = (
        list(result_rows(result))
        for result in (
            ImageResult(0, "a.mp4", (face, whole), frame=3, time_s=0.12),
            ImageResult(1, "b.png"),
            ImageResult(2, "c.png", error=ValueError("two\nlines")),
        )
    )
    assert found[0] == {
        "frame": 3,
        "time_s": 0.12,
        "face": 0,
        **{"x": 1.0, "y": 2.0, "width": 30.3, "height": 40.0},
        "detection_score": 0.9877,
        "label": "Sad",
        **{"Happy": 0.123457, "Sad": 0.876543},
        "status": "ok",
    }
    assert [found[1][name] for name in ("face", "x", "detection_score")] == [1, None, None]
    assert nothing == [{"frame": None, "time_s": None, "status": "no face"}]
    assert broken == [{"frame": None, "time_s": None, "status": "unreadable", "error": "two lines"}]
    json.dumps([found, nothing, broken])


def test_numbers_of_numpy_become_rows_too():
    face = FacePrediction("Sad", 1.0, {"Sad": 1.0}, tuple(np.float32([1, 2, 3, 4])), np.float32(0.5))
    assert json.loads(json.dumps(list(result_rows(ImageResult(0, "a", (face,))))))[0]["width"] == 3


ODD_NAMES = [
    "a\rb.png",
    "c\r\nd.png",
    'q"x,\n.png',
    "u\u2028v\x85w\x0b\x1c.png",
    "\ufeffx.png",
    " y\t.png ",
    "NA",
    "\\r",
]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".CSV"])
def test_a_name_is_one_row_whatever_signs_are_in_it(opened, tmp_path, suffix):
    for _ in range(3):  # the second and third find everything done
        table = opened(suffix)
        done = table.start()
        for name in sorted(set(ODD_NAMES) - done):
            table.append(name, [row(0.5)])
        table.write(ODD_NAMES)
    assert done == set(ODD_NAMES)
    if suffix.lower() == ".csv":
        with (tmp_path / f"out{suffix}").open(newline="", encoding="utf-8") as file:
            names = [cells["file"] for cells in csv.DictReader(file)]
    else:
        names = list(read(tmp_path / f"out{suffix}")["file"])
    assert names == ODD_NAMES


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_may_name_an_undecodable_file(opened, suffix):
    path = os.fsdecode(b"\xff.png")
    error = ValueError(f"{path}: is empty")
    table = opened(suffix)
    table.append(file_name(path), list(result_rows(ImageResult(0, path, error=error))))
    assert table.write([]).unreadable == set()
    assert opened(suffix).start() == set()


def test_a_table_may_have_the_name_of_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        table = ResultsFile(Path("http:out.csv"), LABELS, "m@1", "none")
        if "a.png" not in table.start():
            table.append("a.png", [row(0.5)])
        table.write(["a.png"])
    assert len(pd.read_csv(tmp_path / "http:out.csv")) == 1


@pytest.mark.parametrize("frame", ["9" * 31, "inf"])
def test_a_table_with_a_number_that_cannot_be_is_no_table(opened, tmp_path, frame):
    opened().append("a.png", [row(0.5)])
    opened().write(["a.png"])
    path = tmp_path / "out.csv"
    path.write_text(path.read_text().replace("\na.png,", f"\na.png,{frame}", 1))
    with pytest.raises(ValueError, match=r"out\.csv is not a table of predictions \(.*; name another file"):
        opened().start()


def test_a_class_of_the_name_of_another_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="class 'label' has the name of another column"):
        ResultsFile(tmp_path / "out.csv", ("label", "Sad"), "m", "none")
