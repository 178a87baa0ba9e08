"""Csv files as people have them: in UTF-8 or a spreadsheet's UTF-16, between commas, semicolons or tabs."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from .bad_input import MAX_FILE_BYTES

SUFFIXES = (".csv", ".tsv")
_HEAD_BYTES = 4096
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\s]|\t)"?', re.IGNORECASE)  # tells Excel what stands between fields


def csv_header(file: BinaryIO) -> list[str]:
    """Returns the fields of the first line that has any, of which no more than the start is read."""
    line, _, _, delimiter = _dialect(file)
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def column_names(header: Iterable[str]) -> list[str]:
    """Returns the fields of a header without what people add: spaces, quotes, capitals."""
    return [column.strip().strip('"').lower() for column in header]


def is_plain_csv(file: BinaryIO) -> bool:
    """Returns whether any csv reader understands the file: UTF-8, commas, the header first and its names plain."""
    line, before, encoding, delimiter = _dialect(file)
    header = next(csv.reader([line]), [])
    return (before, encoding, delimiter) == (0, "utf-8-sig", ",") and header == column_names(header)


def csv_rows(file: BinaryIO, errors: str = "replace") -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the fields of each row that is not empty, the header first.

    Args:
        file: The file.
        errors: What becomes of bytes that are no text, as `open` has it.

    Raises:
        csv.Error: If the file is damaged.
        UnicodeDecodeError: If it is in another encoding, and `errors` is `"strict"`.
    """
    csv.field_size_limit(MAX_FILE_BYTES)  # a field may hold an image, far above the default of 128 KiB
    _, before, encoding, delimiter = _dialect(file)
    text = io.TextIOWrapper(file, encoding, errors=errors, newline="")
    # Strict, for a quote that is not closed would swallow the rows after it without a word.
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    start = 1
    try:
        for row in reader:
            if reader.line_num > before and any(map(str.strip, row)):
                yield reader.line_num, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"{error} in the row that begins in line {start}") from error


def _dialect(file: BinaryIO) -> tuple[str, int, str, str]:
    """The header, how many lines stand before it, the encoding and what stands between fields, without reading on."""
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in head[:2]:  # Latin letters in UTF-16 without its mark
        encoding = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    delimiter = None
    for before, line in enumerate(io.StringIO(head.decode(encoding, "replace"), newline="")):
        if match := _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n")):
            delimiter = match[1]
        elif line.strip("\r\n\t ,;"):
            unquoted = re.sub(r'"[^"]*"', "", line)
            found = next((sign for sign in "\t;" if sign in unquoted), ",")  # a comma may stand inside a field
            return line, before, encoding, delimiter or found
    return "", 0, encoding, ","
