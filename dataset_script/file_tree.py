"""One view of a folder, a zip and a tar: names and openers. Nothing is ever extracted to disk."""

from __future__ import annotations

import csv
import hashlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from involvit.files import LFS_ADVICE, is_ignored, is_lfs_pointer, natural_key
from involvit.tars import DECOMPRESSORS, naming_tar_damage, tar_members

from .bad_input import MAX_FILE_BYTES, BadInput
from .csv_files import SUFFIXES, csv_header, csv_rows

# What is not read, by how it begins.
_UNPACK = "unpack it, and give what was in it"
_SAVE_AS_CSV = "save the sheet as CSV, and give that"
_SAVE_IMAGES = "save the images as files in class folders, and give those"
_OTHERS = {
    b"Rar!\x1a\x07": f"a RAR archive; {_UNPACK}",
    b"7z\xbc\xaf'\x1c": f"a 7z archive; {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"compressed by zstd; {_UNPACK}",
    **dict.fromkeys(DECOMPRESSORS, f"compressed and holds no tar; {_UNPACK}"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"a document of an old Office; if it is a workbook, {_SAVE_AS_CSV}",
}
# The same of zips, by a file in them.
_DOCUMENTS = {
    "xl/workbook.xml": f"an Excel workbook; {_SAVE_AS_CSV}",
    "xl/workbook.bin": f"an Excel workbook; {_SAVE_AS_CSV}",
    "Index/Document.iwa": f"a document of Apple's iWork; if it is a sheet, {_SAVE_AS_CSV}",
    "mimetype": f"an OpenDocument file; if it is a sheet, {_SAVE_AS_CSV}",
    "[Content_Types].xml": f"an Office document; {_SAVE_IMAGES}",
}
_ZIP_STARTS = (b"PK", b"MZ")  # MZ: one that unpacks itself
_CSV_SUFFIXES = (*SUFFIXES, ".txt")
_COMPRESSED_TAR = re.compile(r".*\.(tar\.\w+|t[gbx]z2?)", re.IGNORECASE)

_Opener = Callable[[], BinaryIO]
_Entry = tuple[str, bool, bool, _Opener]  # name, whether it is a folder, whether it is a link or device

# RuntimeError: encrypted, or packed by a method it does not know
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, csv.Error, EOFError, RuntimeError, OSError)


@contextmanager
def naming_damage(what: str) -> Iterator[None]:
    """Turns what the standard library raises on a damaged archive or csv into a ValueError with `what` in it."""
    try:
        yield
    except _DAMAGE as error:
        if getattr(error, "errno", None):  # the disk's trouble, not the file's
            raise
        raise ValueError(f"{what} is truncated or damaged ({error}); get it again.") from error


@dataclass
class FileTree:
    """The files below a folder or in an archive."""

    root: Path  # the folder or archive
    files: dict[str, _Opener] = field(default_factory=dict)  # name, with `/`, -> opener; natural order
    folders: set[str] = field(default_factory=set)  # every one, empty ones too

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

    def header(self, name: str) -> list[str]:
        """Returns the fields of the first line of a csv. Raises ValueError if the file is damaged."""
        with self._csv(name) as file:
            return csv_header(file)

    def rows(self, name: str) -> Iterator[tuple[int, list[str]]]:
        """Yields the line number and the fields of each row of a csv that is not empty.

        Raises:
            ValueError: If the file is damaged.
        """
        with self._csv(name) as file:
            yield from csv_rows(file)

    @contextmanager
    def _csv(self, name: str) -> Iterator[BinaryIO]:
        with naming_damage(f"{self.root}: {name}"), self.files[name]() as file:
            if is_lfs_pointer(file.peek(64)):
                raise ValueError(f"{self.root}: {name} {LFS_ADVICE}.")
            yield file


