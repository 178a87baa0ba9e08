"""Faces as the model takes them: decoded, resized, augmented where asked, normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from modeling_involvit import InvolViTImageProcessor

if TYPE_CHECKING:
    import albumentations as A


@dataclass(eq=False)
class FaceDataset(Dataset):
    """One part of a data set behind the image processor.

    The augmentation of an image depends on seed, epoch and index alone: not on the worker that loads it, nor on what
    was loaded before. That is what lets a run continue in the middle of an epoch as if it had never stopped.
    """

    faces: datasets.Dataset
    processor: InvolViTImageProcessor
    augmentation: A.Compose | None = None  # of the resized uint8 image [H, W, 3]
    seed: int = 0  # of the augmentation
    target: str = "label"  # the column that becomes `labels`; the other one is "votes", a probability of each class

    def __post_init__(self) -> None:
        self.faces = self.faces.select_columns(["image", self.target])
        self.epoch = torch.zeros((), dtype=torch.int64)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, from 0, in this process; in its workers too if `epoch` is in shared memory."""
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns `pixel_values` [3, size, size], `labels` (class id, or probabilities [C]) and `index` of one face."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Returns a list of what `__getitem__` returns; a loader fetches a batch by it, in half the time."""
        faces = self.faces[indices]
        pixels = [self._pixels(index, image) for index, image in zip(indices, faces["image"], strict=True)]
        pixel_values = self.processor(pixels, do_resize=False, return_tensors="pt")["pixel_values"]
        return [
            {"pixel_values": values, "labels": label, "index": index}
            for values, label, index in zip(pixel_values, torch.tensor(faces[self.target]), indices, strict=True)
        ]

    def _pixels(self, index: int, image: Image.Image) -> np.ndarray:
        """Returns one image resized and augmented, uint8 [size, size, 3]."""
        processor = self.processor
        resized = processor.resize(processor.process_image(image), processor.size, processor.resample)
        pixels = np.ascontiguousarray(np.moveaxis(resized.numpy(), 0, -1))
        if self.augmentation is None:
            return pixels
        entropy = np.random.SeedSequence((self.seed, int(self.epoch), index))
        self.augmentation.set_random_seed(int(entropy.generate_state(1)[0]))
        return self.augmentation(image=pixels)["image"]
