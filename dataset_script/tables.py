"""What the `datasets` library loads by itself: Parquet, Arrow, JSON lines, image folders with metadata, Hub ids."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

import PIL.Image
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Image, Value, load_dataset, load_from_disk
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.packaged_modules.arrow.arrow import Arrow
from datasets.packaged_modules.json.json import Json
from datasets.packaged_modules.parquet.parquet import Parquet
from huggingface_hub import constants, get_session

from involvit.files import LFS_ADVICE, is_lfs_pointer, is_parquet_start, natural_key

from .bad_input import BadInput
from .csv_files import is_plain_csv
from .faces import TEST, TRAIN, UNLABELLED, Face, part_of
from .fer_plus import judged
from .file_tree import FileTree, walk
from .image_folder import ImageFolderOfAnyCsv
from .labels import LABELS, canonical_label, is_class_name
from .votes import checked_counts, checked_distribution

ADVICE = (
    f"Give the path of a folder, zip or tar of class folders ({', '.join(LABELS)}), of fer2013.csv or of a folder of "
    "Parquet files."
)
_BUILDERS = {"parquet": Parquet, "arrow": Arrow, "json": Json}
_KINDS = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "json", ".ndjson": "json"}
_PATTERN = re.compile(r"[*?[]")  # a path with such a sign `datasets` takes for a pattern
_LONGEST_PATH = 300  # no image is as small in Base64
_METADATA = "metadata.csv"
_METADATA_NAMES = {_METADATA, "metadata.jsonl", "metadata.parquet"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_table(path: Path) -> bool:
    """Returns whether a local file or folder is for `datasets` to load: it is or holds Parquet, Arrow or JSON lines
    files or a `metadata.csv`, and has no class folders."""
    if path.is_file():
        return _is_metadata(path) or _kind_alone(path) is not None
    if not path.is_dir():
        return False
    files, folders = walk(path)
    return not _has_class(folders) and any(_is_metadata(file) or _kind(file) for file in files.values())


def refuse_packed_tables(tree: FileTree) -> None:
    """Raises ValueError for an archive of tables instead of class folders: `datasets` reads them from folders."""
    tables = (name for name in tree.files if _is_metadata(PurePath(name)) or PurePath(name).suffix.lower() in _KINDS)
    if tree.root.is_file() and not _has_class(tree.folders) and (table := next(tables, None)):
        raise ValueError(f"{tree.root}: {table} is a table, and those are read from folders; unpack it, and name that.")


def _has_class(folders: Iterable[str]) -> bool:
    return any(is_class_name(PurePath(folder).name) for folder in folders)


def _is_metadata(path: PurePath) -> bool:
    return path.name.lower() == _METADATA


def _kind(path: Path) -> str | None:
    """What of `_BUILDERS` reads a file of a folder. Parquet has many suffixes, and is known by its content too."""
    suffix = path.suffix.lower()
    if suffix in _KINDS or suffix in PIL.Image.registered_extensions():
        return _KINDS.get(suffix)
    with suppress(OSError), path.open("rb") as file:
        return "parquet" if is_parquet_start(file.read(4)) else None
    return None


def _kind_alone(path: Path) -> str | None:
    """What reads a file that is named itself. Beside others, a `.json` is mostly about them."""
    return "json" if path.suffix.lower() == ".json" else _kind(path)


def is_hub_id(data: str) -> bool:
    """Returns whether the text has the form of a Hub data set's id, `owner/name`."""
    return _HUB_ID.fullmatch(data) is not None and not data.startswith(".")


