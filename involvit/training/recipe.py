"""What a training run is made of: one dataclass, filled from YAML files and from flags of the same names."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveFloat,
    PositiveInt,
)

from modeling_involvit import InvolViTConfig

from ..files import expand_user, whole_file
from .file_faults import read_fields
from .public_recipe import RUNTIME_FIELDS, WEIGHT_FIELDS


@dataclass
class Recipe:
    """A training run.

    Args:
        output_dir: Folder of the run: checkpoints, logs, and at the end the model and the report.
        resume: Continue from the newest checkpoint in output_dir.
        push_to_hub: Upload the finished model to the Hub as hub_model_id.
        hub_model_id: Name of the Hub repository, owner/name or name; it is made where there is none.
        data: Folder, zip, tar, csv or Hub id of labelled faces; "rendered" draws them. Or several sources, each with a
            name and its own arguments: data, split, repeat and what else load_joined_datasets takes.
        data_dir: Folder that relative paths in data start from; by default the working directory.
        split: How validation images are chosen; by default the data's own split, else stratified.
        validation_fraction: Share of the images held out by random, stratified and group splits.
        n_folds: Folds of kfold and group_kfold.
        fold: Which fold is held out, from 0.
        group_pattern: Regular expression whose one group finds the film or person in a file name.
        on_error: What an unreadable image does, stop the run or be skipped and reported.
        drop_duplicates: Drop training images that are also, exactly or nearly, in the held-out part.
        votes: Train on the share of people who chose each class, where the data has it, not on the majority alone.
        rendered_images: Number of images of the rendered data.
        rendered_size: Height and width of the rendered images in pixels.
        pretrained: Folder or Hub id of a trained InvolViT whose configuration and weights the run starts from.
        model: Fields of InvolViTConfig that differ from its defaults, or from those of pretrained.
        rednet_checkpoint: File with published RedNet weights.
        vit_pretrained: File, timm name or Hub id of weights for the transformer branch.
        frozen: Branches whose weights and statistics stay as they are, such as [rednet].
        backbone_lr_scale: Factor on the learning rate of the branches, the head's being 1.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them: less memory,
            more time.
        augmentation: Transforms of albumentations by name with their arguments, applied in order to training images.
        mixup_alpha: Mix the images of a batch by mixup with shares from Beta(alpha, alpha).
        cutmix_alpha: The same by CutMix; with both, each batch gets one of them.
        num_epochs: Passes over the training images.
        max_minutes: Minutes that the run may take, from loading the data to the report, in place of num_epochs: the
            learning rate falls to zero with the time.
        max_steps: Optimizer steps after which the run ends early.
        batch_size: Images of one forward pass on one process.
        gradient_accumulation_steps: Forward passes of one optimizer step.
        learning_rate: Learning rate of AdamW at its highest.
        weight_decay: Weight decay of AdamW.
        lr_power: Power of the polynomial decay to zero.
        warmup_steps: Optimizer steps of linear warm-up.
        max_grad_norm: Norm to which gradients are clipped.
        class_balance: For uneven classes: draw rare ones more often (sampler) or give them more weight (loss).
        label_smoothing: Share of each target that is spread over all classes.
        ema_decay: Decay of an exponential moving average of the weights, which is then what is evaluated and saved.
        select_best: Save the weights of the evaluation with the best value of this metric; by default the last ones.
        patience: Evaluations without a better select_best after which the run ends.
        seed: Seed of splits, weights, order and augmentation.
        mixed_precision: Type of the forward pass; auto is what accelerate launch was asked for, else bf16 where the
            processor has instructions for it.
        num_workers: Processes that load images, for each that trains; auto chooses by the cores.
        num_threads: Threads of each process that computes on CPUs; by default the machine's cores, shared among its
            processes, less those that load images.
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
    data: str | dict[str, Any] = "rendered"
    data_dir: str = "."
    split: Literal["official", "random", "stratified", "group", "kfold", "group_kfold", "train"] | None = None
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
    backbone_lr_scale: NonNegativeFloat = 1.0
    gradient_checkpointing: bool = False
    # Augmentation
    augmentation: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    mixup_alpha: PositiveFloat | None = None
    cutmix_alpha: PositiveFloat | None = None
    # Optimization
    num_epochs: PositiveInt = 50
    max_minutes: PositiveFloat | None = None
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 8
    gradient_accumulation_steps: PositiveInt = 2
    learning_rate: PositiveFloat = 5e-4
    weight_decay: NonNegativeFloat = 5e-4
    lr_power: NonNegativeFloat = 0.9
    warmup_steps: NonNegativeInt = 0
    max_grad_norm: PositiveFloat | None = None
    class_balance: Literal["sampler", "loss"] | None = None
    label_smoothing: ClosedUnitInterval = 0.0
    ema_decay: OpenUnitInterval | None = None
    select_best: Literal["accuracy", "macro_f1", "loss"] | None = None
    patience: PositiveInt | None = None
    seed: int = 42
    # Runtime
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    num_workers: NonNegativeInt | Literal["auto"] = "auto"
    num_threads: PositiveInt | None = None
    eval_batch_size: PositiveInt = 32
    checkpoint_steps: PositiveInt = 500
    log_steps: PositiveInt = 10
    report_to: str = "tensorboard"

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) is None and "None" not in item.type:
                raise ValueError(f"{item.name} needs a value; leave it out for its default")
        for name in ("output_dir", "data_dir", *WEIGHT_FIELDS):
            path = getattr(self, name)
            if path is not None and not path.strip():
                raise ValueError(f"{name} is empty; name a {'folder' if name.endswith('_dir') else 'file'}")
            if path is not None and path.startswith("~"):
                setattr(self, name, str(expand_user(path)))
        if self.split == "train" and isinstance(self.data, str):
            raise ValueError(
                "split train holds out nothing to measure on; choose another, such as group, or join the data in the "
                "recipe with a source that holds images out"
            )
        if self.patience is not None and self.select_best is None:
            raise ValueError("patience needs select_best, the metric that it watches")
        if self.max_minutes == math.inf:
            raise ValueError("max_minutes must be a number of minutes; leave it out for no limit")
        if self.max_minutes is not None and self.max_steps is not None:
            raise ValueError("max_minutes and max_steps both end the run; give one of them")
        if self.push_to_hub and self.hub_model_id is None:
            raise ValueError("push_to_hub needs hub_model_id, the name of the repository")
        known = [name for name in InvolViTConfig.__annotations__ if not name.startswith("_")]
        for name in self.model:
            if name not in known:
                raise ValueError(f"model has no field {name}{_nearest(name, known)}")


