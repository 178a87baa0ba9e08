"""FER2013's official csv, and what is laid out like it: one row an image, `emotion,pixels,Usage`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial

from PIL import Image
from tqdm.auto import tqdm

from .bad_input import BadInput
from .csv_files import SUFFIXES, column_names
from .faces import TRAIN, Face, encode_png, part_of
from .file_tree import FileTree
from .labels import LABELS


def find_fer2013_csv(tree: FileTree) -> str | None:
    """Returns the name of the csv in the tree whose header has `emotion` and `pixels`, or None.

    Of several (the challenge's archive also has the csv cut into its parts) `fer2013.csv` is taken.

    Raises:
        ValueError: If there are several and none, or more than one, is called `fer2013.csv`, or if the tree is a csv of
            something else.
    """
    is_alone = tree.root.is_file() and list(tree.files) == [tree.root.name]
    candidates = [name for name in tree.files if is_alone or name.lower().endswith(SUFFIXES)]
    found = [name for name in candidates if {"emotion", "pixels"} <= set(column_names(tree.header(name)))]
    if len(found) > 1:
        found = [name for name in found if name.rsplit("/", 1)[-1].lower() == "fer2013.csv"] or found
    if len(found) > 1:
        raise ValueError(f"{tree.root}: several csv files of faces ({', '.join(found)}); name the one to read.")
    if not found and is_alone:
        raise ValueError(f"{tree.root}: the first line does not name the columns emotion and pixels of FER2013's csv.")
    return found[0] if found else None


def read_fer2013_csv(tree: FileTree, name: str, bad: BadInput) -> list[Face]:
    """Reads the rows of the csv as square grey PNG images, 48 x 48 in FER2013; see `read_rows`."""
    return [face for face in read_rows(tree, name, bad) if face is not None]


def read_rows(tree: FileTree, name: str, bad: BadInput) -> Iterator[Face | None]:
    """Yields the face of each row in turn, and None for one of a wrong form, which goes to `bad`.

    `Usage` gives the part (Training, PublicTest: validation, PrivateTest: test); without the column all is one part.
    The csv says nothing of who is on an image, so each is a group of its own. The path is `NAME#LINE`.

    Raises:
        ValueError: If the csv is damaged or has one of these columns more than once.
    """
    rows = tree.rows(name)
    columns = column_names(next(rows)[1])
    for column in ("emotion", "pixels", "usage"):
        if columns.count(column) > 1:
            raise ValueError(f"{tree.root}: {name} has the column {column!r} more than once; keep one of them.")
    for line, fields in tqdm(rows, desc=f"Reading {name}", unit=" rows"):
        path, face = f"{name}#{line}", None
        with bad.catching(path):
            if len(fields) != len(columns):
                raise ValueError(f"has {len(fields)} fields, not as many as the header")
            part, label, png = _parse(dict(zip(columns, fields, strict=True)))
            face = Face(part, path, label, partial(bytes, png), group=path)
        yield face


def _parse(row: dict[str, str]) -> tuple[str, int, bytes]:
    emotion = re.sub(r"\.0+$", "", row["emotion"].strip())  # pandas makes 3.0 of all numbers where one is missing
    if emotion not in [str(index) for index in range(len(LABELS))]:
        raise ValueError(f"has the emotion {emotion[:20]!r}, not a number from 0 to {len(LABELS) - 1}")
    usage = row.get("usage")
    part = TRAIN if usage is None else part_of(usage.strip())
    if part is None:
        raise ValueError(f"has the usage {usage[:20]!r}, not Training, PublicTest or PrivateTest")
    fields = row["pixels"].split()
    side = math.isqrt(len(fields))
    if not side or side * side != len(fields):
        raise ValueError(f"has {len(fields)} pixels, not a square number of them such as 48 x 48 = 2304")
    try:
        pixels = bytes(map(int, fields))
    except ValueError as error:
        raise ValueError("has a pixel that is not a whole number from 0 to 255") from error
    return part, int(emotion), encode_png(Image.frombytes("L", (side, side), pixels))
