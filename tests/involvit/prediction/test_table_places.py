import os
from pathlib import Path

import pytest

from involvit.prediction.results import check_results_path, hold_table


def test_a_table_is_one_commands_at_a_time(tmp_path):
    (tmp_path / "link.csv").symlink_to("out.csv")
    with hold_table(tmp_path / "out.csv"):
        for name in ("out.csv", "link.csv"):
            message = rf"{name} is being written by another process; wait for its end, or name another file$"
            with pytest.raises(ValueError, match=message), hold_table(tmp_path / name):
                pass
    (tmp_path / ".out.csv.lock").touch()  # left by a process that was killed
    with hold_table(tmp_path / "out.csv"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["link.csv"]


def test_what_may_not_be_used_for_a_table_is_told_by_name(tmp_path, nobody):
    (tmp_path / ".out.csv.lock").mkdir()
    lock = r"/\.out\.csv\.lock cannot be opened for writing \(.*; if no .* remove it$"
    with pytest.raises(OSError, match=lock), hold_table(tmp_path / "out.csv"):
        pass
    (tmp_path / "secret.csv").touch(mode=0)
    with nobody(), pytest.raises(PermissionError, match=r"^secret\.csv is there, and you may not read it .*; name"):
        check_results_path(Path("secret.csv"))


def test_where_no_table_can_be_written_is_told_in_one_line(tmp_path):
    for path, error, message in (
        ("out.xlsx", ValueError, r"ends in \.csv, \.jsonl or \.parquet"),
        ("nowhere/out.csv", FileNotFoundError, "there is no folder"),
        ("folder.csv", ValueError, "is a folder"),
        ("pipe.csv", ValueError, "is a pipe or a device"),
        (f"{'n' * 236}.csv", ValueError, r"n\.csv: the name is too long for its journal beside it; choose a shorter"),
    ):
        if not (tmp_path / "pipe.csv").exists():
            os.mkfifo(tmp_path / "pipe.csv")
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(error, match=message):
            check_results_path(tmp_path / path)
