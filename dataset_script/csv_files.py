"""Csv files as people have them: in UTF-8 or a spreadsheet's UTF-16, between commas, semicolons or tabs."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from .bad_input import MAX_FILE_BYTES

SUFFIXES = (".csv", ".tsv")
_HEAD_BYTES = 4096


def csv_header(file: BinaryIO) -> list[str]:
    """Returns the fields of the first line, of which no more than the start is read."""
    head, encoding, delimiter = _dialect(file)
    return next(csv.reader([_first_line(head, encoding)], delimiter=delimiter, skipinitialspace=True), [])


def csv_rows(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the fields of each row that is not empty.

    Raises:
        csv.Error: If the file is damaged.
    """
    csv.field_size_limit(MAX_FILE_BYTES)  # a field may hold an image, far above the default of 128 KiB
    _, encoding, delimiter = _dialect(file)
    text = io.TextIOWrapper(file, encoding, errors="replace", newline="")
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
    for row in reader:
        if any(map(str.strip, row)):
            yield reader.line_num, row


def _dialect(file: BinaryIO) -> tuple[bytes, str, str]:
    """The start of a file, which is not read on, its encoding, and what stands between its fields."""
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in head[:2]:  # Latin letters in UTF-16 without its mark
        encoding = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    line = _first_line(head, encoding)
    return head, encoding, next((sign for sign in "\t;" if sign in line), ",")  # a comma may stand inside a field


def _first_line(head: bytes, encoding: str) -> str:
    return next(iter(head.decode(encoding, "replace").splitlines()), "")
