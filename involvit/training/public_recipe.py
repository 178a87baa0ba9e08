"""What of a recipe others get to see. It needs nothing of the extra `train`, so a model is pushed without it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

RUNTIME_FIELDS = (
    *("output_dir", "resume", "data_dir", "num_workers", "eval_batch_size", "checkpoint_steps", "log_steps"),
    *("report_to", "push_to_hub", "hub_model_id"),
)
"""Fields of a recipe that say how and where a run is carried out; its continuation may have others."""
WEIGHT_FIELDS = ("pretrained", "rednet_checkpoint", "vit_pretrained")
"""Fields that name weights which a run starts from."""


def public_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a recipe that decides the result, without what would reveal the machine it ran on.

    Args:
        recipe: Fields of `Recipe`, as report.json records them.

    Returns:
        The same without fields that are empty or only say how the run was carried out; of local paths the last part.
    """
    return {
        name: _without_folders(value) if name in ("data", *WEIGHT_FIELDS) else value
        for name, value in recipe.items()
        if name not in RUNTIME_FIELDS and value not in (None, {}, [])
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):  # several sources, each with arguments of its own
        return {
            name: _without_folders(item) if isinstance(item, Mapping) or name == "data" else item
            for name, item in value.items()
        }
    is_local = isinstance(value, str) and (value.startswith(("/", "~")) or ".." in Path(value).parts)
    return Path(value).resolve().name if is_local else value
