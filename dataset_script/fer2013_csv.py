"""FER2013's official csv: one row an image, `emotion,pixels,Usage`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial

from PIL import Image
from tqdm.auto import tqdm

from .bad_input import BadInput
from .faces import PARTS, TRAIN, Face, encode_png, part_of
from .file_tree import FileTree, naming_damage
from .labels import LABELS

SIDE = 48


def find_fer2013_csv(tree: FileTree) -> str | None:
    """Returns the name of the csv in the tree whose header has `emotion` and `pixels`, or None.

    Of several (the challenge's archive also has the csv cut into its parts) `fer2013.csv` is taken.

    Raises:
        ValueError: If there are several and none, or more than one, is called `fer2013.csv`, or if the tree is a csv of
            something else.
    """
    found = []
    for name in tree.files:
        if name.lower().endswith(".csv"):
            with naming_damage(f"{tree.root}: {name}"), tree.files[name]() as file:
                header = file.readline(1000).decode("utf-8-sig", "replace")
            if {"emotion", "pixels"} <= set(_columns(header.strip().split(","))):
                found.append(name)
    if len(found) > 1:
        found = [name for name in found if name.rsplit("/", 1)[-1].lower() == "fer2013.csv"] or found
    if len(found) > 1:
        raise ValueError(f"{tree.root}: several csv files of faces ({', '.join(found)}); name the one to read.")
    if not found and tree.root.is_file() and list(tree.files) == [tree.root.name]:
        raise ValueError(f"{tree.root}: the first line does not name the columns emotion and pixels of FER2013's csv.")
    return found[0] if found else None


def read_fer2013_csv(tree: FileTree, name: str, bad: BadInput) -> list[Face]:
    """Reads the rows of the csv as 48 x 48 grey PNG images.

    `Usage` gives the part (Training, PublicTest: validation, PrivateTest: test); without the column all is one part.
    The csv says nothing of who is on an image, so each is a group of its own.

    Args:
        tree: Holds the csv.
        name: The csv's name in the tree.
        bad: Receives rows of a wrong length, with a pixel or class out of range or an unknown `Usage`.

    Returns:
        By part, in the order of the rows; the path is `NAME#LINE`.
    """
    faces = [face for face in read_rows(tree, name, bad) if face is not None]
    return sorted(faces, key=lambda face: PARTS.index(face.part))


def read_rows(tree: FileTree, name: str, bad: BadInput) -> Iterator[Face | None]:
    """Yields the face of each row in turn, and None for one that went to `bad`; see `read_fer2013_csv`."""
    with naming_damage(f"{tree.root}: {name}"), tree.files[name]() as file:
        for line, row in tqdm(_rows(file), desc=f"Reading {name}", unit=" rows"):
            path = f"{name}#{line}"
            try:
                part, label, png = _parse(row)
            except ValueError as error:
                bad.add(path, str(error))
                yield None
            else:
                yield Face(part, path, label, partial(bytes, png), group=path)


def _columns(header: list[str]) -> list[str]:
    return [column.strip().strip('"').lower() for column in header]


def _rows(file: io.BufferedIOBase) -> Iterator[tuple[int, dict[str, str] | list[str]]]:
    """The line number of each row, and its fields by column, or as a list where their number is wrong."""
    reader = csv.reader(io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline=""))
    columns = _columns(next(reader))
    for row in reader:
        if row:
            yield reader.line_num, dict(zip(columns, row, strict=True)) if len(row) == len(columns) else row


def _parse(row: dict[str, str] | list[str]) -> tuple[str, int, bytes]:
    if isinstance(row, list):
        raise ValueError(f"has {len(row)} fields, not as many as the header")
    emotion = row["emotion"].strip()
    if emotion not in [str(index) for index in range(len(LABELS))]:
        raise ValueError(f"has the emotion {emotion[:20]!r}, not a number from 0 to {len(LABELS) - 1}")
    usage = row.get("usage")
    part = TRAIN if usage is None else part_of(usage.strip())
    if part is None:
        raise ValueError(f"has the usage {usage[:20]!r}, not Training, PublicTest or PrivateTest")
    fields = row["pixels"].split()
    if len(fields) != SIDE * SIDE:
        raise ValueError(f"has {len(fields)} pixels, not {SIDE} x {SIDE} = {SIDE * SIDE}")
    try:
        pixels = bytes(map(int, fields))
    except ValueError as error:
        raise ValueError("has a pixel that is not a whole number from 0 to 255") from error
    return part, int(emotion), encode_png(Image.frombytes("L", (SIDE, SIDE), pixels))
