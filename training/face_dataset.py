"""Faces as the model eats them: decoded, resized, augmented where asked, normalised."""

from __future__ import annotations

from typing import Any

import albumentations as A
import datasets
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import BaseImageProcessor


class FaceDataset(Dataset):
    """One part of a data set behind the image processor.

    The augmentation of an image depends on seed, epoch and index alone: not on the worker that loads it, nor on what
    was loaded before. That is what lets a run go on in the middle of an epoch as if it had never stopped.

    Args:
        faces: Rows with `image` and `label`.
        processor: Turns an image into `pixel_values`.
        augmentation: Applied to the resized uint8 image [H, W, 3]; None for evaluation.
        seed: Seed of the augmentation.
    """

    def __init__(
        self,
        faces: datasets.Dataset,
        processor: BaseImageProcessor,
        augmentation: A.Compose | None = None,
        seed: int = 0,
    ) -> None:
        self.faces = faces.select_columns(["image", "label"])
        self.processor = processor
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers outlive an epoch

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, from 0, in this process and its workers."""
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns `pixel_values` [3, size, size], `labels` (class id) and `index` of one face."""
        face = self.faces[index]
        resized = self.processor(face["image"], do_rescale=False, do_normalize=False)["pixel_values"][0]
        pixels = np.ascontiguousarray(np.moveaxis(np.asarray(resized, dtype=np.uint8), 0, -1))
        if self.augmentation is not None:
            entropy = np.random.SeedSequence((self.seed, int(self.epoch), index))
            self.augmentation.set_random_seed(int(entropy.generate_state(1)[0]))
            pixels = self.augmentation(image=pixels)["image"]
        pixel_values: Tensor = self.processor(pixels, do_resize=False, return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixel_values, "labels": face["label"], "index": index}
