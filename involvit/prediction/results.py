"""A table of predictions, one row per face, in a file that survives interruption.

Each finished file is first a line of a journal beside the table. The table is written from the journals at the end,
when interrupted, and before a run continues; so nothing that was finished is lost, whatever ends the process.

| column | |
|---|---|
| `file` | as it was named |
| `frame`, `time_s` | of videos: number of the frame from 0, its time in seconds |
| `face` | number of the face in the image, from 0, in the detector's order |
| `x`, `y`, `width`, `height` | its box in pixels; empty where the whole image is the face |
| `detection_score` | of the detector, 0 to 1, where it gives one |
| `label` | the most probable class |
| one column per class, named after it | probabilities, which add up to 1 |
| `status` | `ok`; `no face`: read, but no face was found; `unreadable` |
| `error` | why it could not be read |
| `model`, `detector` | what the row was made with |
"""

from __future__ import annotations

import csv
import glob
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from ..console import one_line
from ..files import naming, whole_file

if TYPE_CHECKING:
    from .predictor import ImageResult

OK, NO_FACE, UNREADABLE = "ok", "no face", "unreadable"
SUFFIXES = (".csv", ".jsonl", ".parquet")
SYNC_SECONDS = 5.0
ROWS_AT_ONCE = 10_000

_BOX = ("x", "y", "width", "height")
_BEFORE = {"file": "string", "frame": "Int64", "time_s": "float64", "face": "Int64"}
_BEFORE |= dict.fromkeys((*_BOX, "detection_score"), "float64") | {"label": "string"}
_AFTER = dict.fromkeys(("status", "error", "model", "detector"), "string")