def open_file_tree(root: Path, bad: BadInput) -> FileTree:
    """Lists a folder, zip or tar (also gzip, bzip2 or xz compressed), or a csv on its own.

    Hidden files and what operating systems leave behind are passed over. Links in an archive, entries that lead out of
    it (`../x`, `/x`) and a second one of the same name go to `bad` and are not part of the tree.

    Returns:
        The same for the same content, whatever the order on disk.

    Raises:
        ValueError: If the file is of another kind or damaged, or `bad` stops at an entry.
    """
    tree = FileTree(root)
    with naming_damage(str(root)):
        if root.is_dir():
            files, tree.folders = walk(root)
            tree.files = {name: partial(path.open, "rb") for name, path in files.items()}
        elif not root.is_file():  # to open a pipe would wait for whoever writes into it
            raise ValueError(f"{root} is a pipe or device; give a folder, zip, tar or csv.")
        elif is_lfs_pointer(start := _start(root)):
            raise ValueError(f"{root} {LFS_ADVICE}.")
        elif _is_tar(root):
            _add_entries(tree, _tar_entries(root), bad)
        elif _is_zip(root, start):
            _add_entries(tree, _zip_entries(root), bad)
        elif root.suffix.lower() in _CSV_SUFFIXES:
            tree.files[root.name] = partial(root.open, "rb")
        else:
            raise ValueError(f"{root} {_why_not_read(root, start)}")
    for name in [name for name in tree.files if name.encode(errors="replace").decode() != name]:
        bad.add(ascii(name), "has a name that is not UTF-8")
        del tree.files[name]
    tree.files = {name: tree.files[name] for name in sorted(tree.files, key=natural_key)}
    tree.folders.update(str(parent) for name in tree.files for parent in PurePosixPath(name).parents)
    tree.folders.discard(".")
    return tree


def fingerprint(root: Path, others: Iterable[str] = ()) -> str:
    """Returns a hash that changes when a file below the folder, or the archive, is added, removed or changed.

    It sees names, sizes and modification times, not content.

    Args:
        root: The folder or file.
        others: Paths of files elsewhere that it names, which need not be there.
    """
    files, folders = walk(root) if root.is_dir() else ({root.name: root}, set())
    seen: list[Any] = sorted(folders)
    seen += [(name, _stamp(path)) for name, path in sorted(files.items())]
    seen += [(path, _stamp(path)) for path in others]
    return hashlib.sha256(repr(seen).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def walk(root: Path) -> tuple[dict[str, Path], set[str]]:
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


def _stamp(path: str | Path) -> tuple[int, int] | None:
    try:
        info = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # such as a broken link
        return None
    return info.st_size, info.st_mtime_ns


def _start(root: Path) -> bytes:
    with root.open("rb") as file:
        return file.read(64)


def _why_not_read(root: Path, start: bytes) -> str:
    what = next((what for magic, what in _OTHERS.items() if start.startswith(magic)), None)
    is_tar = _COMPRESSED_TAR.fullmatch(root.name) and start.startswith(tuple(DECOMPRESSORS))
    if what is None or is_tar:
        return "is not a folder, zip, tar, csv or Parquet file; if it should be one, it is damaged: get it again."
    return f"is {what}."


def _is_zip(root: Path, start: bytes) -> bool:
    """Returns whether a file is a zip. Python looks at the end alone, where another file may hold one too."""
    return (start.startswith(_ZIP_STARTS) or root.suffix.lower() == ".zip") and zipfile.is_zipfile(root)


def _zip_entries(root: Path) -> Iterator[_Entry]:
    archive = zipfile.ZipFile(root)
    names = archive.namelist()
    if what := next((what for name, what in _DOCUMENTS.items() if name in names), None):
        raise ValueError(f"{root} is {what}.")
    if names and all(name.endswith(".npy") for name in names):
        raise ValueError(f"{root} holds arrays of NumPy; {_SAVE_IMAGES}.")
    for info in archive.infolist():
        yield info.filename, info.is_dir(), stat.S_ISLNK(info.external_attr >> 16), partial(archive.open, info)


def _is_tar(root: Path) -> bool:
    with naming_tar_damage():
        return tarfile.is_tarfile(root)


def _tar_entries(root: Path) -> Iterator[_Entry]:
    file = root.open("rb")
    start = file.read(6)
    file.seek(0)
    if decompress := next((opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), None):
        # Entries are read in the order of their names; going back in a compressed stream would decompress it anew.
        with file, decompress(file) as stream:
            file = tempfile.TemporaryFile()  # noqa: SIM115
            shutil.copyfileobj(stream, file, 2**20)
        file.seek(0)
    with naming_tar_damage():
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
        for member in tar_members(archive):
            is_link = not (member.isfile() or member.isdir())
            yield member.name, member.isdir(), is_link, partial(archive.extractfile, member)


def _add_entries(tree: FileTree, entries: Iterable[_Entry], bad: BadInput) -> None:
    for raw_name, is_folder, is_link, opener in entries:
        name = raw_name.replace("\\", "/")
        if name.startswith("/") or PureWindowsPath(name).drive or ".." in name.split("/"):
            bad.add(raw_name, "leads out of the archive")
            continue
        name = PurePosixPath(name).as_posix()
        if name == "." or is_ignored(name):
            continue
        if is_link:
            bad.add(raw_name, "is a link or device, which is never followed in an archive")
        elif is_folder:
            tree.folders.add(name)
        elif name in tree.files:
            bad.add(raw_name, "has the name of an earlier entry")
        else:
            tree.files[name] = opener
