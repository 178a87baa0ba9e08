"""The model of a recipe: configuration, weights to start from, what is frozen, and how fast each part learns."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedConfig

from dataset_script import LABELS
from modeling_involvit import (
    InvolViTConfig,
    InvolViTForImageClassification,
    load_rednet_checkpoint,
    load_vit_checkpoint,
)

from .recipe import Recipe


def build_config(recipe: Recipe, train_rows: datasets.Dataset) -> InvolViTConfig:
    """Builds the model's configuration, with class weights inverse to the classes' shares where asked.

    Raises:
        ValueError: If the configuration that the run starts from is not of an InvolViT.
    """
    fields = dict(recipe.model)
    if recipe.class_balance == "loss":
        counts = np.bincount(train_rows["label"], minlength=len(LABELS))
        fields["class_weights"] = (counts.sum() / np.maximum(counts, 1) / np.count_nonzero(counts)).tolist()
    if recipe.pretrained is None:
        return InvolViTConfig(**fields)
    try:
        found = PreTrainedConfig.get_config_dict(recipe.pretrained)[0].get("model_type")
    except OSError:
        raise ValueError(
            f"pretrained {recipe.pretrained} is not a folder with a model's config.json, nor can it be loaded from the "
            f"Hub; give a folder such as checkpoints/involvit-tiny"
        ) from None
    if found != InvolViTConfig.model_type:
        raise ValueError(f"pretrained {recipe.pretrained} is not an InvolViT: its config.json has model_type {found}")
    return InvolViTConfig.from_pretrained(recipe.pretrained, **fields)


def build_model(recipe: Recipe, config: InvolViTConfig) -> InvolViTForImageClassification:
    """Builds the model, loads weights of the whole or of branches and freezes branches, as the recipe says.

    Raises:
        ValueError: If a tensor of the weights is missing, unexpected or of another shape, or a branch is not there.
    """
    if recipe.pretrained is None:
        model = InvolViTForImageClassification(config)
    else:
        model, found = InvolViTForImageClassification.from_pretrained(
            recipe.pretrained, config=config, ignore_mismatched_sizes=True, output_loading_info=True
        )
        names = sorted(
            {*found["missing_keys"], *found["unexpected_keys"], *(key[0] for key in found["mismatched_keys"])}
        )
        if names:
            raise ValueError(
                f"pretrained {recipe.pretrained} does not fit the model: {names[0]} and {len(names) - 1} more tensors "
                f"are missing, unexpected or of another shape; leave its model fields as they are"
            )
        model.float()
    for name in {
        *recipe.frozen,
        *(["rednet"] if recipe.rednet_checkpoint else []),
        *(["vit"] if recipe.vit_pretrained else []),
    }:
        if getattr(model.involvit, name) is None:
            raise ValueError(f"the recipe names the branch {name}, but the model has branches={config.branches}")
    if recipe.rednet_checkpoint:
        load_rednet_checkpoint(model.involvit.rednet, recipe.rednet_checkpoint)
    if recipe.vit_pretrained:
        load_vit_checkpoint(model.involvit.vit, recipe.vit_pretrained)
    for name in recipe.frozen:
        getattr(model.involvit, name).requires_grad_(False)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model


def parameter_groups(model: InvolViTForImageClassification, recipe: Recipe) -> list[dict[str, Any]]:
    """Returns the branches' parameters with their own learning rate, then those of fusion and head."""
    branches = [branch for branch in (model.involvit.rednet, model.involvit.vit) if branch is not None]
    backbone = [p for branch in branches for p in branch.parameters() if p.requires_grad]
    in_branches = {id(p) for branch in branches for p in branch.parameters()}
    head = [p for p in model.parameters() if id(p) not in in_branches]
    groups = [{"params": backbone, "lr": recipe.learning_rate * recipe.backbone_lr_scale}] if backbone else []
    return [*groups, {"params": head}]
