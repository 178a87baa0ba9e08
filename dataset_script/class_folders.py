"""Class folders: SFEW 1.0, SFEW 2.0 with its aligned faces, FER2013 as folders, and what is laid out like them."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from itertools import takewhile
from pathlib import PurePosixPath

from PIL import Image

from .bad_input import BadInput
from .faces import PARTS, TEST, TRAIN, UNLABELLED, Face, part_of
from .file_tree import FileTree
from .labels import LABELS, canonical_label, is_class_name


def read_class_folders(tree: FileTree, bad: BadInput) -> list[Face]:
    """Reads the labels of images from the folders they lie in.

    `[TOP/...][PART/...]CLASS/.../image`: the first folder with a class's name gives the label, a folder before it with
    a part's name (`Train`, `Val_Aligned_Faces_new`, `validation`) the part. Images of a test part may lie in no class
    folder; they have no label. Where a part is there both as frames and as aligned faces (a folder with `aligned` in
    its name), the aligned faces are taken. Files outside class folders that are not images are ignored.

    Args:
        tree: The files.
        bad: Receives folders of unknown classes, empty class folders and images in no class folder.

    Returns:
        In natural order of their paths.

    Raises:
        ValueError: If there are fewer than two classes, or `bad` stops.
    """
    top = _wrapping_folders(tree)
    faces: list[Face] = []
    unknown: Counter[str] = Counter()
    unlabelled: list[Face] = []
    strays: list[str] = []
    for name in tree.files:
        folders = PurePosixPath(name).parts[top:-1]
        part, label, other = _place(folders)
        face = Face(part, name, label, partial(tree.read, name))
        if label != UNLABELLED:
            faces.append(face)
        elif not _looks_like_image(name):
            continue
        elif part == TEST:
            unlabelled.append(face)
        elif other is not None:
            unknown["/".join([*PurePosixPath(name).parts[:top], *folders[: other + 1]])] += 1
        else:
            strays.append(name)

    if len({face.label for face in faces}) < 2:
        found = ", ".join(sorted({LABELS[face.label] for face in faces})) or "none"
        tops = {PurePosixPath(name).parts[0] for name in tree.files}
        others = list(unknown) or sorted(name for name in tops if not is_class_name(name))
        raise ValueError(
            f"{tree.root}: at least two class folders with images are needed; found {found}, and besides "
            f"{', '.join(others[:5]) or 'nothing'}. Name the folders {', '.join(LABELS)}."
        )
    for folder, count in unknown.items():
        bad.add(folder, f"({count} images) is not a class folder; the classes are {', '.join(LABELS)}")
    for folder in _empty_class_folders(tree, top):
        bad.add(folder, "is a class folder without images")
    for name in strays:
        bad.add(name, "lies in no class folder")

    if any(face.part == TEST for face in faces):
        for face in unlabelled:
            bad.add(face.path, "lies in no class folder, while other test images do")
        unlabelled = []
    return _prefer_aligned(faces + unlabelled)


def _wrapping_folders(tree: FileTree) -> int:
    """How many folders lie around everything (`SFEW/...`, also `train/...` where that is the only part)."""
    parents = [str(PurePosixPath(name).parent) for name in tree.files if "/" in name]
    common = PurePosixPath(os.path.commonpath(parents)).parts if parents else ()
    return sum(1 for _ in takewhile(lambda folder: not is_class_name(folder), common))


def _place(folders: tuple[str, ...]) -> tuple[str, int, int | None]:
    """The part, the label (-1 for none) and the index of the first folder that is neither part nor class."""
    part, other = TRAIN, None
    for index, folder in enumerate(folders):
        if is_class_name(folder):
            return part, LABELS.index(canonical_label(folder)), other
        named = part_of(folder)
        if named is not None:
            part = named
        elif other is None:
            other = index
    return part, UNLABELLED, other


def _looks_like_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in Image.registered_extensions()


def _empty_class_folders(tree: FileTree, top: int) -> list[str]:
    filled = {str(parent) for name in tree.files for parent in PurePosixPath(name).parents}
    empty = []
    for folder in sorted(tree.folders - filled):
        *above, last = PurePosixPath(folder).parts
        if is_class_name(last) and _place(tuple(above[top:]))[1] == UNLABELLED:
            empty.append(folder)
    return empty


def _prefer_aligned(faces: list[Face]) -> list[Face]:
    aligned = {face.path for face in faces if "aligned" in str(PurePosixPath(face.path).parent).lower()}
    parts_with_aligned = {face.part for face in faces if face.path in aligned}
    kept = [face for face in faces if face.path in aligned or face.part not in parts_with_aligned]
    return sorted(kept, key=lambda face: PARTS.index(face.part))
