"""Several sources of labelled faces as one, each image with the name of its source."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from .duplicates import drop_all_duplicates
from .faces import TEST, TRAIN, VALIDATION
from .fer_dataset import VOTE_FEATURES, load_fer_dataset
from .votes import one_hot

logger = logging.getLogger(__name__)


def load_joined_datasets(
    sources: Mapping[str, Mapping[str, Any]], *, drop_duplicates: bool = False, **defaults: Any
) -> DatasetDict:
    """Loads several sources and joins their parts, each split in its own way.

    Args:
        sources (`Mapping[str, Mapping[str, Any]]`): name of each source -> arguments of `load_fer_dataset`, `data`
            among them, and `repeat` (`int`, 1 by default), how often its training images stand in the joined part. With
            the split `"train"` all images of a source are for training, but for those of the films or persons that
            another source holds out: their names are taken to mean the same in both.
        drop_duplicates (`bool`): whether to drop the training images of any source that are exact or near duplicates of
            a held-out image of any source.
        **defaults: arguments of `load_fer_dataset` for the sources that do not give their own.

    Returns:
        `DatasetDict`: `train`, `validation` and, where all sources have one, `test`, with the columns of
        `load_fer_dataset` and `source` (`str`). `path` and `group` begin with the source's name and a slash. Where one
        source has `votes`, the label of an image of another stands for all votes.

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
        loaded[name] = load_fer_dataset(**arguments)
    measured = [dataset for dataset in loaded.values() if VALIDATION in dataset]
    if not measured:
        raise ValueError("every source has the split 'train'; at least one must hold out images to measure on.")
    held_out = {
        group
        for dataset in measured
        for part in dataset
        if part != TRAIN
        for group, path in zip(dataset[part]["group"], dataset[part]["path"], strict=True)
        if group != path
    }
    for name, dataset in loaded.items():
        if VALIDATION not in dataset:
            dataset[TRAIN] = _all_but(dataset[TRAIN], held_out, name)
    has_votes = any("votes" in dataset[TRAIN].column_names for dataset in loaded.values())
    marked = [
        DatasetDict({part: _mark(rows, name, has_votes) for part, rows in dataset.items()})
        for name, dataset in loaded.items()
    ]
    parts = [TRAIN, VALIDATION, *([TEST] if all(TEST in dataset for dataset in measured) else [])]
    joined = DatasetDict(
        {part: concatenate_datasets([dataset[part] for dataset in marked if part in dataset]) for part in parts}
    )
    if drop_duplicates:
        joined = drop_all_duplicates(joined, " + ".join(sources))
    names = joined[TRAIN]["source"][:]
    joined[TRAIN] = joined[TRAIN].select([row for row, name in enumerate(names) for _ in range(repeats[name])])
    return joined


def _all_but(rows: Dataset, held_out: set[str], name: str) -> Dataset:
    """Leaves out the images of some groups, and logs how many went."""
    kept = [row for row, group in enumerate(rows["group"]) if group not in held_out]
    if len(kept) < rows.num_rows:
        logger.warning(
            "%s: left out %d of %d images, of films or persons that another source holds out.",
            name,
            rows.num_rows - len(kept),
            rows.num_rows,
        )
    return rows.select(kept)


def _mark(rows: Dataset, name: str, has_votes: bool) -> Dataset:
    """Adds the source, and the votes if some source has them, to the rows of a part, without touching their images."""
    columns: dict[str, list] = {
        "path": [f"{name}/{path}" for path in rows["path"]],
        "group": [f"{name}/{group}" for group in rows["group"]],
        "source": [name] * rows.num_rows,
    }
    features = dict.fromkeys(columns, Value("string"))
    kept = ["image", "label"]
    if "votes" in rows.column_names:
        kept += VOTE_FEATURES
    elif has_votes:
        columns |= {
            "votes": [one_hot(label) if label >= 0 else None for label in rows["label"]],
            "vote_counts": [None] * rows.num_rows,
        }
        features |= VOTE_FEATURES
    marks = Dataset.from_dict(columns, features=Features(features))
    return concatenate_datasets([rows.select_columns(kept), marks], axis=1)
