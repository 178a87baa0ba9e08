"""Augmentation of training images by albumentations, named in the recipe."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # on import it would ask the network for a newer version

import albumentations as A
import numpy as np


def build_augmentation(transforms: Sequence[dict[str, dict[str, Any]]], image_size: int) -> A.Compose:
    """Builds a pipeline from names and arguments.

    Args:
        transforms: One mapping of one name to its arguments each, such as `{"RGBShift": {"p": 0.5}}`, in order.
        image_size: Height and width of the images.

    Returns:
        The pipeline; it takes and gives uint8 images [H, W, 3]. `set_random_seed` makes its next call reproducible.

    Raises:
        ValueError: If albumentations has no such transform, it does not take the arguments, or gives no such image
            when it is tried on one.
    """
    named = [(name, arguments) for item in transforms for name, arguments in item.items()]
    for name, arguments in named:
        _try_transform(name, arguments, image_size)
    return A.Compose([_build_transform(name, arguments) for name, arguments in named])


def _try_transform(name: str, arguments: dict[str, Any], image_size: int) -> None:
    transform = _build_transform(name, {**arguments, "p": 1.0})
    rule = f"it must give uint8 images of {image_size} x {image_size} px; they are normalised afterwards"
    image = np.zeros((image_size, image_size, 3), np.uint8)
    try:
        given = transform(image=image)["image"]
    except Exception as error:  # whatever a transform raises that wants other images, or masks and boxes
        raise ValueError(f"augmentation {name}: {' '.join(str(error).split())}; {rule}") from error
    if not isinstance(given, np.ndarray) or given.dtype != image.dtype or given.shape != image.shape:
        raise ValueError(f"augmentation {name} gives {given.dtype} {list(given.shape)}; {rule}")


def _build_transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    transform = getattr(A, name, None)
    if not (isinstance(transform, type) and issubclass(transform, A.BasicTransform)):
        if isinstance(transform, type) and issubclass(transform, A.BaseCompose):
            raise ValueError(f"augmentation {name} groups others, which a recipe cannot; name them one after the other")
        known = [one for one, kind in vars(A).items() if isinstance(kind, type) and issubclass(kind, A.BasicTransform)]
        close = get_close_matches(name, known, n=1)
        raise ValueError(f"albumentations has no transform {name}{f'; did you mean {close[0]}?' if close else ''}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # albumentations only warns of arguments it does not know
            return transform(**arguments)
    except (UserWarning, TypeError, ValueError) as error:
        raise ValueError(f"augmentation {name}: {' '.join(str(error).split())}") from error