def result_rows(result: ImageResult) -> Iterator[dict[str, Any]]:
    """Yields the rows of an image or video frame, without the columns that are the same for all rows."""
    place = {"frame": result.frame, "time_s": _rounded(result.time_s, 3)}
    if result.error is not None:
        yield {**place, "status": UNREADABLE, "error": one_line(result.error)}
    elif not result.faces:
        yield {**place, "status": NO_FACE}
    for number, face in enumerate(result.faces):
        yield {
            **place,
            "face": number,
            **{name: _rounded(value, 1) for name, value in zip(_BOX, face.box or (None,) * 4, strict=True)},
            "detection_score": _rounded(face.detection_score, 4),
            "label": face.label,
            **{label: round(probability, 6) for label, probability in face.probabilities.items()},
            "status": OK,
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def check_results_path(path: Path) -> None:
    """Refuses a path that no table can be written to.

    Raises:
        ValueError: If the suffix names no format, or the path is no file.
        FileNotFoundError: If its folder does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a table ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a pipe or a device; name a file")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; make it first")


class ResultsFile:
    """A table that grows file by file, continues from where it stopped and is replaced as a whole.

    Args:
        path: The table, which `check_results_path` has not refused.
        labels: Names of the classes.
        model: Name of the classifier.
        detector: Name of the face detector, or `"none"`.
        process_index: Number of the process that appends; each has a journal of its own. The other methods are for one
            process, while no other appends.

    Raises:
        ValueError: If a class has the name of another column.
    """

    def __init__(self, path: Path, labels: Sequence[str], model: str, detector: str, process_index: int = 0) -> None:
        if taken := [label for label in labels if label in _BEFORE or label in _AFTER]:
            raise ValueError(f"the model's class {taken[0]!r} has the name of another column of the table; rename it")
        self.path, self._format = path, path.suffix.lower()
        self._types = {**_BEFORE, **dict.fromkeys(labels, "float64"), **_AFTER}
        self._settings = {"model": model, "detector": detector}
        number = f"-{process_index}" if process_index else ""
        self._journal = path.with_name(f"{path.name}.unfinished{number}.jsonl")
        self._synced = 0.0

    def start(self) -> set[str]:
        """Reads what an earlier run has left, and returns the names of the files that need not be read again.

        Raises:
            ValueError: If the table was made with another model or detector, or is not a table of predictions.
        """
        rows = self._all_rows()
        for column, value in self._settings.items():
            if others := sorted(set(rows[column].dropna()) - {value}):
                raise ValueError(
                    f"{self.path} was made with the {column} {others[0]}, not {value}; name another file, or remove it"
                )
        if self._journals():
            self._replace(rows)
        return set(rows["file"]) - _unreadable(rows)

    def append(self, file: str, rows: Sequence[dict[str, Any]]) -> None:
        """Adds all rows of one file; once it returns they survive the end of the process."""
        line = json.dumps({"rows": [{"file": file, **row, **self._settings} for row in rows]}) + "\n"
        try:
            with naming(self._journal), self._journal.open("a", encoding="utf-8") as journal:
                journal.write(line)
                journal.flush()
                if time.monotonic() - self._synced > SYNC_SECONDS:  # against the end of the machine
                    os.fsync(journal.fileno())
                    self._synced = time.monotonic()
        except OSError:
            if self._journal.is_file() and not self._journal.stat().st_size:
                self._journal.unlink()
            raise

    def write(self, order: Sequence[str], keep_journals: bool = False) -> set[str]:
        """Writes the table and removes the journals.

        Args:
            order: Names of files; their rows come last, in this order.
            keep_journals: Whether the journals stay, because other processes may still append.

        Returns:
            The names of those files that are in the table and could not be read.
        """
        rows = self._all_rows()
        rank = {file: number for number, file in enumerate(order)}
        rows = rows.iloc[rows["file"].map(rank).fillna(-1).astype("int64").argsort(kind="stable")]
        self._replace(rows, keep_journals)
        return _unreadable(rows) & rank.keys()

    def _all_rows(self) -> pd.DataFrame:
        """Reads table and journals. A file in a journal was read again: its rows replace those in the table."""
        parts = []
        journaled = itertools.chain.from_iterable(map(_journal_rows, self._journals()))
        while rows := list(itertools.islice(journaled, ROWS_AT_ONCE)):  # as dictionaries they take ten times the memory
            parts.append(self._typed(pd.DataFrame(rows)))
        if self.path.exists():
            table = self._read_table()
            parts.insert(0, table[~table["file"].isin({file for part in parts for file in part["file"]})])
        return pd.concat(parts, ignore_index=True) if parts else self._typed(pd.DataFrame())

    def _read_table(self) -> pd.DataFrame:
        try:
            with self.path.open("rb") as file:  # in a name pandas could see a URL
                if self._format == ".parquet":
                    table = pd.read_parquet(file)
                elif self._format == ".jsonl":
                    table = pd.read_json(file, lines=True, dtype=False, convert_dates=False, precise_float=True)
                else:  # a file may be called NA
                    empty = {"keep_default_na": False, "na_values": [""]}
                    table = pd.read_csv(file, dtype=self._types, float_precision="round_trip", **empty)
            if not {*_BEFORE, *_AFTER} <= set(table.columns):
                raise ValueError("it has other columns")
            return self._typed(table)
        except (ValueError, TypeError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{self.path} is not a table of predictions ({reason}); name another file") from error

    def _typed(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.reindex(columns=list(self._types)).astype(self._types)

    def _replace(self, rows: pd.DataFrame, keep_journals: bool = False) -> None:
        if len(rows):
            with whole_file(self.path) as beside, beside.open("wb") as file:
                if self._format == ".parquet":
                    rows.to_parquet(file, index=False)
                elif self._format == ".jsonl":
                    rows.to_json(file, orient="records", lines=True, force_ascii=False)
                else:
                    rows.to_csv(file, index=False, quoting=_quoting(rows))
                file.flush()
                os.fsync(file.fileno())
        for journal in [] if keep_journals else self._journals():
            journal.unlink()

    def _journals(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.unfinished*.jsonl"))


def _quoting(rows: pd.DataFrame) -> int:
    """Returns how to quote in CSV. A carriage return ends a row, but Pythons below 3.11.9 do not quote for it."""
    texts = rows.select_dtypes("string")
    has_returns = any("\r" in name for name in rows) or any(texts[name].str.contains("\r").any() for name in texts)
    return csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL


def _unreadable(rows: pd.DataFrame) -> set[str]:
    return set(rows.loc[rows["status"] == UNREADABLE, "file"])


def _journal_rows(path: Path) -> Iterator[dict[str, Any]]:
    # The process may have ended while it wrote its last line.
    with path.open(encoding="utf-8", errors="replace") as lines, suppress(json.JSONDecodeError):
        for line in lines:
            yield from json.loads(line)["rows"]
