"""Who is on an image: persons in folders (`S005/happy/x.png`, `happy/S005/x.png`) or in the names of files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from involvit.names import shown

from .faces import Face, compile_group_pattern, group_of
from .part_folders import PartFolders, folder_levels


def by_person_folder(faces: Iterable[Face]) -> list[Face]:
    """Gives each face the group that its folder is, where folders besides those of parts and classes tell them apart.

    Each depth before the class, and after it, is a level. Of several levels (`VL/Strong/P001/happy/x.png`) the one with
    the most different names is that of the persons; a level with one name tells nobody apart. Nor does one that has
    the same persons on both sides by the names of the files (`original/happy/Al_Gore_1.png`, `augmented/...`).

    Args:
        faces: Those that have a group keep it, as do those with no folder on that level.
    """
    faces = list(faces)
    pattern = compile_group_pattern(None)
    parts = PartFolders(face.path for face in faces)
    levels: dict[tuple[bool, int], dict[int, str]] = defaultdict(dict)
    named: dict[int, str] = {}
    for index, face in enumerate(faces):
        if face.group is None:
            for level, folder in folder_levels(face.path, lambda name, is_after: not parts.part_of(name, is_after)):
                levels[level][index] = folder
            if (name := group_of(face.path, pattern)) != face.path:
                named[index] = name
    telling = [level for level in levels.values() if not _splits_persons(level, named)]
    persons = max(telling, key=lambda level: len(set(level.values())), default={})
    if len(set(persons.values())) < 2:
        return faces
    return [replace(face, group=persons.get(index, face.group)) for index, face in enumerate(faces)]


def _splits_persons(level: Mapping[int, str], named: Mapping[int, str]) -> bool:
    """Whether one name of files lies in two folders of a level; not where the names are few, such as those of cameras
    (`S005/happy/left_1.png`), and the folders many."""
    folder_of: dict[str, str] = {}
    is_split = [
        folder_of.setdefault(named[index], folder) != folder for index, folder in level.items() if index in named
    ]
    return any(is_split) and len(folder_of) > 1 and len(folder_of) >= len(set(level.values()))


def describe_groups(groups: Sequence[str], paths: Sequence[str]) -> str:
    """Returns what a split by groups takes for a film or person, in one line.

    Args:
        groups: Of each image.
        paths: Of each image, inside the source.
    """
    of_several = {group: path for group, path in zip(groups, paths, strict=True) if group != path}
    if not of_several:
        return (
            "nothing tells films or persons apart: each image is a group of its own. Name the part of the file names "
            "that tells them with --group_pattern."
        )
    pattern = compile_group_pattern(None)
    in_folder = sum(group in PurePosixPath(path).parts[:-1] for group, path in of_several.items())
    in_name = sum(
        group in PurePosixPath(path).name or group == group_of(path, pattern) for group, path in of_several.items()
    )
    where = "as the data has them"
    if 2 * max(in_folder, in_name) > len(of_several):
        where = "by folder" if in_folder >= in_name else "by file name"
    names = sorted(map(shown, of_several))
    listed = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} ({len(names):,})"
    alone = sum(group == path for group, path in zip(groups, paths, strict=True))
    return f"groups {where}: {listed}" + (f"; {alone:,} images are each a group of their own" if alone else "")
