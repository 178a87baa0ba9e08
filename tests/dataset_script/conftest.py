from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_script import load_fer_dataset


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """Returns a function that makes the bytes of a noise image, a different one for each seed."""

    def encode(seed: int, image_format: str = "PNG", mode: str = "RGB", size: int = 8) -> bytes:
        shape = (size, size, 3) if mode == "RGB" else (size, size)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, image_format)
        return buffer.getvalue()

    return encode


@pytest.fixture
def png_of_size() -> Callable[[int, int], bytes]:
    """Returns a function that makes a small PNG file whose header claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def make(width: int, height: int) -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")

    return make


@pytest.fixture
def write_source(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes files as a folder or an archive; a name that ends in `/` is an empty folder."""

    def write(files: dict[str, bytes], kind: str = "folder") -> Path:
        root = tmp_path / f"source{'' if kind == 'folder' else '.' + kind}"
        if kind == "folder":
            for name, data in files.items():
                path = root / name
                (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    path.write_bytes(data)
        elif kind == "zip":
            with zipfile.ZipFile(root, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
        else:
            with tarfile.open(root, f"w:{kind.partition('.')[2]}") as archive:
                for name, data in files.items():
                    member = tarfile.TarInfo(name.rstrip("/"))
                    if name.endswith("/"):
                        member.type = tarfile.DIRTYPE
                    else:
                        member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        return root

    return write


@pytest.fixture
def class_files(encoded) -> dict[str, bytes]:
    """Three classes of four images in the layout of SFEW 1.0: two films with two frames each."""
    return {
        f"{name}/{film}_{frame:09d}_{frame:08d}.png": encoded(100 * index + 10 * number + frame)
        for index, name in enumerate(["Angry", "Happy", "Sad"])
        for number, film in enumerate(["Airheads", "Bridesmaids"])
        for frame in (1, 2)
    }


@pytest.fixture
def load(tmp_path):
    """`load_fer_dataset` with a cache of its own."""

    def load_here(data, *arguments, **options):
        return load_fer_dataset(data, *arguments, cache_dir=tmp_path / "cache", **options)

    return load_here
