"""Tars, compressed or not, read to their very end. Python's library stops without a word where a header is damaged, and
where another tar was joined on (`cat a.tar b.tar`)."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}  # by how a file begins
BYTES_AT_ONCE = 2**20
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError)
# The library does not look at what a header says: lengths and depths that cannot be end in errors of every kind.
_OF_ODD_HEADERS = (ValueError, OverflowError, MemoryError, RecursionError)


@contextmanager
def naming_tar_damage() -> Iterator[None]:
    """Turns what the library raises on a damaged tar into tarfile.ReadError with one line; an OSError stays."""
    try:
        yield
    except (tarfile.TarError, *_DAMAGE, *_OF_ODD_HEADERS) as error:
        raise tarfile.ReadError(str(error).partition("\n")[0].rstrip(":") or "a damaged header") from error


def tar_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields the members one after the other, of all the tars in one file. To be read in `naming_tar_damage`.

    A compressed one is read to the end of its stream, where its checksum is.

    Raises:
        tarfile.ReadError: If what should be a header is none.
    """
    while True:
        while (member := tar.next()) is not None:
            tar.members.clear()  # it would keep an account of each
            yield member
        tar.fileobj.seek(tar.offset)
        zeros = _count_zeros(tar)
        if zeros is None:
            return
        if zeros < tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"what is at byte {tar.offset} is no header")
        tar.offset += zeros // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE


def _count_zeros(tar: tarfile.TarFile) -> int | None:
    """Returns how many bytes are 0 from where the file stands; None if all are."""
    count = 0
    while some := tar.fileobj.read(BYTES_AT_ONCE):
        if rest := some.lstrip(b"\0"):
            return count + len(some) - len(rest)
        count += len(some)
    return None
