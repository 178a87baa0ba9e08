"""Several sources of labelled faces as one, each image with the name of its source."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from .duplicates import drop_all_duplicates
from .faces import TEST, TRAIN
from .fer_dataset import load_fer_dataset


def load_joined_datasets(
    sources: Mapping[str, Mapping[str, Any]], *, drop_duplicates: bool = False, **defaults: Any
) -> DatasetDict:
    """Loads several sources and joins their parts, each split in its own way.

    Args:
        sources (`Mapping[str, Mapping[str, Any]]`): name of each source -> arguments of `load_fer_dataset`, `data`
            among them, and `repeat` (`int`, 1 by default), how often its training images stand in the joined part.
        drop_duplicates (`bool`): whether to drop the training images of any source that are exact or near duplicates of
            a held-out image of any source.
        **defaults: arguments of `load_fer_dataset` for the sources that do not give their own.

    Returns:
        `DatasetDict`: `train`, `validation` and, where all sources have one, `test`, with the columns of
        `load_fer_dataset` and `source` (`str`). `path` and `group` begin with the source's name and a slash.

    Raises:
        FileNotFoundError: if the data of a source is no existing path and cannot be had from the Hub.
        ValueError: if there is no source, one lacks `data` or has an unknown argument, or cannot be used.
    """
    if not sources:
        raise ValueError("data names no source; give each a name and its arguments, such as data.")
    known = (*inspect.signature(load_fer_dataset).parameters, "repeat")
    loaded, repeats = {}, {}
    for name, arguments in sources.items():
        if not isinstance(arguments, Mapping) or "data" not in arguments:
            raise ValueError(f"the source {name} needs its data: a folder, archive, csv or Hub id.")
        if unknown := [key for key in arguments if key not in known or key == "drop_duplicates"]:
            raise ValueError(f"the source {name} has no argument {unknown[0]}; it takes {', '.join(known)}.")
        repeats[name] = arguments.get("repeat", 1)
        if not isinstance(repeats[name], int) or repeats[name] < 1:
            raise ValueError(f"the source {name} has repeat {repeats[name]!r}; it is a whole number from 1.")
        arguments = {key: value for key, value in {**defaults, **arguments}.items() if key != "repeat"}
        dataset = load_fer_dataset(**arguments)
        loaded[name] = DatasetDict({part: _mark(rows, name) for part, rows in dataset.items()})
    parts = [part for part in next(iter(loaded.values())) if part != TEST or all(TEST in d for d in loaded.values())]
    joined = DatasetDict({part: concatenate_datasets([dataset[part] for dataset in loaded.values()]) for part in parts})
    if drop_duplicates:
        joined = drop_all_duplicates(joined, " + ".join(sources))
    names = joined[TRAIN]["source"][:]
    joined[TRAIN] = joined[TRAIN].select([row for row, name in enumerate(names) for _ in range(repeats[name])])
    return joined


def _mark(rows: Dataset, name: str) -> Dataset:
    """Adds the source to the rows of a part, without touching their images."""
    marks = {
        "path": [f"{name}/{path}" for path in rows["path"][:]],
        "group": [f"{name}/{group}" for group in rows["group"][:]],
        "source": [name] * rows.num_rows,
    }
    rows = rows.select_columns(["image", "label"])
    marked = Dataset.from_dict(marks, features=Features(dict.fromkeys(marks, Value("string"))))
    return concatenate_datasets([rows, marked], axis=1)