def load_table(data: str, cache_dir: str | Path | None) -> DatasetDict:
    """Loads a local path or a Hub id with `datasets`, as it is.

    Raises:
        FileNotFoundError: If there is no such path, nor can the data set be had from the Hub.
        ValueError: If `datasets` cannot load it.
    """
    path = Path(data)
    if not path.exists() and not constants.HF_HUB_OFFLINE:  # offline, the cache of `datasets` is used
        try:  # without this, `datasets` would try for half a minute
            get_session().head(constants.ENDPOINT, timeout=10)
        except Exception as error:  # the exceptions of whatever HTTP client the Hub library uses
            problem = f"and the Hub cannot be reached to look for a data set of that name. {ADVICE}"
            raise FileNotFoundError(f"{data!r} is no local path, {problem}") from error
    if path.is_file() and _is_metadata(path):
        raise ValueError(f"{data} lists images of its folder; name the folder.")
    if path.exists() and "::" in data:
        raise ValueError(f"{data}: `datasets`, which loads tables, takes the '::' for a URL's; rename it.")
    own_reading = path.exists() and (_check_files(path) or _PATTERN.search(data))
    try:
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            loaded = load_from_disk(data)
        elif own_reading:
            loaded = _load_files(path, cache_dir)
        elif path.is_file():
            loaded = load_dataset(_kind_alone(path), data_files=data, cache_dir=cache_dir)
        else:
            loaded = load_dataset(data, cache_dir=cache_dir)
    except Exception as error:  # what `datasets` and its readers raise is not limited to a few types
        cause = error.__cause__ or error
        reason = next(iter(str(cause).splitlines()), type(error).__name__)
        if not path.exists():
            problem = f"and cannot be had from the Hub ({reason}). {ADVICE}"
            raise FileNotFoundError(f"{data!r} is no local path, {problem}") from error
        advice = "; save the csv as UTF-8 (in Excel, 'CSV UTF-8')" if isinstance(cause, UnicodeDecodeError) else ""
        raise ValueError(f"{data}: `datasets` cannot load it ({reason}){advice}.") from error
    tables = loaded if isinstance(loaded, DatasetDict) else DatasetDict({TRAIN: loaded})
    return DatasetDict({part: _without_views(table) for part, table in tables.items()})


def _without_views(table: Dataset) -> Dataset:
    """Turns columns of Arrow's view types into plain ones, which alone `datasets` takes for text or images."""
    for name, feature in table.features.items():
        if isinstance(feature, Value) and feature.dtype in ("binary_view", "string_view"):
            table = table.cast_column(name, Value(feature.dtype.removesuffix("_view")))
    return table


def _check_files(path: Path) -> bool:
    """Returns whether one of the files is a csv that `datasets` would not understand, or has a name it would not.

    Raises:
        ValueError: If one is a Git LFS pointer.
    """
    is_odd = False
    for inner in [path] if path.is_file() else walk(path)[0].values():
        if inner.is_file() and (inner == path or _is_metadata(inner) or _kind(inner)):
            with inner.open("rb") as file:
                if is_lfs_pointer(file.peek(64)):
                    raise ValueError(f"{inner} {LFS_ADVICE}.")
                if _is_metadata(inner):
                    is_odd |= inner.name != _METADATA or not is_plain_csv(file)
                elif path.is_dir():
                    is_odd |= inner.suffix not in _KINDS
    return is_odd


def _load_files(path: Path, cache_dir: str | Path | None) -> DatasetDict:
    """Finds the files here rather than by `datasets`; the split of each is in its name or that of its folder."""
    names = [path.name] if path.is_file() else sorted(walk(path)[0], key=natural_key)
    metadata = {PurePath(name).name for name in names if PurePath(name).name.lower() in _METADATA_NAMES}
    if metadata:
        builder_class = partial(ImageFolderOfAnyCsv, metadata_filenames=sorted(metadata))
    else:
        kinds = {name: _kind_alone(path) if path.is_file() else _kind(path / name) for name in names}
        kind = next(kind for kind in _BUILDERS if kind in kinds.values())
        builder_class, names = _BUILDERS[kind], [name for name in names if kinds[name] == kind]
    splits: dict[str, list[str]] = {}
    for name in names:
        part = next(filter(None, map(part_of, reversed(PurePath(name).parts))), TRAIN)
        splits.setdefault(part, []).append(str(path if path.is_file() else path / name))
    stamps = [(file, os.stat(file).st_mtime_ns) for files in splits.values() for file in files]  # noqa: PTH116
    files = DataFilesDict({part: DataFilesList(files, stamps) for part, files in splits.items()})
    builder = builder_class(cache_dir=cache_dir, data_files=files)
    builder.download_and_prepare()
    return builder.as_dataset()


def named_files(tables: Mapping[str, Dataset]) -> Iterator[str]:
    """Yields the paths of the images that tables name in place of holding them."""
    for table in tables.values():
        column = table.data.column("image") if "image" in table.column_names else pa.chunked_array([], pa.null())
        if pa.types.is_struct(column.type) and {"bytes", "path"} <= {field.name for field in column.type}:
            paths = pc.struct_field(column, "path").cast(pa.string())
            column = paths.filter(pc.is_null(pc.struct_field(column, "bytes")))
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield from (path for path in column.to_pylist() if path and len(path) <= _LONGEST_PATH)


