"""The model of a recipe: configuration, weights to start from, what is frozen, and how fast each part learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig

from dataset_script.labels import LABELS, class_places
from modeling_involvit import (
    InvolViTConfig,
    InvolViTForImageClassification,
    load_rednet_checkpoint,
    load_vit_checkpoint,
)

from ..files import LFS_ADVICE
from ..model_folders import fault_of_model_folder, is_lfs_pointer_at
from .public_recipe import WEIGHT_FIELDS
from .recipe import Recipe


def build_config(recipe: Recipe) -> InvolViTConfig:
    """Builds the model's configuration.

    Raises:
        ValueError: If the configuration that the run starts from is not of an InvolViT, or of one with other classes.
    """
    if recipe.pretrained is None:
        return InvolViTConfig(**recipe.model)
    try:
        found = PreTrainedConfig.get_config_dict(recipe.pretrained)[0].get("model_type")
    except OSError:
        fault = fault_of_model_folder(Path(recipe.pretrained)) or (
            "is not a folder with a model's config.json, nor can it be loaded from the Hub; give a folder such as "
            "checkpoints/involvit-tiny"
        )
        raise ValueError(f"pretrained {recipe.pretrained} {fault}") from None
    if found != InvolViTConfig.model_type:
        fault = f"is not an InvolViT: its config.json has model_type {found}"
        raise ValueError(f"pretrained {recipe.pretrained} {fault_of_model_folder(Path(recipe.pretrained)) or fault}")
    config = InvolViTConfig.from_pretrained(recipe.pretrained, **recipe.model)
    config.problem_type = None  # one class of several is learnt here, whatever was before
    if class_places(classes := _classes(config)) is None:
        names = ", ".join(classes[:10]) + (" ..." if len(classes) > 10 else "")
        raise ValueError(
            f"pretrained {recipe.pretrained} answers {names}, but the data is labelled {', '.join(LABELS)}; start from "
            f"a model of these seven classes"
        )
    return config


def build_model(recipe: Recipe, config: InvolViTConfig) -> InvolViTForImageClassification:
    """Builds the model, loads weights of the whole or of branches and freezes branches, as the recipe says.

    Raises:
        ValueError: If a tensor of the weights is missing, unexpected, of another shape or not finite, or a branch is
            not there.
    """
    if recipe.pretrained is None:
        model = InvolViTForImageClassification(config)
    else:
        try:
            model, found = InvolViTForImageClassification.from_pretrained(
                recipe.pretrained, config=config, ignore_mismatched_sizes=True, output_loading_info=True
            )
        except (SafetensorError, RuntimeError) as error:
            if fault := fault_of_model_folder(Path(recipe.pretrained)):
                raise ValueError(f"pretrained {recipe.pretrained} {fault}") from error
            raise ValueError(f"the weights of pretrained {recipe.pretrained} are damaged ({error})") from error
        mismatched = {key[0] for key in found["mismatched_keys"]}
        if names := sorted(mismatched.union(found["missing_keys"], found["unexpected_keys"])):
            raise ValueError(
                f"pretrained {recipe.pretrained} does not fit the model: {names[0]} and {len(names) - 1} more tensors "
                f"are missing, unexpected or of another shape; leave its model fields as they are"
            )
        model.float()
        _put_classes_in_order(model)
    weights = {"rednet": recipe.rednet_checkpoint, "vit": recipe.vit_pretrained}
    loads = {"rednet": load_rednet_checkpoint, "vit": load_vit_checkpoint}
    for name, load in loads.items():
        branch, is_frozen = getattr(model.involvit, name), name in recipe.frozen
        if branch is None and (weights[name] or is_frozen):
            raise ValueError(f"the recipe names the branch {name}, but the model has branches={config.branches}")
        if weights[name]:
            if is_lfs_pointer_at(Path(weights[name])):
                raise ValueError(f"{weights[name]} {LFS_ADVICE}")
            load(branch, weights[name])
        if is_frozen:
            branch.requires_grad_(False)
    if bad := [name for name, value in model.state_dict().items() if not value.isfinite().all()]:
        sources = ", ".join(path for name in WEIGHT_FIELDS if (path := getattr(recipe, name)))
        raise ValueError(f"the weights of {sources} are damaged: {bad[0]} is not finite; start from others")
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model


def _classes(config: InvolViTConfig) -> list[str]:
    return [str(config.id2label[index]) for index in range(config.num_labels)]


def _put_classes_in_order(model: InvolViTForImageClassification) -> None:
    """Gives the head the order and names of `LABELS`: one that was fine-tuned elsewhere mostly has the alphabet's."""
    places = class_places(_classes(model.config))
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.copy_(parameter[places])
    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: index for index, label in enumerate(LABELS)}


def parameter_groups(model: InvolViTForImageClassification, recipe: Recipe) -> list[dict[str, Any]]:
    """Returns the branches' parameters with their own learning rate, then those of fusion and head."""
    in_branches = ("involvit.rednet.", "involvit.vit.")
    backbone = [p for name, p in model.named_parameters() if name.startswith(in_branches) and p.requires_grad]
    head = [p for name, p in model.named_parameters() if not name.startswith(in_branches)]
    groups = [{"params": backbone, "lr": recipe.learning_rate * recipe.backbone_lr_scale}] if backbone else []
    return [*groups, {"params": head}]
