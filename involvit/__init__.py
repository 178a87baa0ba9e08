"""Recognises facial expressions in images and videos: `from involvit import Predictor`."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .prediction.predictor import FacePrediction, ImageResult, Predictor

__all__ = ["FacePrediction", "ImageResult", "Predictor"]


os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime reads it when it is imported, wherever that is


def __getattr__(name: str) -> Any:
    # On demand: the command line, and who needs another module only, do without the imaging libraries.
    if name in __all__:
        return getattr(importlib.import_module(".prediction.predictor", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
