"""Persons in folders: `S005/happy/x.png`, `happy/S005/x.png`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from .faces import Face, part_of
from .labels import is_class_name


def by_person_folder(faces: Iterable[Face]) -> list[Face]:
    """Gives each face the group that its folder is, where folders besides those of parts and classes tell them apart.

    Each depth before the class, and after it, is a level. Of several levels (`VL/Strong/P001/happy/x.png`) the one with
    the most different names is that of the persons; a level with one name tells nobody apart.

    Args:
        faces: Those that have a group keep it, as do those with no folder on that level.
    """
    faces = list(faces)
    levels: dict[tuple[bool, int], dict[int, str]] = defaultdict(dict)
    for index, face in enumerate(faces):
        if face.group is None:
            for level, folder in _levels(face.path):
                levels[level][index] = folder
    persons = max(levels.values(), key=lambda level: len(set(level.values())), default={})
    if len(set(persons.values())) < 2:
        return faces
    return [replace(face, group=persons.get(index, face.group)) for index, face in enumerate(faces)]


def _levels(path: str) -> Iterable[tuple[tuple[bool, int], str]]:
    """For each folder that names neither part nor class: whether it stands after the class, its depth, its name."""
    is_after, depth = False, 0
    for folder in PurePosixPath(path).parts[:-1]:
        if is_class_name(folder):
            is_after, depth = True, 0
        elif part_of(folder) is None:
            yield (is_after, depth), folder
            depth += 1
