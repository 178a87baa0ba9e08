"""The faces of a recipe, and the loaders that bring them in batches."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sized
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from dataset_script import load_fer_dataset, load_joined_datasets
from modeling_involvit import InvolViTImageProcessor

from .augmentation import build_augmentation
from .face_dataset import FaceDataset
from .recipe import Recipe

_DATA_FIELDS = ("split", "seed", "validation_fraction", "n_folds", "fold", "group_pattern", "on_error")
_DATA_FIELDS += ("drop_duplicates", "rendered_images", "rendered_size")


def load_faces(recipe: Recipe) -> datasets.DatasetDict:
    """Loads the splits to train on and to measure on.

    Raises:
        FileNotFoundError: If there is no such data.
        ValueError: If the data, or an argument for it, cannot be used.
    """
    options: dict[str, Any] = {name: getattr(recipe, name) for name in _DATA_FIELDS}
    with contextlib.chdir(recipe.data_dir):
        if isinstance(recipe.data, dict):
            faces = load_joined_datasets(recipe.data, **options)
        else:
            faces = load_fer_dataset(recipe.data, **options)
    if "test" in faces and min(faces["test"]["label"]) < 0:  # SFEW 2.0 keeps the labels of its test part
        faces.pop("test")
    return faces


def trains_on_votes(recipe: Recipe, faces: datasets.DatasetDict) -> bool:
    """Returns whether the targets are the votes of several people."""
    return recipe.votes and "votes" in faces["train"].column_names


def training_faces(recipe: Recipe, faces: datasets.DatasetDict, processor: InvolViTImageProcessor) -> FaceDataset:
    """Returns the training part, augmented, with the targets that the recipe asks for."""
    target = "votes" if trains_on_votes(recipe, faces) else "label"
    return FaceDataset(faces["train"], processor, build_augmentation(recipe.augmentation), recipe.seed, target)


def build_train_loader(
    train_faces: Dataset | Sized, labels: list[int], recipe: Recipe, order: torch.Generator
) -> DataLoader:
    """Builds the loader whose order follows from `order` alone."""
    if recipe.class_balance == "sampler":
        weights = 1 / np.bincount(labels)[labels]
        sampler = WeightedRandomSampler(weights.tolist(), len(labels), generator=order)
    else:
        sampler = RandomSampler(train_faces, generator=order)
    return DataLoader(
        train_faces,
        recipe.batch_size,
        sampler=sampler,
        num_workers=recipe.num_workers,
        persistent_workers=recipe.num_workers > 0,
        worker_init_fn=_ignore_ctrl_c,
        # Else starting an iterator draws from the global generator, and a resumed run would draw other dropout masks.
        generator=torch.Generator(),
    )


def build_eval_loaders(
    recipe: Recipe, faces: datasets.DatasetDict, processor: InvolViTImageProcessor
) -> dict[str, DataLoader]:
    """Builds a loader for each part to measure on, by its name."""
    return {
        part: DataLoader(
            FaceDataset(rows, processor),
            recipe.eval_batch_size,
            num_workers=recipe.num_workers,
            worker_init_fn=_ignore_ctrl_c,
        )
        for part, rows in faces.items()
        if part != "train"
    }


def _ignore_ctrl_c(worker: int) -> None:
    """Leaves Ctrl-C, which a terminal sends to workers too, to the process that they work for: it ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its end breaks the pipes of a worker, which would print that. Errors of the data go to that process, not here.
    sys.excepthook = lambda *_: None
