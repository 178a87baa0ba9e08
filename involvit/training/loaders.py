"""The faces of a recipe, and the loaders that bring them in batches."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pyarrow.compute as pc
import torch
from torch.utils.data import DataLoader, RandomSampler, WeightedRandomSampler

from dataset_script import load_fer_dataset, load_joined_datasets
from modeling_involvit import InvolViTImageProcessor

from .augmentation import build_augmentation
from .face_dataset import FaceDataset
from .machine import AUTO, device_type, loading_processes, share_of_cores
from .recipe import Recipe

_SHARED_MEMORY = Path("/dev/shm")
_DATA_FIELDS = ("split", "seed", "validation_fraction", "n_folds", "fold", "group_pattern", "on_error")
_DATA_FIELDS += ("drop_duplicates", "rendered_images", "rendered_size")


def load_faces(recipe: Recipe) -> datasets.DatasetDict:
    """Loads the splits to train on and to measure on.

    Raises:
        FileNotFoundError: If there is no such data.
        ValueError: If the data, or an argument for it, cannot be used.
    """
    load = load_joined_datasets if isinstance(recipe.data, dict) else load_fer_dataset
    with contextlib.chdir(recipe.data_dir):
        faces = load(recipe.data, **{name: getattr(recipe, name) for name in _DATA_FIELDS})
    if "test" in faces and min(faces["test"]["label"]) < 0:  # SFEW 2.0 keeps the labels of its test part
        faces.pop("test")
    return faces


def data_fingerprint(faces: datasets.DatasetDict) -> str:
    """Returns a hash of the paths, targets and numbers of bytes of the images: the same wherever the data lies."""
    seen = []
    for part, rows in faces.items():
        columns = [rows[name][:] for name in ("path", "label", "votes") if name in rows.column_names]
        sizes = pc.binary_length(pc.struct_field(rows.data.column("image"), "bytes"))  # without reading them
        seen.append([part, *columns, sizes.to_pylist()])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def build_loaders(
    recipe: Recipe, faces: datasets.DatasetDict, processor: InvolViTImageProcessor, order: torch.Generator
) -> tuple[DataLoader, dict[str, DataLoader]]:
    """Builds the loader to train with, whose order follows from `order` alone, and those to measure with, by part.

    Raises:
        OSError: If the shared memory has no room for the batches that workers pass on.
    """
    num_workers = loading_processes(recipe.num_workers, share_of_cores(recipe.num_threads), device_type())
    if recipe.num_workers == AUTO:
        num_workers = min(num_workers, _room_for_workers(recipe, processor))
    loader = partial(DataLoader, num_workers=num_workers, worker_init_fn=_ignore_ctrl_c)
    rows = faces["train"]
    target = "votes" if recipe.votes and "votes" in rows.column_names else "label"
    augmentation = build_augmentation(recipe.augmentation, processor.size.height)
    train_faces = FaceDataset(rows, processor, augmentation, recipe.seed, target)
    if num_workers:
        with naming_full_shared_memory():
            train_faces.epoch.share_memory_()  # workers outlive an epoch
            torch.empty(num_workers, _bytes_ahead(recipe, processor), dtype=torch.uint8).share_memory_()  # is it there?
    sampler = RandomSampler(train_faces, generator=order)
    if recipe.class_balance == "sampler":
        labels = rows["label"][:]
        weights = 1 / np.bincount(labels)[labels]
        sampler = WeightedRandomSampler(weights.tolist(), len(labels), generator=order)
    # With a generator: starting an iterator draws from it, and else from the global one, from which a run that resumes
    # would then draw other dropout masks.
    train_loader = loader(
        train_faces,
        recipe.batch_size,
        sampler=sampler,
        drop_last=len(rows) > recipe.batch_size and len(rows) % recipe.batch_size == 1,  # BatchNorm needs two images
        persistent_workers=num_workers > 0,
        generator=torch.Generator(),
    )
    return train_loader, {
        part: loader(FaceDataset(rows, processor), recipe.eval_batch_size)
        for part, rows in faces.items()
        if part != "train"
    }


def _bytes_ahead(recipe: Recipe, processor: InvolViTImageProcessor) -> int:
    """Returns the shared memory that a worker fills while it is ahead: by two batches."""
    return 2 * max(recipe.batch_size, recipe.eval_batch_size) * 3 * processor.size.height * processor.size.width * 4


def _room_for_workers(recipe: Recipe, processor: InvolViTImageProcessor) -> int:
    """Returns for how many workers the shared memory has room; that of a container may be small."""
    if not _SHARED_MEMORY.exists():
        return sys.maxsize
    return shutil.disk_usage(_SHARED_MEMORY).free // (2 * _bytes_ahead(recipe, processor))  # half of it for others


@contextlib.contextmanager
def naming_full_shared_memory() -> Iterator[None]:
    """Says what to do where torch finds no shared memory, or a worker is killed for want of it."""
    try:
        yield
    except RuntimeError as error:
        if "shared memory" not in str(error):
            raise
        raise OSError(
            "the shared memory (/dev/shm) has no room for what the workers load; set fewer num_workers, or 0, or make "
            "it larger, in Docker by --shm-size"
        ) from error


def _ignore_ctrl_c(worker: int) -> None:
    """Leaves Ctrl-C, which a terminal sends to workers too, to the process that they work for: it ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its end breaks the pipes of a worker, which would print that. Errors of the data go to that process, not here.
    sys.excepthook = lambda *_: None
