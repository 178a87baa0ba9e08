"""FER+: FER2013's images and the votes of ten people (Barsoum et al., ICMI 2016, arXiv 1608.01041), in both its forms.

- as its script lays it out: folders `FER2013Train`, `FER2013Valid`, `FER2013Test`, each with images and a `label.csv`
- as it is published: `fer2013new.csv`, whose rows are those of `fer2013.csv` beside it

A face is kept where one of the seven classes has the majority (see `votes.majority`). All others, those on which people
do not agree and those that most people call unknown, contemptuous or no face, are left out, and counted in the log.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath

from PIL import Image

from involvit.files import IMAGE_FORMATS

from .bad_input import BadInput, image_problem, image_size
from .faces import PARTS, TRAIN, Face, encode_png, part_of
from .fer2013_csv import read_rows
from .file_tree import FileTree, naming_damage
from .labels import LABELS
from .votes import ANSWERS, checked_counts, distribution, majority

# The counts of a row, the last of which is of those who see no face; and the place of each of `ANSWERS` among them.
_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
_PLACES = (4, 5, 6, 1, 3, 2, 0, 7, 8, 9)
_BOX = re.compile(r"\(\s*(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\s*\)")
Box = tuple[int, int, int, int]


def find_label_files(tree: FileTree) -> list[str]:
    """Returns the names of the files `label.csv` that lie in folders named after a part, such as `FER2013Train`."""
    return [name for name in tree.files if PurePosixPath(name).name == "label.csv" and _part(tree, name) is not None]


def read_label_files(tree: FileTree, names: Sequence[str], bad: BadInput) -> list[Face]:
    """Reads the faces that the files `label.csv` list, a row each: name of the image, box of the face, ten counts.

    Args:
        tree: Holds them and the images.
        names: Those from `find_label_files`.
        bad: Receives rows of another form and images that are not there.

    Returns:
        By part, in the order of the rows, each a group of its own.
    """
    faces, unclear = [], Counter[str]()
    for name in names:
        for line, (image_name, *fields) in _rows(tree, name):
            path = f"{PurePosixPath(name).parent}/{PureWindowsPath(image_name.strip()).name}".removeprefix("./")
            try:
                if path not in tree.files:
                    raise ValueError(f"is not there, though line {line} of {name} lists it")
                read = partial(_read_box, tree, path, _parse_box(fields[0] if fields else ""))
                face = _with_votes(Face(_part(tree, name), path, 0, read, group=path), fields[1:], unclear)
            except ValueError as error:
                bad.add(path, str(error))
                continue
            if face is not None:
                faces.append(face)
    note_unclear(unclear, bad)
    return sorted(faces, key=lambda face: PARTS.index(face.part))


def find_votes_csv(tree: FileTree) -> str | None:
    """Returns the name of the `fer2013new.csv` that lies beside `fer2013.csv`, or None."""
    found = [name for name in tree.files if PurePosixPath(name).name.lower() == "fer2013new.csv"]
    if len(found) > 1:
        raise ValueError(f"{tree.root}: several files of votes ({', '.join(found)}); keep the one to read.")
    return found[0] if found else None


def read_votes_csv(tree: FileTree, name: str, faces_csv: str, bad: BadInput) -> list[Face]:
    """Reads the images of `fer2013.csv` with the votes of the same rows of `fer2013new.csv`.

    Args:
        tree: Holds both.
        name: `fer2013new.csv`: `Usage`, the image's name, which is empty where there is no face, ten counts.
        faces_csv: `fer2013.csv`.
        bad: Receives rows of another form.

    Returns:
        By part, in the order of the rows; the path is `NAME#LINE` of `fer2013.csv`.

    Raises:
        ValueError: If the two do not have the same rows.
    """
    header, *votes = list(_rows(tree, name)) or [(1, [])]
    if [column.strip().lower() for column in header[1]] != ["usage", "image name", *_COLUMNS]:
        raise ValueError(f"{tree.root}: the first line of {name} is not 'Usage,Image name,{','.join(_COLUMNS)}'.")
    images = list(read_rows(tree, faces_csv, bad))
    says_usage = any(image is not None and image.part != TRAIN for image in images)
    if len(votes) != len(images):
        raise ValueError(
            f"{tree.root}: {name} has {len(votes)} rows and {faces_csv} {len(images)}; they must have the same rows."
        )
    faces, unclear = [], Counter[str]()
    for image, (line, (usage, *fields)) in zip(images, votes, strict=True):
        if image is None:
            continue
        part = part_of(usage.strip())
        if part is None or (says_usage and part != image.part):
            raise ValueError(
                f"{tree.root}: line {line} of {name} is of {usage!r}, that row of {faces_csv} is not; they must have "
                f"the same rows in the same order."
            )
        if fields and not fields[0].strip():
            unclear["with no face"] += 1
            continue
        try:
            face = _with_votes(replace(image, part=part), fields[1:], unclear)
        except ValueError as error:
            bad.add(f"{name}#{line}", str(error))
            continue
        if face is not None:
            faces.append(face)
    note_unclear(unclear, bad)
    return sorted(faces, key=lambda face: PARTS.index(face.part))


def judged(face: Face, counts: tuple[int, ...], unclear: Counter[str]) -> Face | None:
    """Returns a face with what people say of it: the label of the majority, the votes and their counts.

    Args:
        face: The face.
        counts: How many people gave each of `votes.ANSWERS`.
        unclear: Counts the faces of which no class has the majority, by reason; see `note_unclear`.

    Returns:
        None where no class has the majority.
    """
    label = majority(counts)
    if label is None:
        unclear["with no majority"] += 1
    elif label >= len(LABELS):
        unclear[f"with a majority for {ANSWERS[label]!r}"] += 1
    else:
        return replace(face, label=label, votes=distribution(counts), vote_counts=counts)
    return None


def note_unclear(unclear: Counter[str], bad: BadInput) -> None:
    """Has the report say how many faces were left out because of their votes, and why.

    Args:
        unclear: Their numbers by reason, from `judged`.
        bad: Receives the note.
    """
    if unclear:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(unclear.items()))
        bad.note(f"left out {unclear.total():,} images because of their votes: {kinds}")


def _part(tree: FileTree, name: str) -> str | None:
    folder = (tree.root / name).parent.name.lower()
    return part_of(folder.removeprefix("fer2013").lstrip("_- ")) if folder.startswith("fer2013") else None


def _rows(tree: FileTree, name: str) -> Iterator[tuple[int, list[str]]]:
    """The line number and the fields of each row that is not empty."""
    with naming_damage(f"{tree.root}: {name}"), tree.files[name]() as file:
        reader = csv.reader(io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline=""), skipinitialspace=True)
        for row in reader:
            if any(field.strip() for field in row):
                yield reader.line_num, row


def _with_votes(face: Face, fields: Sequence[str], unclear: Counter[str]) -> Face | None:
    """The face with the ten counts of a row, see `judged`."""
    if len(fields) != len(_PLACES):
        raise ValueError(f"has {len(fields)} counts of votes, not {len(_PLACES)}")
    return judged(face, checked_counts([fields[place] for place in _PLACES]), unclear)


def _parse_box(text: str) -> Box:
    match = _BOX.fullmatch(text.strip())
    left, top, right, bottom = map(int, match.groups()) if match else (0, 0, 0, 0)
    if left >= right or top >= bottom:
        raise ValueError(f"has the box {text!r}, not one like '(0, 0, 48, 48)'")
    return left, top, right, bottom


def _read_box(tree: FileTree, path: str, box: Box) -> bytes:
    """The bytes of an image, cut to the box where that is not the whole.

    Raises:
        ValueError: If the box reaches beyond the image.
    """
    data = tree.read(path)
    size = image_size(data)
    # Whoever reads the rows decodes every image and says what is wrong with it; only one that is cut is decoded here.
    if size is None or box == (0, 0, *size) or image_problem(data) is not None:
        return data
    width, height = size
    if box[2] > width or box[3] > height:
        raise ValueError(f"has the box {box}, but {width} x {height} pixels")
    face = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS).crop(box)
    return encode_png(face if face.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16") else face.convert("RGB"))
