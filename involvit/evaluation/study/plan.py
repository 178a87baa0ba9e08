"""What a study runs: one recipe in several variants, on several splits, with several seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...training.recipe import Recipe

BASELINE = "fusion"
VARIANTS = (BASELINE, "rednet", "vit", "half_grid", "half_width", "no_augmentation")
_FOLDED_SPLITS = ("kfold", "group_kfold")


@dataclass(frozen=True)
class Run:
    """One training of a study."""

    variant: str  # one of `VARIANTS`
    split: str  # one of `METHODS` of dataset_script.splits
    seed: int  # of split, weights and order, and of the rendered faces
    fold: int | None = None  # which one is held out, from 0; None for a split without folds

    @property
    def folder(self) -> Path:
        """The run's folder in the folder of all runs."""
        fold = "" if self.fold is None else f"_fold{self.fold}"
        return Path(self.variant, self.split, f"seed{self.seed}{fold}")


def plan_runs(variants: Sequence[str], splits: Sequence[str], seeds: Sequence[int], n_folds: int) -> list[Run]:
    """Lists the runs, of k-fold splits one per fold, seed by seed: an interrupted study leaves pairs to compare."""
    return [
        Run(variant, split, seed, fold)
        for seed in seeds
        for split in splits
        for fold in (range(n_folds) if split in _FOLDED_SPLITS else [None])
        for variant in variants
    ]


def variant_flags(variant: str, recipe: Recipe) -> list[str]:
    """Returns the flags of `involvit train` by which a variant differs from the recipe, which is of both branches.

    Raises:
        ValueError: If the recipe leaves no such variant.
    """
    changes = _changes(variant, recipe)
    if recipe.pretrained is not None and any(name.startswith("model.") for name in changes):
        raise ValueError(
            f"the recipe starts from the pretrained {recipe.pretrained}, whose weights do not fit the variant "
            f"{variant}; leave pretrained out by --set pretrained=null, or choose among {BASELINE} and no_augmentation"
        )
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in changes.items()]


def _changes(variant: str, recipe: Recipe) -> dict[str, Any]:
    if variant in ("rednet", "vit"):
        left_out = "vit_pretrained" if variant == "rednet" else "rednet_checkpoint"
        return {"model.branches": variant, left_out: None, "frozen": list({variant}.intersection(recipe.frozen))}
    from modeling_involvit import InvolViTConfig  # the command line reads VARIANTS without it

    config = InvolViTConfig(**recipe.model)
    if variant == "half_grid":
        reduction = 2 ** (len(config.vit_backbone_layers) + 1)
        grid = config.fusion_grid or -(-config.image_size // reduction)  # by default the transformer's
        return {"model.fusion_grid": max(grid // 2, 1)}
    if variant == "half_width":
        return {"model.fusion_channels": max(config.fusion_channels // 2, 1)}
    if variant == "no_augmentation":
        if not recipe.augmentation:
            raise ValueError("the recipe has no augmentation, so no_augmentation changes nothing; choose others")
        return {"augmentation": []}
    return {}
