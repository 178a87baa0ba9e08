"""The lines of journals, read one after the other or sorted. Of a million lines only their places are in memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from .shards import place_of

LINES_AT_ONCE = 10_000

_Rows = list[dict[str, Any]]


class Line(NamedTuple):
    """Where a line stands: which of several journals, its first byte there, and the file whose rows it has."""

    journal: int
    start: int
    file: str


def encoded(rows: _Rows) -> bytes:
    """Returns the line with rows of one file."""
    return json.dumps({"rows": rows}).encode() + b"\n"


def whole_lines(journals: Iterable[BinaryIO]) -> Iterator[tuple[Line, _Rows]]:
    """Yields each line and its rows, of each file the first: several processes may say that they cannot read a shard.

    A journal is read up to a line that is torn: its process ended while it wrote it.

    Raises:
        ValueError: If a line is whole, but not such a one.
    """
    files = set()
    for number, journal in enumerate(journals):
        start = journal.seek(0)
        for line in journal:
            try:
                content = json.loads(line)
            except ValueError:
                break
            except RecursionError:
                content = None
            match content:
                case {"rows": [{"file": str(file), "model": str(), "detector": str()}, *_] as rows}:
                    if file not in files:
                        files.add(file)
                        yield Line(number, start, file), rows
                case _:
                    raise ValueError(f"{journal.name} is no journal of predictions; move it away, or remove it")
            start += len(line)


def sorted_rows(
    journals: Sequence[BinaryIO], lines: Iterable[Line], order: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yields the rows of lines, sorted by `place_of`; those of one place stay in their order."""
    parts = []
    lines = iter(lines)
    while some := list(itertools.islice(lines, LINES_AT_ONCE)):  # as arrays they take a tenth of the memory
        numbers, keys = zip(*(place_of(line.file, order) for line in some), strict=True)
        which, starts, _ = zip(*some, strict=True)
        parts.append(pa.table({"number": numbers, "key": keys, "journal": which, "start": starts}))
    if not parts:
        return
    places = pa.concat_tables(parts)
    sorting = pc.sort_indices(places, [("number", "ascending"), ("key", "ascending")]).to_numpy()
    which, starts = (places[name].to_numpy() for name in ("journal", "start"))
    del parts, places
    for index in sorting:
        journal = journals[which[index]]
        journal.seek(starts[index])
        yield from json.loads(journal.readline())["rows"]
