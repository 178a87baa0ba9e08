"""The images in a Parquet file, read a few rows at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .file_kinds import open_regular
from .shards import DamagedShardError, StoredImage

ROWS_AT_ONCE = 32  # they may be photos
LONGEST_HASH_BYTES = 64  # the smallest PNG has 67
BUFFER_BYTES = 2**20  # without it, a whole group of rows is read at once, and a file may be one group


def parquet_images(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[StoredImage]:
    """Yields the images of the rows whose names are wanted. Groups of rows of which none is wanted are not read.

    Args:
        path: The file.
        is_wanted: Is asked for each row, in order.

    Raises:
        DamagedShardError: If the file cannot be read, or no further.
        ValueError: If it has no column of images, or several.
    """
    with _opened(path) as file:
        column = _image_column(file.schema_arrow, path)
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            wanted = [row for row in range(start, stop) if is_wanted(f"{path}#{row}")]
            batches = file.iter_batches(ROWS_AT_ONCE, [group], [column]) if wanted else ()
            rows = iter(wanted)
            row = next(rows, stop)
            for batch in batches:
                values = batch.column(column)
                while row < start + len(values):
                    yield _stored(f"{path}#{row}", values[row - start].as_py())
                    row = next(rows, stop)
                start += len(values)
            start = stop


def count_rows(path: Path) -> int:
    """Returns how many rows a file has; raises what `parquet_images` raises."""
    with _opened(path) as file:
        _image_column(file.schema_arrow, path)
        return file.metadata.num_rows


def has_image_rows(path: Path) -> bool:
    """Returns whether a file has rows and columns of images; raises DamagedShardError if it cannot be read."""
    with _opened(path) as file:
        return bool(file.metadata.num_rows and _image_columns(file.schema_arrow))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with open_regular(path) as file, pq.ParquetFile(file, buffer_size=BUFFER_BYTES) as parquet:
            yield parquet
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DamagedShardError(f"{path}: cannot be read as Parquet ({reason}); replace or remove it") from error


def _image_column(schema: pa.Schema, path: Path) -> str:
    columns = _image_columns(schema)
    if not columns:
        given = f"has no column of images; its columns are {', '.join(schema.names)}"
        raise ValueError(f"{path}: {given}. Write one by `datasets.Image()`, or one of the bytes of image files")
    if len(columns) > 1:
        raise ValueError(f"{path}: has several columns of images, {', '.join(columns)}; write a copy with one of them")
    if schema.names.count(columns[0]) > 1:
        raise ValueError(f"{path}: has several columns named {columns[0]}; write a copy with names of their own")
    return columns[0]


def _image_columns(schema: pa.Schema) -> list[str]:
    """Returns the columns of `datasets.Image`; where there are none, those of bytes; else of bytes of one length."""
    features = {}
    with suppress(ValueError, KeyError, TypeError):
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    images, plain, fixed = [], [], []
    for field in schema:
        declared = features.get(field.name) if isinstance(features, dict) else None
        kind = declared.get("_type") if isinstance(declared, dict) else None
        if pa.types.is_struct(field.type) and kind in (None, "Image"):  # sound is stored in the same way
            index = field.type.get_field_index("bytes")
            if index >= 0 and _is_bytes(field.type.field(index).type):
                images.append(field.name)
        elif _is_bytes(field.type):
            (fixed if pa.types.is_fixed_size_binary(field.type) else plain).append(field.name)
    return images or plain or fixed


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_bytes(kind.value_type)
    if pa.types.is_fixed_size_binary(kind):
        return kind.byte_width > LONGEST_HASH_BYTES
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _stored(name: str, value: bytes | dict[str, object] | None) -> StoredImage:
    if isinstance(value, dict):
        return StoredImage(name, value["bytes"], value.get("path"))
    return StoredImage(name, value)
