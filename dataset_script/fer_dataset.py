"""From a folder, an archive, a csv, a table, a Hub id or the face renderer to one `DatasetDict`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import datasets
import numpy as np
from datasets import DatasetDict, Value
from datasets.builder import Key
from datasets.exceptions import DatasetGenerationError
from datasets.fingerprint import Hasher

from involvit.files import URL_ADVICE, expand_user, is_url
from involvit.names import shown

from .bad_input import BadInput
from .class_folders import read_class_folders
from .data_arguments import SPLITS
from .duplicates import drop_train_duplicates
from .encoded_images import checked_image
from .faces import PARTS, TEST, TRAIN, VALIDATION, Face, compile_group_pattern, encode_png, group_of
from .fer2013_csv import find_fer2013_csv, read_fer2013_csv
from .fer_plus import find_label_files, find_votes_csv, read_label_files, read_votes_csv
from .file_tree import fingerprint, open_file_tree
from .labels import LABELS
from .person_folders import by_person_folder, describe_groups
from .rendered.rendered_faces import rendered_faces
from .splits import split_indices
from .tables import ADVICE, is_hub_id, is_table, load_table, named_files, read_table, refuse_packed_tables
from .votes import ANSWERS, one_hot

logger = logging.getLogger(__name__)

# Keeps `datasets` from replacing `Path` in the module of a builder by one for which `a::b` and `hf:` are URLs.
_patched_for_streaming = True

RENDERED = "rendered"
VOTE_FEATURES = {
    "votes": datasets.List(Value("float32"), length=len(LABELS)),
    "vote_counts": datasets.List(Value("int32"), length=len(ANSWERS)),
}
"""Columns of data whose faces were judged by several people."""


class Source(NamedTuple):
    """Faces that were found and not read yet."""

    data: str  # absolute path, Hub id or the word "rendered"
    fingerprint: str  # stands for the content: it makes the cache see files that were added or changed
    tables: DatasetDict | None = None  # what `datasets` loads: local tables, or what the Hub has under the id


@dataclass
class FERConfig(datasets.BuilderConfig):
    """What is read and how."""

    data: str = ""
    fingerprint: str = ""
    group_pattern: str | None = None
    on_error: str = "stop"
    rendered: tuple[int, int, int] | None = None  # number, size and seed


class FERDataset(datasets.GeneratorBasedBuilder):
    """Reads a source into rows of `image`, `label`, `group`, `path` and, where it has them, `votes` and `vote_counts`.

    The parts are those that the source itself has.

    Images keep their encoded bytes where `datasets` can decode them, see `checked_image`. What is left out with
    `on_error="skip"` is listed in the data set's `info.description`, and how many images are there more than once.
    """

    VERSION = datasets.Version("1.5.0")
    BUILDER_CONFIG_CLASS = FERConfig
    config: FERConfig
    tables: DatasetDict | None = None

    def _info(self) -> datasets.DatasetInfo:
        columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(LABELS))}
        columns |= {"group": Value("string"), "path": Value("string")}
        return datasets.DatasetInfo(features=datasets.Features(columns))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        config = self.config
        self._bad = BadInput(config.data, config.on_error)
        self._path_of: dict[bytes, str] = {}  # by the hash of an image's bytes
        self._copies: list[str] = []
        if config.rendered is not None:
            drawn = rendered_faces(*config.rendered)
            images = (Face(TRAIN, f.path, f.label, partial(encode_png, f.image), f.group) for f in drawn)
            parts: dict[str, Iterable[Face]] = {TRAIN: images}
            lengths = {TRAIN: config.rendered[0]}
        else:
            faces = _read_source(config.data, self.tables, self._bad)
            if config.group_pattern is None:
                faces = by_person_folder(faces)
            parts = _by_part(faces, self._bad)
            lengths = {part: len(faces) for part, faces in parts.items()}
            if any(face.votes is not None for faces in parts.values() for face in faces):
                self.info.features |= VOTE_FEATURES
        generators = [datasets.SplitGenerator(part, gen_kwargs={"faces": faces}) for part, faces in parts.items()]
        for generator in generators:
            generator.split_info.num_examples = lengths[generator.name]  # the end of the progress bar
        return generators

    def _generate_examples(self, faces: Iterable[Face]) -> Iterator[tuple[Key, dict[str, Any]]]:
        pattern = compile_group_pattern(self.config.group_pattern)
        for index, face in enumerate(faces):
            with self._bad.catching(face.path):
                data = face.read()
                if (first := self._path_of.setdefault(hashlib.sha256(data).digest(), face.path)) != face.path:
                    self._copies.append(f"{shown(face.path)} is {shown(first)}")
                row = {
                    "image": {"bytes": checked_image(data), "path": PurePosixPath(face.path).name},
                    "label": face.label,
                    "group": group_of(face.path, pattern) if face.group is None else face.group,
                    "path": face.path,
                }
                if "votes" in self.info.features:
                    row["votes"] = one_hot(face.label) if face.votes is None and face.label >= 0 else face.votes
                    row["vote_counts"] = face.vote_counts
                yield Key(0, index), row
        count = f"took {len(self._copies):,} images that are copies of others to the byte"
        copies = f"{count}, the first: {self._copies[0]}; keep one of each" if self._copies else ""
        self.info.description = "\n".join(filter(None, [self._bad.report(), copies]))


def load_fer_dataset(
    data: str | Path | Source,
    split: str | None = None,
    *,
    seed: int = 42,
    validation_fraction: float = 0.1,
    n_folds: int = 5,
    fold: int = 0,
    group_pattern: str | None = None,
    on_error: str = "stop",
    drop_duplicates: bool = False,
    rendered_images: int = 700,
    rendered_size: int = 112,
    cache_dir: str | Path | None = None,
) -> DatasetDict:
    """Loads faces with their expressions, split for training and validation.

    The first call reads and checks every image and keeps the rows in the cache of `datasets`; later calls with the same
    content take them from there, whatever the split.

    Args:
        data: A folder, zip or tar of class folders, of FER2013's csv or of FER+ in either of its forms (see
            `fer_plus`), FER2013's csv itself, a folder or file that `datasets` can load with the columns `image` and
            `label`, the Hub id of such a data set, or the word `"rendered"` for drawn faces. Or what `find_source`
            makes of that.
        split: `"official"` (the parts the data comes in), `"random"`, `"stratified"`, `"group"` (no film or person in
            both), `"kfold"` (stratified), `"group_kfold"` or `"train"` (nothing is held out, for a source of several).
            None is official where the data has a training and a validation part, else stratified. All but official pool
            these two parts and split anew; a test part is left as it is.
        seed: Of the split, and of the rendered faces.
        validation_fraction: Share of the images for validation, in (0, 1); official and k-fold splits have their own.
        n_folds: Number of folds of the k-fold splits.
        fold: Which fold is the validation part, from 0.
        group_pattern: Regular expression with one group that finds the film or person in a whole file name without its
            suffix. By default the folder tells the person where there are folders besides those of parts and classes
            (`S005/happy/x.png`, `happy/S005/x.png`, see `by_person_folder`), else what stands before the trailing
            numbers: `Airheads_000519240_00000005` is of the group `Airheads`. An image whose name does not match is a
            group of its own. A `group` column that the data has itself is kept.
        on_error: `"stop"` at the first image, row or folder that cannot be used, or `"skip"` it; how many and which is
            logged as a warning and stands in `info.description`.
        drop_duplicates: Whether to drop the training images that are exact or near duplicates of an image in the other
            parts.
        rendered_images: How many faces `"rendered"` draws.
        rendered_size: Their height and width in pixels.
        cache_dir: Another place for the cache.

    Returns:
        `train`, `validation` (unless the split is `"train"`) and, where the data has one, `test`, ordered by path, with
        `image` (the original encoded bytes), `label` (`ClassLabel` of `LABELS`; -1 in a test part without labels),
        `group` (`str`) and `path` (`str`, inside the source). Where several people judged the faces, `label` is their
        majority, and there are `votes` (seven floats that sum to 1, see `votes.distribution`) and `vote_counts` (ten
        ints, how many people gave each of `votes.ANSWERS`; None where nobody counted them).

    Raises:
        FileNotFoundError: If `data` is no existing path and cannot be had from the Hub.
        ValueError: For anything else that cannot be used; the message names the file and says what to do.
    """
    if split not in (None, *SPLITS, TRAIN):
        raise ValueError(f"split is {split!r}; it is one of {', '.join((*SPLITS, TRAIN))}.")
    compile_group_pattern(group_pattern)
    source = data if isinstance(data, Source) else find_source(data, cache_dir)
    data = source.data
    builder = FERDataset(
        cache_dir=cache_dir,
        data=data,
        fingerprint=source.fingerprint,
        group_pattern=group_pattern,
        on_error=on_error,
        rendered=(rendered_images, rendered_size, seed) if data == RENDERED else None,
    )
    builder.tables = source.tables
    try:
        builder.download_and_prepare()
    except DatasetGenerationError as error:
        raise (error.__cause__ or error) from None
    # a part of which every row was left out has no data to load
    parts = DatasetDict({p: builder.as_dataset(p) for p, info in builder.info.splits.items() if info.num_examples})
    if builder.info.description:
        logger.warning("%s: %s", data, builder.info.description)

    if TRAIN not in parts:
        raise ValueError(f"{data}: not one training image can be read.")
    pool = datasets.concatenate_datasets([parts[part] for part in (TRAIN, VALIDATION) if part in parts])
    labels, groups = np.array(pool["label"][:]), np.array(pool["group"][:])
    if len(np.unique(labels[labels >= 0])) < 2:
        raise ValueError(f"{data}: fewer than two classes have readable images; at least two are needed.")
    if split is None:
        split = "official" if VALIDATION in parts else "stratified"
    if split == "official":
        if VALIDATION not in parts:
            raise ValueError(
                f"{data} has no official training and validation parts; choose another split: {', '.join(SPLITS[1:])}."
            )
        dataset = parts
    elif split == TRAIN:
        dataset = DatasetDict({TRAIN: pool})
    else:
        if "group" in split:
            logger.warning("%s: %s", data, describe_groups(pool["group"][:], pool["path"][:]))
        try:
            train, validation = split_indices(
                labels, groups, split, seed=seed, validation_fraction=validation_fraction, n_folds=n_folds, fold=fold
            )
        except ValueError as error:
            raise ValueError(f"{data}: {error}") from error
        dataset = DatasetDict({TRAIN: pool.select(train), VALIDATION: pool.select(validation)})
    if TEST in parts:
        dataset[TEST] = parts[TEST]
    if drop_duplicates:
        dataset = drop_train_duplicates(dataset, data)
    if len(set(dataset[TRAIN]["label"][:])) < 2:
        raise ValueError(
            f"{data}: fewer than two classes are left for training; choose another split or keep the duplicates."
        )
    return dataset


def find_source(data: str | Path, cache_dir: str | Path | None = None) -> Source:
    """Finds a source without reading its images; one on the Hub is downloaded. For arguments see `load_fer_dataset`.

    Raises:
        FileNotFoundError: If it is no existing path and cannot be had from the Hub.
        ValueError: If `datasets` cannot load a table, or what is on the Hub.
    """
    data = str(data)
    if not data.strip():
        raise ValueError(f"the data has no name. {ADVICE}")
    if data == RENDERED:  # drawn anew when the way of drawing changes
        if Path(data).exists():
            logger.warning("%s stands for drawn faces; for the folder of that name give ./%s", data, data)
        code = sorted(Path(__file__).with_name("rendered").glob("*.py"))
        return Source(data, Hasher.hash([path.read_bytes() for path in code]))
    path = Path(data)
    if not path.exists():
        path = expand_user(data)
    if path.exists():
        path = path.absolute()
        if not is_table(path):
            return Source(str(path), fingerprint(path))
        tables = load_table(str(path), cache_dir)
        return Source(str(path), fingerprint(path, named_files(tables)), tables)
    if is_hub_id(data):
        tables = load_table(data, cache_dir)
        return Source(data, Hasher.hash({split: table._fingerprint for split, table in tables.items()}), tables)
    if is_url(data):
        raise FileNotFoundError(f"{data} {URL_ADVICE}; a data set of the Hub is named by its id, owner/name.")
    raise FileNotFoundError(
        f"{data!r} does not exist. {ADVICE} Or give a Hub id of the form owner/name, or the word {RENDERED!r}."
    )


def _read_source(data: str, tables: DatasetDict | None, bad: BadInput) -> list[Face]:
    if tables is not None:
        return read_table(tables, bad)
    tree = open_file_tree(Path(data), bad)
    csv = find_fer2013_csv(tree)
    if csv is not None and (votes := find_votes_csv(tree)) is not None:
        return read_votes_csv(tree, votes, csv, bad)
    if label_files := find_label_files(tree):
        return read_label_files(tree, label_files, bad)
    if csv is not None:
        return read_fer2013_csv(tree, csv, bad)
    refuse_packed_tables(tree)
    return read_class_folders(tree, bad)


def _by_part(faces: list[Face], bad: BadInput) -> dict[str, tuple[Face, ...]]:
    # Tuples: the library takes a list in gen_kwargs for a list of shards.
    parts = {part: tuple(face for face in faces if face.part == part) for part in PARTS}
    parts = {part: part_faces for part, part_faces in parts.items() if part_faces}
    if not parts:
        reason = bad.summary()
        raise ValueError(f"{bad.source} holds no usable image{f' ({reason})' if reason else ''}; give other data.")
    # The first part is what there is to learn from, whatever its name.
    return {TRAIN: parts.pop(next(iter(parts))), **parts}