def parse_recipe(arguments: Sequence[str]) -> Recipe:
    """Reads the command line: any field is a flag, those of the model as `--model.FIELD`.

    `--config FILE` stands for the fields in a YAML file; of two that set the same field, the later one counts.

    Args:
        arguments: The words of the command line.

    Returns:
        The recipe.

    Raises:
        ValueError: If a name is unknown (the nearest one is named), or a value or file cannot be used.
    """
    parser = ArgumentParser(
        prog="involvit train", description="Trains InvolViT.", exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="YAML file with fields of the recipe.")
    out = "Folder of the run: checkpoints, logs, and at the end the model and the report."
    parser.add_argument("--out", "--output_dir", dest="output_dir", type=str, required=True, help=out)
    parser.add_class_arguments(Recipe, skip={"output_dir"})
    words = _complete_switches(arguments)
    for place, word in enumerate(words):
        if word == "--config" and any(words[place + 1 : place + 2]):
            words[place + 1] = _config_text(Path(words[place + 1]))
        elif word.startswith("--config=") and word != "--config=":
            words[place] = f"--config={_config_text(Path(word.removeprefix('--config=')))}"
    try:
        values = parser.parse_args(words)
    except ArgumentError as error:
        raise ValueError(_explain(str(error))) from None
    # Through JSON: plain numbers, where the parser has types of its own that YAML cannot write.
    return Recipe(**json.loads(parser.dump(values, format="json", skip_unset=False, skip_validation=True)))


def changed_fields(recipe: Recipe, record: Path, ignored: Sequence[str] = RUNTIME_FIELDS) -> list[str]:
    """Names the fields that differ from those of the recipe that `write_recipe` left, by default of all that decide
    the result.

    Raises:
        ValueError: If that recipe is damaged.
    """
    wanted, saved = asdict(recipe), read_fields(record, "restore it, or choose another folder")
    return [name for name in wanted if name not in ignored and wanted[name] != saved.get(name)]


def write_recipe(recipe: Recipe, record: Path) -> None:
    """Writes a recipe as a YAML file that `--config` reads; its folder is made if need be."""
    with whole_file(record) as beside:
        beside.write_text(yaml.safe_dump(asdict(recipe), sort_keys=False))


def _config_text(config: Path) -> str:
    """Reads a recipe, which the parser would read in the encoding of the locale, wait for, or refuse without its name.

    Returns:
        Its text, in ASCII, which the parser takes in place of a file; its name, where there is no such file.
    """
    if config.exists() and not config.is_dir():
        if not config.is_file():
            raise ValueError(f"--config {config} is not a file")
        try:
            content = yaml.safe_load(config.read_text("utf-8-sig"))
        except UnicodeDecodeError:
            raise ValueError(f"--config {config} is not a text in UTF-8; save it as such") from None
        except (RecursionError, ValueError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            reason = " ".join(str(error).split()) if mark is None else f"line {mark.line + 1}: {error.problem}"
            raise ValueError(f"--config {config} is not YAML ({reason}); correct it, without tabs") from None
        if not isinstance(content, dict):
            what = "is empty" if content is None else f"holds a {type(content).__name__}"
            raise ValueError(f"--config {config} {what}; write fields of the recipe, such as `num_epochs: 20`")
        return yaml.safe_dump(content)
    return str(config)


def _complete_switches(words: Sequence[str]) -> list[str]:
    """Lets `--resume` stand for `--resume true`."""
    switches = [f"--{f.name}" for f in fields(Recipe) if f.type == "bool"]
    followers = [*words[1:], "--"]
    return [
        f"{word}=true" if word in switches and follower.startswith("--") else word
        for word, follower in zip(words, followers, strict=False)
    ]


def _explain(message: str) -> str:
    """Puts the parser's message on a mistake into one line, short where the mistake is a common one."""
    message = " ".join(message.split())
    if out_of_range := re.search(r'key "([\w.]+)".* does not conform to restriction (v\S+(?: and v\S+)?)', message):
        limits = re.sub(r"v(\W+)", r"\1 ", out_of_range[2])
        return f"{out_of_range[1]} must be {limits}"
    unknown = re.search(r"(?:unrecognized arguments: --|Option ')([\w.]+)", message)
    return message + (_nearest(unknown[1], [f.name for f in fields(Recipe)]) if unknown else "")


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; the fields are {', '.join(known)}"
