"""FER+: FER2013's images and the votes of ten people (Barsoum et al., ICMI 2016, arXiv 1608.01041), in both its forms.

- as its script lays it out: folders `FER2013Train`, `FER2013Valid`, `FER2013Test`, each with images and a `label.csv`
- as it is published: `fer2013new.csv`, whose rows are those of `fer2013.csv` beside it

A face is kept where one of the seven classes has the majority (see `votes.majority`). All others, those on which people
do not agree and those that most people call unknown, contemptuous or no face, are left out, and counted in the log.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath

from PIL import Image

from involvit.files import IMAGE_FORMATS

from .bad_input import BadInput
from .encoded_images import checked_image, image_size
from .faces import TRAIN, Face, encode_png, part_of
from .fer2013_csv import read_rows
from .file_tree import FileTree
from .labels import LABELS
from .votes import ANSWERS, checked_counts, distribution, majority

# The counts of a row, the last of which is of those who see no face; and the place of each of `ANSWERS` among them.
_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
_PLACES = (4, 5, 6, 1, 3, 2, 0, 7, 8, 9)
_BOX = re.compile(r"\(\s*(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\s*\)")


def find_label_files(tree: FileTree) -> list[str]:
    """Returns the names of the files `label.csv` that lie in folders named after a part, such as `FER2013Train`."""
    return [name for name in tree.files if PurePosixPath(name).name == "label.csv" and _part(tree, name) is not None]


def read_label_files(tree: FileTree, names: Sequence[str], bad: BadInput) -> list[Face]:
    """Reads the faces that the files `label.csv` list, a row each: name of the image, box of the face, ten counts.

    A header, which has no number for a count, is passed over. Each face is a group of its own. Rows of another form and
    images that are not there go to `bad`.
    """
    faces = []
    for name in names:
        for number, (line, (image_name, *fields)) in enumerate(tree.rows(name)):
            counts = "".join(fields[1:])
            if number == 0 and counts and not re.search(r"\d", counts):
                continue
            path = f"{PurePosixPath(name).parent}/{PureWindowsPath(image_name.strip()).name}".removeprefix("./")
            with bad.catching(path):
                if path not in tree.files:
                    raise ValueError(f"is not there, though line {line} of {name} lists it")
                read = partial(_read_box, tree, path, _parse_box(fields[0] if fields else ""))
                faces.append(_with_votes(Face(_part(tree, name), path, 0, read, group=path), fields[1:], bad))
    return [face for face in faces if face is not None]


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
        faces_csv: `fer2013.csv`; its name and line are the path of a face.
        bad: Receives rows of another form.

    Raises:
        ValueError: If the two do not have the same rows.
    """
    header, *votes = list(tree.rows(name)) or [(1, [])]
    if [column.strip().lower() for column in header[1]] != ["usage", "image name", *_COLUMNS]:
        raise ValueError(f"{tree.root}: the first line of {name} is not 'Usage,Image name,{','.join(_COLUMNS)}'.")
    images = list(read_rows(tree, faces_csv, bad))
    says_usage = any(image is not None and image.part != TRAIN for image in images)
    if len(votes) != len(images):
        raise ValueError(
            f"{tree.root}: {name} has {len(votes)} rows and {faces_csv} {len(images)}; they must have the same rows."
        )
    faces = []
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
            bad.unclear["with no face"] += 1
            continue
        with bad.catching(f"{name}#{line}"):
            faces.append(_with_votes(replace(image, part=part), fields[1:], bad))
    return [face for face in faces if face is not None]


def judged(face: Face, counts: tuple[int, ...], bad: BadInput) -> Face | None:
    """Returns a face with what people say of it: the label of the majority, the votes and their counts.

    Where no class has the majority, it returns None and counts the face in `bad.unclear`.
    """
    label = majority(counts)
    if label is not None and label < len(LABELS):
        return replace(face, label=label, votes=distribution(counts), vote_counts=counts)
    bad.unclear["with no majority" if label is None else f"with a majority for {ANSWERS[label]!r}"] += 1
    return None


def _part(tree: FileTree, name: str) -> str | None:
    folder = (tree.root / name).parent.name.lower()
    return part_of(folder.removeprefix("fer2013").lstrip("_- ")) if folder.startswith("fer2013") else None


def _with_votes(face: Face, fields: Sequence[str], bad: BadInput) -> Face | None:
    """The face with the ten counts of a row, see `judged`."""
    if len(fields) != len(_PLACES):
        raise ValueError(f"has {len(fields)} counts of votes, not {len(_PLACES)}")
    return judged(face, checked_counts([fields[place] for place in _PLACES]), bad)


def _parse_box(text: str) -> tuple[int, ...]:
    match = _BOX.fullmatch(text.strip())
    box = tuple(map(int, match.groups())) if match else (0, 0, 0, 0)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"has the box {text!r}, not one like '(0, 0, 48, 48)'")
    return box


def _read_box(tree: FileTree, path: str, box: tuple[int, ...]) -> bytes:
    """The bytes of an image, cut to the box where that is not the whole; a ValueError if the box reaches beyond it."""
    data = tree.read(path)
    # Whoever reads the rows checks every image; only one that is cut is decoded here.
    if box == (0, 0, *(image_size(data) or ())):
        return data
    image = Image.open(io.BytesIO(checked_image(data)), formats=IMAGE_FORMATS)
    if box[2] > image.width or box[3] > image.height:
        raise ValueError(f"has the box {box}, but {image.width} x {image.height} pixels")
    face = image.crop(box)
    return encode_png(face if face.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16") else face.convert("RGB"))
