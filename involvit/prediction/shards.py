"""Shards, files that hold many images each: Parquet, as `datasets` writes it, and tars, as WebDataset reads them.

Of a million images only those that are being read are in memory. An image is named after its shard and its row, from 0,
or its member: `part-000.parquet#12`, `faces-000.tar#0012.jpg`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TypeVar

from ..names import file_name
from .file_kinds import EMPTY, is_parquet, is_shard

Source = TypeVar("Source")


class DamagedShardError(ValueError):
    """A shard that cannot be read, or no further."""


@dataclass(frozen=True)
class StoredImage:
    """An image in a shard.

    Attributes:
        name: Of the shard and of the row or member.
        data: The encoded image; of a video perhaps only the beginning. None if it is not in the shard.
        path: The file that a row names in place of data.
        fault: Why there is no data, and what to do; reads on after the name.
    """

    name: str
    data: bytes | None = field(repr=False)
    path: str | None = None
    fault: str = "has no image of its own; put one there, or remove it"


@dataclass(frozen=True)
class Shard:
    """A shard, and which of its images are to be read.

    Attributes:
        done: Names, as they stand in tables, of images that are passed over.
        first, step: Of the others, each `step`-th is read, from number `first`.
    """

    path: Path
    done: Collection[str] = field(default=(), repr=False)
    first: int = 0
    step: int = 1

    def images(self) -> Iterator[StoredImage]:
        """Yields the images one after the other.

        Raises:
            DamagedShardError: If the shard cannot be read, or no further.
            ValueError: If a Parquet file has no column of images, or several.
        """
        if self.path.is_file() and self.path.stat().st_size == 0:
            raise DamagedShardError(f"{self.path} {EMPTY}")
        turn = itertools.count()

        def is_own(name: str) -> bool:  # asked once for each image, in order
            return not (self.done and file_name(name) in self.done) and next(turn) % self.step == self.first

        if is_parquet(self.path):
            from .parquet_images import parquet_images as read  # pyarrow takes a moment to import
        else:
            from .tar_images import tar_images as read
        yield from read(self.path, is_own)


def shared(
    sources: Iterable[Source | Shard], process_index: int, num_processes: int
) -> Iterator[tuple[int, Source | Shard]]:
    """Yields what one of several processes is to read: of the sources every n-th, and every n-th image of each shard.

    Yields:
        The number of the source, from 0, and the source; a `Shard` for the path of one.
    """
    for index, source in enumerate(sources):
        if isinstance(source, str | PathLike) and is_shard(source):
            source = Shard(Path(source))
        if isinstance(source, Shard):  # the first image of many small ones is not always for the same process
            yield index, replace(source, first=(process_index - index) % num_processes, step=num_processes)
        elif index % num_processes == process_index:
            yield index, source


def count_images(path: Path) -> int | None:
    """Returns how many images a shard has; None if only reading it would tell: if it is a tar with some, or damaged.

    Raises:
        ValueError: If it has no column of images, or several.
    """
    try:
        if is_parquet(path):
            from .parquet_images import count_rows

            return count_rows(path)
        return 0 if next(Shard(path).images(), None) is None else None
    except DamagedShardError:
        return None


def has_images(path: Path) -> bool:
    """Returns whether a file in a folder is a shard with images. A damaged one is, so that its reader says so."""
    if not is_shard(path):
        return False
    try:
        if not is_parquet(path):
            return next(Shard(path).images(), None) is not None
        from .parquet_images import has_image_rows

        return has_image_rows(path)
    except DamagedShardError:
        return True


def place_of(name: str, files: Mapping[str, int]) -> tuple[int, str]:
    """Returns where an image stands among others, to sort by: the number of its file, and its place inside a shard.

    Args:
        name: Of a file or an image in a shard, as it stands in tables.
        files: The numbers of files and shards, by name. Of others the number is -1.
    """
    if (number := files.get(name)) is not None:
        return number, ""
    for sign in re.finditer("#", name):
        if (number := files.get(name[: sign.start()])) is not None:
            return number, re.sub(r"\d+", lambda digits: digits[0].zfill(20), name[sign.end() :])
    return -1, ""
