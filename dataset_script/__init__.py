"""Images on disk, on the Hub or rendered -> a `datasets` DatasetDict, or Parquet ready for the Hub."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .labels import LABELS

if TYPE_CHECKING:
    from .fer_dataset import load_fer_dataset
    from .joined_datasets import load_joined_datasets

__all__ = ["LABELS", "load_fer_dataset", "load_joined_datasets"]


def __getattr__(name: str) -> Any:
    # On demand: the command lines, and who needs the classes only, do without `datasets`.
    if name in __all__:
        return getattr(importlib.import_module(f".{name.removeprefix('load_')}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
