"""A table of predictions as a file: CSV, JSON lines or Parquet. It is read and written some rows at a time."""

from __future__ import annotations

import codecs
import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..files import whole_file

SUFFIXES = (".csv", ".jsonl", ".parquet")
ROWS_AT_ONCE = 10_000


class TableFile:
    """A file in the format that its suffix names, which need not be there yet.

    Args:
        path: Ends in one of `SUFFIXES`.
        types: The pandas type of each column.
        required: Columns without which a file is no such table.

    Attributes:
        foreign: What other columns the rows have that were read last; they are not in the frames.
    """

    def __init__(self, path: Path, types: Mapping[str, str], required: Iterable[str]) -> None:
        self.path, self._types, self._required = path, dict(types), set(required)
        self.foreign: list[str] = []
        self._format = path.suffix.lower()

    def frames(self, rows: Iterable[dict[str, Any]]) -> Iterator[pd.DataFrame]:
        """Yields rows as frames of all columns, some at a time; what a row lacks is empty.

        Raises:
            ValueError: If a row of a journal has a value of another type than its column.
        """
        rows = iter(rows)
        while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
            try:
                frame = self._typed(pd.DataFrame(some))
            except (ValueError, TypeError, AttributeError, OverflowError) as error:
                reason = str(error).partition("\n")[0]
                raise ValueError(
                    f"{self.path}.unfinished*.jsonl is no journal of predictions ({reason}); remove it"
                ) from error
            yield frame

    def read(self) -> Iterator[pd.DataFrame]:
        """Yields what is in the file, some rows at a time; nothing if there is none, or one of no bytes.

        Raises:
            ValueError: If it is not such a table.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return
        is_empty = True
        try:
            with self.path.open("rb") as file:  # in a name pandas could see a URL
                for rows in self._read(file):
                    if not self._required <= set(rows.columns):
                        raise ValueError("it has other columns")
                    self.foreign = [name for name in rows.columns if name not in self._types]
                    is_empty = False
                    yield self._typed(rows)
            if is_empty:
                raise ValueError("it is empty")
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{self.path} is not a table of predictions ({reason}); name another file") from error

    def write(self, frames: Iterable[pd.DataFrame]) -> None:
        """Replaces the file as a whole; where there are no rows, it stays."""
        frames = (rows for rows in frames if len(rows))
        if (first := next(frames, None)) is None:
            return
        with whole_file(self.path) as beside, beside.open("wb") as file:
            self._write(itertools.chain([first], frames), file)
            file.flush()
            os.fsync(file.fileno())

    def _read(self, file: BinaryIO) -> Iterator[pd.DataFrame]:
        if self._format == ".parquet":
            table = pq.ParquetFile(file, buffer_size=2**20)
            yield table.schema_arrow.empty_table().to_pandas()
            yield from (batch.to_pandas() for batch in table.iter_batches(ROWS_AT_ONCE))
        elif self._format == ".jsonl":
            exact = {"dtype": False, "convert_dates": False, "precise_float": True}
            yield from pd.read_json(file, lines=True, chunksize=ROWS_AT_ONCE, **exact)
        else:  # a file may be called NA
            _check_header(file.readline())
            file.seek(0)
            empty = {"keep_default_na": False, "na_values": [""]}
            exact = {"dtype": self._types, "float_precision": "round_trip"}
            yield from pd.read_csv(file, chunksize=ROWS_AT_ONCE, **exact, **empty)

    def _write(self, frames: Iterable[pd.DataFrame], file: BinaryIO) -> None:
        if self._format == ".parquet":
            schema = pa.Schema.from_pandas(self._typed(pd.DataFrame()), preserve_index=False)
            with pq.ParquetWriter(file, schema) as writer:
                for rows in frames:
                    writer.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False))
        elif self._format == ".jsonl":
            for rows in frames:
                rows.to_json(file, orient="records", lines=True, force_ascii=False)
        else:
            for number, rows in enumerate(frames):
                rows.to_csv(file, index=False, header=number == 0, quoting=_quoting(rows))

    def _typed(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.reindex(columns=list(self._types)).astype(self._types)


def _check_header(line: bytes) -> None:
    """Refuses what spreadsheets make of a table; in it, numbers may have commas too."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is in UTF-16; save it as CSV in UTF-8")
    for sign, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if sign in line and b"," not in line:
            raise ValueError(f"it has {name} between its columns; save it with commas")


def _quoting(rows: pd.DataFrame) -> int:
    """Returns how to quote in CSV. A carriage return ends a row, but Pythons below 3.11.9 do not quote for it."""
    texts = rows.select_dtypes("string")
    has_returns = any("\r" in name for name in rows) or any(texts[name].str.contains("\r").any() for name in texts)
    return csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL
