"""Files: which are ignored, in what order they come, and how they are written whole or not at all.

A file or folder is written beside its final place and renamed at the end: a reader finds the old one or the new
one, never a part. Where a link stands in that place, its target is written.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from filelock import FileLock, Timeout

# Named formats only: Pillow would otherwise try every plug-in it has, and the one for EPS runs Ghostscript.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
_IGNORED_NAMES = {
    # Windows
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
    *("$recycle.bin", "recycler", "system volume information", "found.000"),
    # macOS; other systems show the end of Icon's name as a private character
    *("__macosx", "icon\r", "icon\uf00d", "network trash folder", "temporary items"),
    # Linux, Synology, QNAP, NetApp
    *("lost+found", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@transcode", "~snapshot"),
    # Picasa
    "picasa.ini",
}
# What Windows stores beside a file, as WSL and Samba copy it: photo.jpg:Zone.Identifier
_IGNORED_STREAMS = (":zone.identifier", ":encryptable", ":com.dropbox.attributes", ":com.dropbox.attrs")
_HEIC = re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
URL_ADVICE = "is a URL, and those are not read; download it first, and name the file"
LFS_ADVICE = "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"


def is_ignored(path: str | PurePath) -> bool:
    """Returns whether a file is passed over: it, or a folder on its path, is hidden or is what a system, a file manager
    or a file server keeps there for itself."""
    return any(
        part.startswith(".") or part.lower() in _IGNORED_NAMES or part.lower().endswith(_IGNORED_STREAMS)
        for part in PurePath(path).parts
    )


def is_heic(start: bytes) -> bool:
    """Returns whether a file that begins so is a HEIC photo, which Pillow cannot read."""
    return _HEIC.match(start) is not None


def is_parquet_start(start: bytes) -> bool:
    """Returns whether a file that begins so is Parquet."""
    return start.startswith(b"PAR1")


def is_lfs_pointer(start: bytes) -> bool:
    """Returns whether a file that begins with these bytes, 64 or more, is what a clone without Git LFS holds of it."""
    return start.startswith(_LFS_POINTER)


def is_url(path: str | PurePath) -> bool:
    """Returns whether a path is a URL; as a `Path` it has lost a slash. What is there by that name is a file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) is not None and not os.path.lexists(path)


def natural_key(path: str | PurePath) -> list[list[str | int]]:
    """Returns what to sort paths by so that `img_2` comes before `img_10`."""
    parts = [re.split(r"([0-9]+)", part) for part in PurePath(path).parts]
    return [[int(piece) if i % 2 else piece for i, piece in enumerate(part)] for part in parts]


def expand_user(path: str | Path) -> Path:
    """Returns a path without a leading `~`; that of an unknown user stays (`Path.expanduser` raises RuntimeError)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, with the same suffix, and renames it to `path` at the end.

    The folder is made if it is not there. If the block raises, what was written is removed and `path` stays as it was.

    Raises:
        FileExistsError: If `path` is a link that leads back to itself.
        IsADirectoryError: If it is a folder.
        PermissionError: If its folder cannot be written to.
    """
    target = _target(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but is to be a file; move it away, or name another file")
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_is_writable(target.parent)
    beside = target.with_name(f".unfinished_{path.name}")  # one that was killed is replaced by the next
    try:
        with naming(path):
            yield beside
            beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _check_is_writable(folder: Path) -> None:
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to; name another folder")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds `path` to an error of the system that names no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def locked(lock: Path, refusal: str) -> Iterator[None]:
    """Holds a file as a lock, which is the system's: it ends with the process, however that ends.

    Raises:
        ValueError: With the text `refusal`, if another process holds it.
        OSError: If the file cannot be written.
    """
    _check_is_writable(lock.parent)
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise ValueError(refusal) from None
    except OSError as error:
        reason = f"{lock} cannot be opened for writing ({error.strerror})"
        raise OSError(f"{reason}; if no command of another user is at work there, remove it") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            lock.unlink()
        held.release()


@contextmanager
def whole_folder(out: Path, overwrite: bool, own: Collection[str]) -> Iterator[Path]:
    """Gives a new folder beside `out` to write into, and renames it to `out` at the end.

    If the block raises, what was written is removed and `out` stays as it was.

    Raises:
        FileExistsError: If `out` is a file, is not empty and not to be overwritten, holds names other than `own`, or is
            a link that leads back to itself.
        NotADirectoryError: If a part of its path is a file.
        PermissionError: If the folder that it would be made in cannot be written to.
    """
    out = expand_user(out).absolute()
    check_output_folder(out, overwrite, own)
    out = _target(out)
    new, old = (out.with_name(f".{out.name}.{os.getpid()}.{state}") for state in ("new", "old"))
    new.mkdir(parents=True)
    try:
        with naming(out):
            yield new
        if out.exists():
            out.rename(old)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_output_folder(out: Path, overwrite: bool, own: Collection[str]) -> None:
    """Raises what `whole_folder` would raise, before the work whose result is written there."""
    parent = next(folder for folder in _target(out).absolute().parents if folder.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{parent} is a file, so {out} cannot be made; name another folder.")
    if not out.exists() and not os.access(parent, os.W_OK):
        raise PermissionError(f"{parent} cannot be written to; name another folder than {out}.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder.")
    present = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if present and not overwrite:
        raise FileExistsError(f"{out} is not empty; name another folder or pass --overwrite.")
    if foreign := [name for name in present if name not in own]:
        raise FileExistsError(
            f"{out} holds {foreign[0]!r}, which was not written by this command; name another folder."
        )


def _target(path: Path) -> Path:
    """Where a path leads through links, whether something is there or not."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise FileExistsError(f"{path} is a link that leads back to itself; remove it or name another path.")
    return target
