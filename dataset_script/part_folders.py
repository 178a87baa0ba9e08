"""Which folders are parts (`Train`, `val_fer2013`), and which are persons called like one (`Val_Kilmer`)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from .faces import part_in_class, part_of
from .labels import is_class_name

_FIRST_NAMES = ("Dev", "Val")  # the only words for a part that are


class PartFolders:
    """The parts that folders stand for, next to all others of the data.

    `Val Kilmer` is a person, and `Val` is one among three or more, unless a folder at the same depth is a part whatever
    stands beside it (`train`).

    Args:
        paths: Of the images. Those in no class folder do not count.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._persons: set[str] = set()
        levels: dict[tuple[bool, int], set[str]] = defaultdict(set)
        for path in paths:
            if any(map(is_class_name, PurePosixPath(path).parts[:-1])):
                for level, folder in folder_levels(path):
                    levels[level].add(folder)
        for names in levels.values():
            doubtful = {name: _is_full_name(name) for name in names if _may_be_person(name)}
            if len(names) > 1 and not any(part_of(name) for name in names if name not in doubtful):
                self._persons.update(name for name, is_full in doubtful.items() if is_full or len(names) > 2)

    def part_of(self, folder: str, is_after: bool) -> str | None:
        """Returns the part of a folder, or None; `is_after` says whether it lies in a class folder."""
        return None if folder in self._persons else (part_in_class if is_after else part_of)(folder)


def folder_levels(
    path: str, is_counted: Callable[[str, bool], bool] = lambda folder, is_after: True
) -> Iterator[tuple[tuple[bool, int], str]]:
    """Yields the folders of a path that are no classes: whether it stands after the class, its depth, its name.

    Args:
        path: Of an image.
        is_counted: Gets the name and whether the folder stands after the class; says whether it is one of them.
    """
    is_after, depth = False, 0
    for folder in PurePosixPath(path).parts[:-1]:
        if is_class_name(folder):
            is_after, depth = True, 0
        elif is_counted(folder, is_after):
            yield (is_after, depth), folder
            depth += 1


def _may_be_person(name: str) -> bool:
    """Whether a name of a part is that of a person as well; a first name alone counts as people write it."""
    words = _words(name)
    return part_of(name) is not None and (_is_full_name(name) or (len(words) == 1 and words[0] in _FIRST_NAMES))


def _is_full_name(name: str) -> bool:
    return _words(name)[0].title() in _FIRST_NAMES and part_in_class(name) is None


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name)
