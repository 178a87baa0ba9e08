"""A table of predictions, one row per face, in a file that survives interruption.

Each finished file is first a line of a journal beside the table. The table is written from the journals at the end,
when interrupted, and before a run continues; so nothing that was finished is lost, whatever ends the process. Of a
million images only the names are in memory.

| column | |
|---|---|
| `file` | as it was named; of an image in a shard its name, see `shards` |
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

import errno
import glob
import itertools
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from ..console import one_line
from ..files import locked, naming
from .result_lines import Line, encoded, sorted_rows, whole_lines
from .result_tables import SUFFIXES, TableFile
from .shards import place_of

if TYPE_CHECKING:
    from .predictor import ImageResult

OK, NO_FACE, UNREADABLE = "ok", "no face", "unreadable"
SYNC_SECONDS = 5.0

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
        ValueError: If the suffix names no format, the name is too long, or the path is no file.
        FileNotFoundError: If its folder does not exist.
        PermissionError: If it may not be read, to continue it.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a table ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        _journal(path, 999).exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ValueError(f"{path}: the name is too long for its journal beside it; choose a shorter one") from None
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a pipe or a device; name a file")
    folder = Path(os.path.realpath(path)).parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}; make it first")
    if path.exists() and not os.access(path, os.R_OK):
        raise PermissionError(f"{path} is there, and you may not read it (permission denied); name another file")


def _journal(table: Path, process_index: int) -> Path:
    number = f"-{process_index}" if process_index else ""
    return table.with_name(f"{table.name}.unfinished{number}.jsonl")


def _journals(table: Path) -> list[Path]:
    return sorted(table.parent.glob(f"{glob.escape(table.name)}.unfinished*.jsonl"))


def without_table(files: Iterable[Path], table: Path) -> list[Path]:
    """Returns the files but for a table and its journals, which the shell's `*` names too when a command runs again."""
    own = {os.path.realpath(path) for path in (table, *_journals(table))}
    names = {table.name, *(os.path.basename(path) for path in own)}  # noqa: PTH119
    return [file for file in files if file.name not in names or os.path.realpath(file) not in own]


def hold_table(path: Path) -> AbstractContextManager[None]:
    """Keeps other commands from a table; raises as `locked` does."""
    table = Path(os.path.realpath(path))
    refusal = f"{path} is being written by another process; wait for its end, or name another file"
    return locked(table.with_name(f".{table.name}.lock"), refusal)


