"""Several sources of labelled faces as one, each image with the name of its source."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from .duplicates import drop_train_duplicates
from .faces import PARTS, TEST, TRAIN, VALIDATION
from .fer_dataset import VOTE_FEATURES, find_source, load_fer_dataset
from .votes import one_hot

logger = logging.getLogger(__name__)


def load_joined_datasets(
    sources: Mapping[str, Mapping[str, Any]], *, drop_duplicates: bool = False, **defaults: Any
) -> DatasetDict:
    """Loads several sources and joins their parts, each split in its own way.

    Args:
        sources: Name of each source -> arguments of `load_fer_dataset`, `data` among them, and `repeat` (`int`, 1 by
            default), how often its training images stand in the joined part. With the split `"train"` all images of a
            source are for training, also those of its own validation part, but for those of the films or persons that
            another source holds out: their names are taken to mean the same in both. Its test part, if it has one, is
            left out.
        drop_duplicates: Whether to drop the training images of any source that are exact or near duplicates of a
            held-out image of any source.
        **defaults: arguments of `load_fer_dataset` for the sources that do not give their own.

    Returns:
        `train`, `validation` and, where all sources that hold images out have one, `test`, with the columns of
        `load_fer_dataset` and `source` (`str`). `path` and `group` begin with the source's name and a slash. Where one
        source has `votes`, the label of an image of another stands for all votes. A test part that is left out is
        logged.

    Raises:
        FileNotFoundError: If the data of a source is no existing path and cannot be had from the Hub; before any source
            is read.
        ValueError: If there is no source, one lacks `data` or has an unknown argument, or cannot be used. The message,
            like that above, begins with the source's name.
    """
    _check(sources)
    arguments = {name: {**defaults, **given} for name, given in sources.items()}
    repeats = {name: given.pop("repeat", 1) for name, given in arguments.items()}
    if all(given.get("split") == TRAIN for given in arguments.values()):
        raise ValueError(
            "every source has the split 'train'; at least one must hold out images to measure on: give it another "
            "split, such as 'group'."
        )
    for name, given in arguments.items():  # all of them before the reading, which can take minutes
        with _naming(name):
            given["data"] = find_source(given["data"], given.get("cache_dir"))
    loaded: dict[str, DatasetDict] = {}
    for name, given in arguments.items():
        with _naming(name):
            loaded[name] = load_fer_dataset(**given)
    _drop_held_out_groups(loaded)
    _drop_unused_test_parts(loaded)
    has_votes = any("votes" in dataset[TRAIN].column_names for dataset in loaded.values())
    joined = DatasetDict()
    for part in PARTS:
        if marked := [_mark(dataset[part], name, has_votes) for name, dataset in loaded.items() if part in dataset]:
            joined[part] = concatenate_datasets(marked)
    if drop_duplicates:
        joined = drop_train_duplicates(joined, " + ".join(sources))
    names = joined[TRAIN]["source"][:]
    joined[TRAIN] = joined[TRAIN].select([row for row, name in enumerate(names) for _ in range(repeats[name])])
    return joined


def _check(sources: Mapping[str, Mapping[str, Any]]) -> None:
    if not sources:
        raise ValueError("data names no source; give each a name and its arguments, such as data.")
    if "data" in sources and not isinstance(sources["data"], Mapping):
        raise ValueError(
            "data gives the arguments of a source without its name; write them below one, such as "
            "{faces: {data: faces.zip, split: group}}."
        )
    known = (*inspect.signature(load_fer_dataset).parameters, "repeat")
    for name, given in sources.items():
        if not isinstance(given, Mapping) or "data" not in given:
            raise ValueError(f"the source {name} needs its data: a folder, archive, csv or Hub id.")
        if unknown := [key for key in given if key not in known or key == "drop_duplicates"]:
            raise ValueError(f"the source {name} has no argument {unknown[0]}; it takes {', '.join(known)}.")
        repeat = given.get("repeat", 1)
        if not isinstance(repeat, int) or repeat < 1:
            raise ValueError(f"the source {name} has repeat {repeat!r}; it is a whole number from 1.")


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Puts the name of a source before what is wrong with it."""
    try:
        yield
    except (ValueError, OSError) as error:
        # Subclasses of ValueError such as UnicodeDecodeError cannot be made of a message alone.
        kind = type(error) if isinstance(error, OSError) else ValueError
        raise kind(f"the source {name}: {error}") from error


def _drop_held_out_groups(loaded: Mapping[str, DatasetDict]) -> None:
    """Of sources for training only, leaves out the films and persons that another holds out, and logs how many images.

    An image that is a group of its own is none of them.
    """
    held_out = {
        group
        for dataset in loaded.values()
        if VALIDATION in dataset
        for part in dataset.keys() - {TRAIN}
        for group, path in zip(dataset[part]["group"], dataset[part]["path"], strict=True)
        if group != path
    }
    for name, dataset in loaded.items():
        if VALIDATION not in dataset:
            rows = dataset[TRAIN]
            kept = [row for row, group in enumerate(rows["group"]) if group not in held_out]
            if num := rows.num_rows - len(kept):
                log = "%s: left out %d of %d images, of films or persons that another source holds out."
                logger.warning(log, name, num, rows.num_rows)
            dataset[TRAIN] = rows.select(kept)


def _drop_unused_test_parts(loaded: Mapping[str, DatasetDict]) -> None:
    """Takes away the test parts that are not measured on, and logs each."""
    is_common = all(TEST in dataset for dataset in loaded.values() if VALIDATION in dataset)
    for name, dataset in loaded.items():
        is_measured = VALIDATION in dataset
        if TEST in dataset and not (is_common and is_measured):
            reason = "not every source that holds images out has one" if is_measured else "its split is 'train'"
            log = "%s: left out its test part of %d images, neither trained nor measured on: %s."
            logger.warning(log, name, dataset.pop(TEST).num_rows, reason)


def _mark(rows: Dataset, name: str, has_votes: bool) -> Dataset:
    """Adds the source, and the votes if some source has them, to the rows of a part, without touching their images."""
    columns: dict[str, list] = {
        "path": [f"{name}/{path}" for path in rows["path"]],
        "group": [f"{name}/{group}" for group in rows["group"]],
        "source": [name] * rows.num_rows,
    }
    features = dict.fromkeys(columns, Value("string"))
    if has_votes and "votes" not in rows.column_names:
        columns["votes"] = [one_hot(label) if label >= 0 else None for label in rows["label"]]
        columns["vote_counts"] = [None] * rows.num_rows
        features |= VOTE_FEATURES
    marks = Dataset.from_dict(columns, features=Features(features))
    return concatenate_datasets([rows.remove_columns(["path", "group"]), marks], axis=1)
