from __future__ import annotations

import os
from pathlib import Path

import pytest

from involvit.names import file_name, shown


def test_a_name_that_is_not_utf_8_is_escaped_in_tables():
    assert file_name(Path("a") / "é\r.png") == "a/é\r.png"
    assert file_name("\u9762\udcff.png") == "\u9762\\xff.png"  # in a tar, whatever the system's encoding
    assert file_name(os.fsdecode(b"\xff.png")) == "\\xff.png"
    assert shown(os.fsdecode(b"\xff.png: broken")) == "\\xff.png: broken"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a\nb: Happy 99%", r"a\nb: Happy 99%"),
        ("a\r\x1b[31m\x85", r"a\r\x1b[31m\x85"),
        ("a\u2028b\u202egnp", r"a\u2028b\u202egnp"),
        (os.fsdecode(b"\xff"), r"\xff"),
        ("笑顔 😀 é\u3000.png", "笑顔 😀 é\u3000.png"),
    ],
)
def test_a_name_cannot_fake_a_line(name, line):
    assert shown(name) == line