@dataclass
class Written:
    """What a table holds of the files that were to be read.

    Attributes:
        images: How many images and videos, in shards too.
        unreadable: The names of those that could not be read.
    """

    images: int = 0
    unreadable: set[str] = field(default_factory=set)


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
        self.path = path
        types = {**_BEFORE, **dict.fromkeys(labels, "float64"), **_AFTER}
        self._table = TableFile(path, types, required={*_BEFORE, *_AFTER})
        self._settings = {"model": model, "detector": detector}
        self._journal = _journal(path, process_index)
        self._synced = 0.0

    def start(self) -> set[str]:
        """Reads what an earlier run has left, and returns the names of the files that need not be read again.

        Raises:
            ValueError: If the table was made with another model or detector, has columns of other origin, or is not a
                table of predictions.
        """
        done: set[str] = set()
        unreadable: set[str] = set()
        advice = "name another file, or remove that column"

        def checked(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for rows in frames:
                self._check_settings(rows)
                if self._table.foreign and len(rows):  # Parquet's first rows are none
                    name = self._table.foreign[0]
                    raise ValueError(f"{self.path} has a column {name!r} of its own, which would be lost; {advice}")
                done.update(rows["file"])
                unreadable.update(rows.loc[rows["status"] == UNREADABLE, "file"])
                yield rows

        with ExitStack() as stack:
            if journals := [stack.enter_context(path.open("rb")) for path in _journals(self.path)]:
                journaled = {line.file for line, _ in whole_lines(journals)}
                new = self._table.frames(row for _, rows in whole_lines(journals) for row in rows)
                kept = (rows.loc[[file not in journaled for file in rows["file"]]] for rows in self._table.read())
                self._table.write(checked(itertools.chain(kept, new)))
            else:
                deque(checked(self._table.read()), maxlen=0)
        self._remove_journals()
        done -= unreadable
        return done

    def append(self, file: str, rows: Sequence[dict[str, Any]]) -> None:
        """Adds all rows of one file; once it returns they survive the end of the process."""
        line = encoded([{"file": file, **row, **self._settings} for row in rows])
        try:
            with naming(self._journal), self._journal.open("ab") as journal:
                journal.write(line)
                journal.flush()
                if time.monotonic() - self._synced > SYNC_SECONDS:  # against the end of the machine
                    os.fsync(journal.fileno())
                    self._synced = time.monotonic()
        except OSError:
            if self._journal.is_file() and not self._journal.stat().st_size:
                self._journal.unlink()
            raise

    def write(self, order: Sequence[str], keep_journals: bool = False, all_tried: bool = False) -> Written:
        """Writes the table, if anything is new, and removes the journals.

        A file in a journal was read again: its rows replace those in the table.

        Args:
            order: Names of files and shards; their rows come last, in this order, and in shards by row or name.
            keep_journals: Whether the journals stay, because other processes may still append.
            all_tried: Whether all of them were read to the end. What the table says could not be read, and no journal
                names, is then there no more: a shard that was replaced by a good one.
        """
        files = {file: number for number, file in enumerate(order)}
        if not _journals(self.path):
            written = Written()
            deque(_counted(self._table.read(), files, written), maxlen=0)
            if not (all_tried and written.unreadable):
                return written
        written = Written()
        self._table.write(_counted(self._merged(files, all_tried), files, written))
        if not keep_journals:
            self._remove_journals()
        return written

    def _merged(self, files: Mapping[str, int], all_tried: bool) -> Iterator[pd.DataFrame]:
        """Yields the rows of table and journals, sorted; meanwhile the table's are in a journal of their own."""
        with ExitStack() as stack:
            journals = [stack.enter_context(path.open("rb")) for path in _journals(self.path)]
            table = stack.enter_context(tempfile.TemporaryFile(dir=self.path.absolute().parent))
            journaled = {line.file for line, _ in whole_lines(journals)} if self.path.exists() else set()

            def old() -> Iterator[Line]:
                for rows in self._table.read():
                    for row in pa.Table.from_pandas(rows, preserve_index=False).to_pylist():
                        is_gone = all_tried and row["status"] == UNREADABLE and place_of(row["file"], files)[0] >= 0
                        if row["file"] not in journaled and not is_gone:
                            yield Line(len(journals), table.tell(), row["file"])
                            table.write(encoded([row]))

            lines = itertools.chain(old(), (line for line, _ in whole_lines(journals)))
            yield from self._table.frames(sorted_rows([*journals, table], lines, files))

    def _check_settings(self, rows: pd.DataFrame) -> None:
        for column, value in self._settings.items():
            if others := sorted(set(rows[column].fillna("")) - {value}):
                fault = f"was made with the {column} {others[0]}, not {value}; name another file, or remove it"
                if value.startswith(others[0]):
                    fault = f"is damaged: a row ends before or within its {column}; remove that row, or the file"
                raise ValueError(f"{self.path} {fault}")

    def _remove_journals(self) -> None:
        for journal in _journals(self.path):
            journal.unlink()


def _counted(frames: Iterable[pd.DataFrame], files: Mapping[str, int], written: Written) -> Iterator[pd.DataFrame]:
    """Yields the frames and counts the files meanwhile; their rows may stand anywhere, as a spreadsheet sorted them."""
    seen = set()
    for rows in frames:
        for file, status in zip(rows["file"], rows["status"], strict=True):
            if place_of(file, files)[0] < 0:
                continue
            written.images += file not in seen
            seen.add(file)
            if status == UNREADABLE:
                written.unreadable.add(file)
        yield rows
