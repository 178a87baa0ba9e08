"""Names of files as they are shown: in tables, and on a line for people."""

from __future__ import annotations

import re
from pathlib import Path

# Control characters, ends of lines and paragraphs, marks that turn the direction of writing, undecodable bytes.
_NOT_SHOWN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def file_name(path: str | Path) -> str:
    """Returns a path as it stands in tables: what is not UTF-8 in it is escaped."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(text: object) -> str:
    """Returns a text as it stands on a line for people: no file name can fake a line of its own."""
    return _NOT_SHOWN.sub(_escaped, str(text))


def _escaped(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python stands in for a byte
        return f"\\x{code - 0xDC00:02x}"
    return sign[0].encode("unicode_escape").decode()
