"""What a training run is made of: one dataclass, filled from a YAML file and from flags of the same names."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser

from modeling_involvit import InvolViTConfig


@dataclass
class Recipe:
    """A training run.

    Args:
        output_dir: Folder of the run: checkpoints, logs, and at the end the model and the report.
        resume: Go on from the newest checkpoint in output_dir.
        push_to_hub: Upload the finished model to the Hub as hub_model_id.
        hub_model_id: Name of the Hub repository, owner/name or name; it is made where there is none.
        data: Folder, zip, tar, csv or Hub id of labelled faces; "rendered" draws them. Or several sources, each with a
            name and its own arguments: data, split, repeat and what else load_joined_datasets takes.
        data_dir: Folder that relative paths of data start from; by default the working directory.
        split: How validation images are chosen; by default the data's own split, else stratified.
        validation_fraction: Share of the images held out by random, stratified and group splits.
        n_folds: Folds of kfold and group_kfold.
        fold: Which fold is held out, from 0.
        group_pattern: Regular expression whose one group finds the film or person in a file name.
        on_error: What an unreadable image does, stop the run or be skipped and reported.
        drop_duplicates: Drop training images that stand, exactly or nearly, in the held-out part too.
        votes: Train on what share of people chose each class, where the data has it, not on the majority alone.
        rendered_images: Number of images of the rendered data.
        rendered_size: Height and width of the rendered images in pixels.
        pretrained: Folder or Hub id of a trained InvolViT whose configuration and weights the run starts from.
        model: Fields of InvolViTConfig that differ from its defaults, or from those of pretrained.
        rednet_checkpoint: File with published RedNet weights.
        vit_pretrained: File, timm name or Hub id of weights for the transformer branch.
        frozen: Branches whose weights and statistics stay as they are.
        backbone_lr_scale: Factor on the learning rate of the branches, the head's being 1.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        augmentation: Transforms of albumentations by name with their arguments, applied in order to training images.
        mixup_alpha: Mix the images of a batch by mixup with shares from Beta(alpha, alpha).
        cutmix_alpha: The same by CutMix; with both, each batch gets one of them.
        num_epochs: Passes over the training images.
        max_steps: Optimizer steps after which the run ends early.
        batch_size: Images of one forward pass on one process.
        gradient_accumulation_steps: Forward passes of one optimizer step.
        learning_rate: Learning rate of AdamW at its highest.
        weight_decay: Weight decay of AdamW.
        lr_power: Power of the polynomial decay to zero.
        warmup_steps: Optimizer steps of linear warm-up.
        max_grad_norm: Norm to which gradients are clipped.
        class_balance: Against uneven classes, draw rare ones more often (sampler) or weigh them more (loss).
        ema_decay: Decay of an exponential moving average of the weights, which is then what is evaluated and saved.
        select_best: Metric of the evaluation whose weights are saved at the end; by default the last ones are.
        patience: Evaluations without a better select_best after which the run ends.
        seed: Seed of splits, weights, order and augmentation.
        mixed_precision: Type of the forward pass; by default what accelerate is configured for.
        num_workers: Processes that load images.
        num_threads: Threads of each process that computes on CPUs; by default the cores, shared among the machine's
            processes.
        eval_batch_size: Images of one forward pass in evaluation, on one process.
        checkpoint_steps: Optimizer steps between two checkpoints; one is written after each epoch in any case.
        log_steps: Optimizer steps between two logged training losses.
        report_to: Tracker of accelerate, such as tensorboard or wandb, or none.
    """

    # Output
    output_dir: str
    resume: bool = False
    push_to_hub: bool = False
    hub_model_id: str | None = None
    # Data
    data: str | dict[str, dict[str, Any]] = "rendered"
    data_dir: str = "."
    split: Literal["official", "random", "stratified", "group", "kfold", "group_kfold"] | None = None
    validation_fraction: float = 0.1
    n_folds: int = 5
    fold: int = 0
    group_pattern: str | None = None
    on_error: Literal["stop", "skip"] = "stop"
    drop_duplicates: bool = False
    votes: bool = True
    rendered_images: int = 700
    rendered_size: int = 112
    # Model
    pretrained: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    rednet_checkpoint: str | None = None
    vit_pretrained: str | None = None
    frozen: list[Literal["rednet", "vit"]] = field(default_factory=list)
    backbone_lr_scale: float = 1.0
    gradient_checkpointing: bool = False
    # Augmentation
    augmentation: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    mixup_alpha: float | None = None
    cutmix_alpha: float | None = None
    # Optimization
    num_epochs: int = 50
    max_steps: int | None = None
    batch_size: int = 8
    gradient_accumulation_steps: int = 2
    learning_rate: float = 5e-4
    weight_decay: float = 5e-4
    lr_power: float = 0.9
    warmup_steps: int = 0
    max_grad_norm: float | None = None
    class_balance: Literal["sampler", "loss"] | None = None
    ema_decay: float | None = None
    select_best: Literal["accuracy", "macro_f1", "loss"] | None = None
    patience: int | None = None
    seed: int = 42
    # Runtime
    mixed_precision: Literal["no", "fp16", "bf16"] | None = None
    num_workers: int = 2
    num_threads: int | None = None
    eval_batch_size: int = 32
    checkpoint_steps: int = 500
    log_steps: int = 10
    report_to: str = "tensorboard"

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) is None and "None" not in item.type:
                raise ValueError(f"{item.name} needs a value; leave it out for its default")
        positive = ("num_epochs", "max_steps", "batch_size", "gradient_accumulation_steps", "learning_rate", "patience")
        positive += ("mixup_alpha", "cutmix_alpha")
        for name in (*positive, "eval_batch_size", "checkpoint_steps", "log_steps", "max_grad_norm", "num_threads"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("weight_decay", "lr_power", "warmup_steps", "num_workers", "backbone_lr_scale"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0, got {getattr(self, name)}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, got {self.ema_decay}")
        if self.patience is not None and self.select_best is None:
            raise ValueError("patience needs select_best, the metric that it watches")
        if self.push_to_hub and self.hub_model_id is None:
            raise ValueError("push_to_hub needs hub_model_id, the name of the repository")
        known = [name for name in InvolViTConfig.__annotations__ if not name.startswith("_")]
        for name in self.model:
            if name not in known:
                raise ValueError(f"model has no field {name}{_nearest(name, known)}")


def parse_recipe(arguments: Sequence[str] | None = None) -> Recipe:
    """Reads the command line: `--config FILE` first, then any field as a flag, the model's as `--model.FIELD`.

    Args:
        arguments: The words of the command line; `sys.argv` by default.

    Returns:
        The recipe.

    Raises:
        ValueError: If a name is unknown (the nearest one is named), or a value or file cannot be used.
    """
    parser = ArgumentParser(prog="train.py", description="Trains InvolViT.", exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with fields of the recipe.")
    parser.add_class_arguments(Recipe)
    try:
        values = parser.parse_args(_complete_switches(sys.argv[1:] if arguments is None else arguments)).as_dict()
    except ArgumentError as error:
        message = " ".join(str(error).split())
        unknown = re.search(r"(?:unrecognized arguments: --|Option ')([\w.]+)", message)
        known = [f.name for f in fields(Recipe)]
        raise ValueError(message + (_nearest(unknown[1], known) if unknown else "")) from None
    return Recipe(**{name: value for name, value in values.items() if name != "config"})


def _complete_switches(words: Sequence[str]) -> list[str]:
    """Lets `--resume` stand for `--resume true`."""
    switches = [f"--{f.name}" for f in fields(Recipe) if f.type == "bool"]
    followers = [*words[1:], "--"]
    return [
        f"{word}=true" if word in switches and follower.startswith("--") else word
        for word, follower in zip(words, followers, strict=False)
    ]


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; the fields are {', '.join(known)}"
