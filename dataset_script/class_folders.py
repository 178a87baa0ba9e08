"""Class folders: SFEW 1.0, SFEW 2.0 with its aligned faces, FER2013 as folders, and what is laid out like them."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import partial
from itertools import takewhile
from pathlib import PurePosixPath

from PIL import Image

from .bad_input import BadInput
from .faces import TEST, TRAIN, UNLABELLED, Face
from .file_tree import FileTree
from .labels import LABELS, canonical_label, is_class_name
from .part_folders import PartFolders

_ALIGNED = re.compile(r"(?<!un)(?<!mis)(?<!non)(?<!non[_ -])(?<!not[_ -])aligned")


def read_class_folders(tree: FileTree, bad: BadInput) -> list[Face]:
    """Reads the labels of images from the folders they lie in.

    `[TOP/...][PART/...]CLASS/.../image`: the first folder with a class's name gives the label, a folder before it with
    a part's name (`Train`, `Val_Aligned_Faces_new`, `validation`) the part, else one after it (`Happy/train/image`);
    `PartFolders` tells them from persons.
    Images of a test part may lie in no class folder; they have no label. Where a part is there both as frames and as
    aligned faces (a folder with `aligned` in its name), the aligned faces are taken. Files outside class folders that
    are not images are ignored.

    Args:
        tree: The files.
        bad: Receives folders of unknown classes, empty class folders and images in no class folder.

    Raises:
        ValueError: If there are fewer than two classes, or `bad` stops.
    """
    parents = [str(PurePosixPath(name).parent) for name in tree.files if "/" in name]
    common = PurePosixPath(os.path.commonpath(parents)).parts if parents else ()
    # How many folders lie around everything: `SFEW/...`, also `train/...` where that is the only part.
    top = sum(1 for _ in takewhile(lambda folder: not is_class_name(folder), common))
    parts = PartFolders(tree.files)
    image_suffixes = Image.registered_extensions()
    faces: list[Face] = []
    unknown: Counter[str] = Counter()
    strays: list[str] = []
    for name in tree.files:
        path = PurePosixPath(name)
        part, label, other = _place(path.parts[top:-1], parts)
        if label == UNLABELLED and path.suffix.lower() not in image_suffixes:
            continue
        if label != UNLABELLED or part == TEST:
            faces.append(Face(part, name, label, partial(tree.read, name)))
        elif other is not None:
            unknown["/".join(path.parts[: top + other + 1])] += 1
        else:
            strays.append(name)

    labelled = [face for face in faces if face.label != UNLABELLED]
    found = sorted({LABELS[face.label] for face in labelled})
    if len(found) < 2:
        tops = {PurePosixPath(name).parts[0] for name in tree.files}
        others = list(unknown) or sorted(name for name in tops if not is_class_name(name))
        raise ValueError(
            f"{tree.root}: at least two class folders with images are needed; found {', '.join(found) or 'none'}, "
            f"and besides {', '.join(others[:5]) or 'nothing'}. Name the folders {', '.join(LABELS)}."
        )
    for folder, count in unknown.items():
        bad.add(folder, f"({count} images) is not a class folder; the classes are {', '.join(LABELS)}")
    filled = {parent for name in tree.files for parent in PurePosixPath(name).parents}
    for folder in sorted({PurePosixPath(folder) for folder in tree.folders} - filled):
        if is_class_name(folder.name) and _place(folder.parent.parts[top:], parts)[1] == UNLABELLED:
            bad.add(str(folder), "is a class folder without images")
    for name in strays:
        bad.add(name, "lies in no class folder")
    if any(face.part == TEST for face in labelled):
        for face in faces:
            if face.label == UNLABELLED:
                bad.add(face.path, "lies in no class folder, while other test images do")
        faces = labelled

    aligned = {face.path for face in faces if _ALIGNED.search(str(PurePosixPath(face.path).parent).lower())}
    parts_with_aligned = {face.part for face in faces if face.path in aligned}
    return [face for face in faces if face.path in aligned or face.part not in parts_with_aligned]


def _place(folders: tuple[str, ...], parts: PartFolders) -> tuple[str, int, int | None]:
    """The part, the label (-1 for none) and the index of the first folder that is neither part nor class."""
    part, other = None, None
    for index, folder in enumerate(folders):
        if is_class_name(folder):
            inner = (parts.part_of(name, is_after=True) for name in folders[index + 1 :])
            return part or next(filter(None, inner), TRAIN), LABELS.index(canonical_label(folder)), other
        named = parts.part_of(folder, is_after=False)
        if named is not None:
            part = named
        elif other is None:
            other = index
    return part or TRAIN, UNLABELLED, other
