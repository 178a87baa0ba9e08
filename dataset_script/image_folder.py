"""Image folders with a `metadata.csv` as spreadsheets write it; `datasets` reads UTF-8 with commas alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

from .csv_files import column_names, csv_rows

# Keeps `datasets` from replacing `Path` in the module of a builder by one for which `a::b` and `hf:` are URLs.
_patched_for_streaming = True


class ImageFolderOfAnyCsv(ImageFolder):
    """`ImageFolder` for every csv that `csv_rows` reads; its columns are text, and their names in small letters."""

    def _read_metadata(self, metadata_file: str, metadata_ext: str = "") -> Iterator[pa.Table]:
        if metadata_ext != ".csv":
            yield from super()._read_metadata(metadata_file, metadata_ext)
            return
        with Path(metadata_file).open("rb") as file:
            (_, header), *rows = csv_rows(file, errors="strict")
        for line, fields in rows:
            if len(fields) != len(header):
                raise ValueError(f"line {line} of {metadata_file} has {len(fields)} fields, not as many as the header")
        columns = [[fields[index].strip() or None for _, fields in rows] for index in range(len(header))]
        yield pa.table([pa.array(column, pa.string()) for column in columns], column_names(header))