def read_table(tables: DatasetDict, bad: BadInput) -> list[Face]:
    """Reads rows with an `image` and a `label`; `group`, `path`, `votes` and `vote_counts` are kept where they stand.

    Votes are seven shares in the order of `LABELS`, counts of votes ten numbers in that of `votes.ANSWERS`. A row with
    counts and no votes gets its votes as a face of FER+ does; if no class has the majority, it is left out and noted.

    Labels are strings, or numbers whose names the `label` column (a `ClassLabel`) carries; they are matched by name. In
    a test part -1 or None stands for no label.

    Args:
        tables: The source. A split's name gives the part.
        bad: Receives rows without image, with an unknown class, without label or with wrong votes.

    Raises:
        ValueError: If a column is missing, `image` holds no images, or labels are numbers without names.
    """
    faces = []
    for split, table in tables.items():
        missing = [column for column in ("image", "label") if column not in table.column_names]
        if "file_name" in table.column_names and "image" in missing:
            raise ValueError(f"{bad.source} lists images of its folder; name the folder.")
        if missing:
            raise ValueError(
                f"{bad.source}: split {split!r} has no column {' and no '.join(map(repr, missing))} but "
                f"{', '.join(table.column_names)}; rename with `rename_column`, save, and read that."
            )
        part = part_of(split) or TRAIN
        try:
            images = table.select_columns("image").cast_column("image", Image(decode=False))
        except (pa.ArrowException, TypeError) as error:
            raise ValueError(
                f"{bad.source}: the column 'image' of split {split!r} holds {table.features['image']}, not images; "
                "save it with the feature `Image()`, and read that."
            ) from error
        groups, paths, votes, counts = (
            table[name][:] if name in table.column_names else [None] * table.num_rows
            for name in ("group", "path", "votes", "vote_counts")
        )
        for index, (name, label) in enumerate(_canonical_ids(table, split, bad)):
            path = f"{split}/{index:06d}" if paths[index] is None else str(paths[index])
            with bad.catching(path):
                if label is None or (label == UNLABELLED and part != TEST):
                    raise ValueError("has no label" if name is None else f"is of the unknown class {name!r}")
                group = None if groups[index] is None else str(groups[index])
                face = Face(part, path, label, partial(_image_bytes, images, index), group)
                faces.append(_with_votes(face, votes[index], counts[index], bad))
    return [face for face in faces if face is not None]


def _canonical_ids(table: Dataset, split: str, bad: BadInput) -> list[tuple[str | None, int | None]]:
    """The class's name in the source and its id here for each row; id -1 without a name, None for an unknown name."""
    feature = table.features["label"]
    if isinstance(feature, ClassLabel) and not all(name.isdecimal() for name in feature.names):
        names = [None if i is None or i < 0 else feature.int2str(i) for i in table["label"]]
    elif isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
        names = list(table["label"])
    else:
        raise ValueError(
            f"{bad.source}: the labels of split {split!r} are {feature} without names, so their order is unknown; "
            "name them with `cast_column('label', ClassLabel(names=[...]))`, save, and read that."
        )
    ids = {name: LABELS.index(canonical_label(name)) if is_class_name(name) else None for name in set(names) - {None}}
    ids[None] = UNLABELLED
    return [(name, ids[name]) for name in names]


def _with_votes(face: Face, votes: Sequence[float] | None, counts: Sequence[int] | None, bad: BadInput) -> Face | None:
    """The face with the votes and counts that the table has; None where there are counts alone, with no majority."""
    counts = None if counts is None else checked_counts(counts)
    if votes is not None:
        face = replace(face, votes=checked_distribution(votes), vote_counts=counts)
    elif counts is not None:
        if (voted := judged(face, counts, bad)) is None:
            return None
        face = replace(voted, label=face.label)  # -1 stays -1: a test part's labels may be withheld
    if face.votes is not None and face.label != UNLABELLED and face.votes[face.label] < max(face.votes):
        raise ValueError(
            f"is labelled {LABELS[face.label]}, but most votes are for another class; votes stand in the order "
            f"{', '.join(LABELS)}"
        )
    return face


def _image_bytes(images: Dataset, index: int) -> bytes:
    image = images[index]["image"]
    if image is None:
        raise ValueError("has no image")
    if image["bytes"] is not None:
        return image["bytes"]
    try:
        return Path(image["path"]).read_bytes()
    except (OSError, ValueError) as error:
        if len(image["path"]) > _LONGEST_PATH or image["path"].startswith("data:"):
            problem = (
                "has a text for an image that is no path; if it is Base64, decode it and save the bytes as Parquet"
            )
            raise ValueError(problem) from error
        raise ValueError(f"cannot be read ({error})") from error
