"""A folder that is there complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def output_folder(out: Path, overwrite: bool, own: Collection[str]) -> Iterator[Path]:
    """Gives a new folder beside `out` to write into, and renames it to `out` at the end.

    Args:
        out (`Path`): the folder to write.
        overwrite (`bool`): whether a non-empty `out` is replaced.
        own (`Collection[str]`): names that the caller writes. A folder that holds others is never replaced.

    Yields:
        `Path`: the folder to fill. If the block raises, it is removed and `out` stays as it was.

    Raises:
        FileExistsError: if `out` is a file, or is not empty and not to be replaced.
    """
    out = out.expanduser().absolute()
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder.")
    present = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if present and not overwrite:
        raise FileExistsError(f"{out} is not empty; name another folder or pass --overwrite.")
    foreign = [name for name in present if name not in own]
    if foreign:
        raise FileExistsError(
            f"{out} holds {foreign[0]!r}, which was not written by this command; name another folder."
        )
    new, old = (out.with_name(f".{out.name}.{os.getpid()}.{state}") for state in ("new", "old"))
    new.mkdir(parents=True)
    try:
        yield new
        if out.exists():
            out.rename(old)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
