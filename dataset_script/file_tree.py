"""One view of a folder, a zip and a tar: names and openers. Nothing is ever extracted to disk."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from involvit.files import is_ignored, natural_key

from .bad_input import MAX_FILE_BYTES, BadInput

_DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


@contextmanager
def naming_damage(what: str) -> Iterator[None]:
    """Turns what the standard library raises on a damaged archive or csv into a ValueError with `what` in it."""
    try:
        yield
    except (
        *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, csv.Error),
        *(EOFError, RuntimeError, OSError),  # RuntimeError: encrypted, or packed by a method it does not know
    ) as error:
        if getattr(error, "errno", None):  # the disk's trouble, not the file's
            raise
        raise ValueError(f"{what} is truncated or damaged ({error}); get it again.") from error


@dataclass
class FileTree:
    """The files below a folder or in an archive.

    Attributes:
        root: The folder or archive.
        files: Name relative to the root, with `/`, to its opener; natural order.
        folders: Every folder, empty ones too.
    """

    root: Path
    files: dict[str, Callable[[], BinaryIO]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
            ValueError: If it is larger than `MAX_FILE_BYTES` or cannot be read, worded for `BadInput.add`.
        """
        try:
            with self.files[name]() as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except Exception as error:  # zlib.error, BadZipFile, RuntimeError for an encrypted entry, OSError ...
            raise ValueError(f"cannot be read ({error})") from error
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
        return data


def open_file_tree(root: Path, bad: BadInput) -> FileTree:
    """Lists a folder, zip or tar (also gzip, bzip2 or xz compressed), or a csv on its own.

    Hidden files and what operating systems leave behind are passed over. Links in an archive and entries that lead out
    of it (`../x`, `/x`) go to `bad` and are not part of the tree.

    Args:
        root: An existing folder or file.
        bad: Receives the entries that are refused.

    Returns:
        The same for the same content, whatever the order on disk.

    Raises:
        ValueError: If the file is of another kind or damaged, or `bad` stops at an entry.
    """
    tree = FileTree(root)
    with naming_damage(str(root)):
        if root.is_dir():
            _list_folder(tree)
        elif zipfile.is_zipfile(root):
            _list_zip(tree, bad)
        elif _is_tar(root):
            _list_tar(tree, bad)
        elif root.suffix.lower() == ".csv":
            tree.files[root.name] = partial(root.open, "rb")
        else:
            raise ValueError(
                f"{root} is not a folder, zip, tar or csv; if it should be one, it is damaged: get it again."
            )
    for name in [name for name in tree.files if not _is_utf8(name)]:
        bad.add(ascii(name), "has a name that is not UTF-8")
        del tree.files[name]
    tree.files = {name: tree.files[name] for name in sorted(tree.files, key=natural_key)}
    tree.folders.update(str(parent) for name in tree.files for parent in PurePosixPath(name).parents)
    tree.folders.discard(".")
    return tree


def fingerprint(root: Path) -> str:
    """Returns a hash that changes when a file below the folder, or the archive, is added, removed or changed.

    It sees names, sizes and modification times, not content.
    """
    files, folders = _walk(root) if root.is_dir() else ({root.name: root}, set())
    digest = hashlib.sha256(repr(sorted(folders)).encode("utf-8", "surrogateescape"))
    for name, path in sorted(files.items()):
        info = path.stat() if path.exists() else None
        digest.update(repr((name, info and (info.st_size, info.st_mtime_ns))).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(root: Path) -> tuple[dict[str, Path], set[str]]:
    """Files and folders below a folder. Links are followed, but not back up; pipes and devices are passed over."""
    files, folders = {}, set()
    pending = [(root, "", frozenset())]
    while pending:
        folder, prefix, above = pending.pop()
        real = os.path.realpath(folder)
        if real in above:
            continue
        for path in folder.iterdir():
            if is_ignored(path.name):
                continue
            if path.is_dir():
                folders.add(prefix + path.name)
                pending.append((path, f"{prefix}{path.name}/", above | {real}))
            elif path.is_file() or not path.exists():  # a broken link is an unreadable file, to be reported
                files[prefix + path.name] = path
    return files, folders


def _list_folder(tree: FileTree) -> None:
    files, tree.folders = _walk(tree.root)
    tree.files = {name: partial(path.open, "rb") for name, path in files.items()}


def _list_zip(tree: FileTree, bad: BadInput) -> None:
    archive = zipfile.ZipFile(tree.root)
    for info in archive.infolist():
        is_link = stat.S_ISLNK(info.external_attr >> 16)
        _add_entry(tree, bad, info.filename, info.is_dir(), is_link, partial(archive.open, info))


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except EOFError:  # a compressed file cut off before its first block: a damaged archive, not another kind of file
        return True


def _list_tar(tree: FileTree, bad: BadInput) -> None:
    file = tree.root.open("rb")
    start = file.read(6)
    file.seek(0)
    for magic, decompress in _DECOMPRESSORS.items():
        if start.startswith(magic):
            # Entries are read in the order of their names; going back in a compressed stream would decompress it anew.
            unpacked = tempfile.TemporaryFile()  # noqa: SIM115
            with file, decompress(file) as stream:
                shutil.copyfileobj(stream, unpacked, 2**20)
            unpacked.seek(0)
            file = unpacked
            break
    archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    for member in archive:
        is_link = not (member.isfile() or member.isdir())
        _add_entry(tree, bad, member.name, member.isdir(), is_link, partial(archive.extractfile, member))


def _add_entry(
    tree: FileTree, bad: BadInput, raw_name: str, is_folder: bool, is_link: bool, opener: Callable[[], BinaryIO]
) -> None:
    name = raw_name.replace("\\", "/")
    if name.startswith("/") or PureWindowsPath(name).drive or ".." in name.split("/"):
        bad.add(raw_name, "leads out of the archive")
        return
    name = PurePosixPath(name).as_posix()
    if name == "." or is_ignored(name):
        return
    if is_link:
        bad.add(raw_name, "is a link or device, which is never followed in an archive")
    elif is_folder:
        tree.folders.add(name)
    else:
        tree.files[name] = opener
