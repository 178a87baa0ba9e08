"""Tables that were edited between two runs, or made by other hands."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from involvit.prediction.results import ResultsFile, check_results_path

ROW = {"face": 0, "label": "Happy", "Happy": 0.25, "Sad": 0.75, "status": "ok"}


def opened(path, model="m@1"):
    return ResultsFile(path, ("Happy", "Sad"), model, "none")


def written(path):
    table = opened(path)
    table.append("a.png", [ROW])
    table.write(["a.png"])
    return path


def add_note(path):
    if path.suffix == ".parquet":
        pd.read_parquet(path).assign(note="good").to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text(path.read_text().replace("}", ',"note":"good"}'))
    else:
        first, second = path.read_text().splitlines()
        path.write_text(f"{first},note\n{second},good\n")


@pytest.mark.parametrize("journaled", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_column_of_the_users_is_not_lost(tmp_path, suffix, journaled):
    path = written(tmp_path / f"out{suffix}")
    add_note(path)
    before = path.read_bytes()
    if journaled:
        opened(path).append("b.png", [ROW])
    with pytest.raises(ValueError, match=rf"out{suffix} has a column 'note' of its own, which would be lost; name"):
        opened(path).start()
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match=r"was made with the model m@1, not other@2"):
        opened(path, "other@2").start()


@pytest.mark.parametrize(
    ("sign", "encoding", "reason"),
    [
        (";", "utf-8", "it has semicolons between its columns; save it with commas"),
        ("\t", "utf-8-sig", "it has tabs between its columns; save it with commas"),
        ("\t", "utf-16", "it is in UTF-16; save it as CSV in UTF-8"),
    ],
)
def test_what_a_spreadsheet_makes_of_it_is_named(tmp_path, sign, encoding, reason):
    path = written(tmp_path / "out.csv")
    path.write_text(path.read_text().replace(",", sign).replace("0.25", "0,25"), encoding)
    with pytest.raises(ValueError, match=rf"out\.csv is not a table of predictions \({re.escape(reason)}\); name"):
        opened(path).start()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_that_was_made_to_be_filled_is_filled(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.touch()
    assert opened(path).start() == set()
    written(path)
    assert opened(path).start() == {"a.png"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("journaled", [True, False])
def test_files_are_counted_in_a_table_that_was_sorted(tmp_path, suffix, journaled):
    path, names = tmp_path / f"out{suffix}", ["a.mp4", "b.png", "c.png"]
    table = opened(path)
    table.append("a.mp4", [{**ROW, "frame": frame, "Happy": 0.5 + frame / 20} for frame in range(6)])
    table.append("b.png", [ROW])
    if not journaled:
        table.append("c.png", [ROW])
    table.write(names)
    rows = pd.concat(table._table.read())
    table._table.write([rows.sample(frac=1, random_state=3)])
    table = opened(path)
    assert len(table.start()) == 2 + (not journaled)
    if journaled:
        table.append("c.png", [ROW])
    assert table.write(names, all_tried=True).images == 3


def test_a_link_into_a_folder_that_is_not_there_is_told(tmp_path):
    (tmp_path / "out.csv").symlink_to(tmp_path / "gone" / "there.csv")
    with pytest.raises(FileNotFoundError, match=r"out\.csv: there is no folder .*/gone; make it first$"):
        check_results_path(tmp_path / "out.csv")
    (tmp_path / "gone").mkdir()
    check_results_path(tmp_path / "out.csv")
