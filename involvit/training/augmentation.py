"""Augmentation of training images by albumentations, named in the recipe."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # on import it would ask the network for a newer version

import albumentations as A


def build_augmentation(transforms: Sequence[dict[str, dict[str, Any]]]) -> A.Compose:
    """Builds a pipeline from names and arguments.

    Args:
        transforms: One mapping of one name to its arguments each, such as `{"RGBShift": {"p": 0.5}}`, in order.

    Returns:
        The pipeline; it takes and gives uint8 images [H, W, 3]. `set_random_seed` makes its next call reproducible.

    Raises:
        ValueError: If albumentations has no such transform, or it does not take the arguments.
    """
    return A.Compose([_build_transform(name, arguments) for item in transforms for name, arguments in item.items()])


def _build_transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    transform = getattr(A, name, None)
    if not (isinstance(transform, type) and issubclass(transform, A.BasicTransform)):
        close = get_close_matches(name, dir(A), n=1)
        raise ValueError(f"albumentations has no transform {name}{f'; did you mean {close[0]}?' if close else ''}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # albumentations only warns of arguments it does not know
            return transform(**arguments)
    except (UserWarning, TypeError, ValueError) as error:
        raise ValueError(f"augmentation {name}: {' '.join(str(error).split())}") from error
