"""Model cards that others wrote, or that are not there."""

from __future__ import annotations

from pathlib import Path

import yaml
from huggingface_hub import ModelCard


def readable_card(path: str | Path | None) -> ModelCard | None:
    """Reads a model's README.md; None where there is none, or one that is not UTF-8, or whose head is not YAML."""
    if path is None:
        return None
    try:
        return ModelCard.load(path, ignore_metadata_errors=True)
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        return None
