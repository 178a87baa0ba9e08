"""Trains InvolViT and reports on held-out faces.

    accelerate launch train.py --config configs/tiny.yaml --output_dir outputs/tiny
    accelerate launch train.py --config configs/paper.yaml --data SFEW.zip --output_dir outputs/paper

Any field of the recipe (involvit/training/recipe.py) can be given as a flag. A run that was interrupted goes on with
`--resume` and ends with the same weights as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import itertools
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import datasets
import evaluate
import numpy as np
import pandas as pd
import timm
import torch
import transformers
import yaml
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, gather_object, set_seed
from huggingface_hub.errors import StrictDataclassError
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, WeightedRandomSampler
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, get_polynomial_decay_schedule_with_warmup

from dataset_script import LABELS, load_fer_dataset, load_joined_datasets
from dataset_script.fer_dataset import VOTE_FEATURES
from involvit.publishing.hub import find_token, push_folder
from involvit.publishing.model_card import RUNTIME_FIELDS, public_recipe, write_model_card
from involvit.publishing.run_report import format_per_class, format_table, write_report
from involvit.training.augmentation import build_augmentation
from involvit.training.face_dataset import FaceDataset
from involvit.training.mixing import build_mixing
from involvit.training.recipe import Recipe, parse_recipe
from involvit.training.run_checkpoints import load_newest_checkpoint, save_checkpoint
from modeling_involvit import (
    InvolViTConfig,
    InvolViTForImageClassification,
    InvolViTImageProcessor,
    load_rednet_checkpoint,
    load_vit_checkpoint,
)

BOOTSTRAP_SAMPLES = 2000
METRIC = str(Path(__file__).parent / "metrics" / "fer_report")

Batch = dict[str, Tensor]


class NonFiniteLossError(RuntimeError):
    """Loss, gradient or scores are infinite or not a number; the message names the step and the images."""


@dataclasses.dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside weights, optimizer and random states."""

    epoch: int = 0
    batches: int = 0  # of this epoch, done by each process
    step: int = 0  # optimizer steps done
    loss_sum: float = 0.0  # over this epoch's steps
    epoch_steps: int = 0
    seconds: float = 0.0  # spent in training steps
    images: int = 0  # seen in them
    best: float = -math.inf
    best_epoch: int | None = None
    evaluations_since_best: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def main() -> None:
    """Parses, prepares, trains, evaluates, saves and reports."""
    keep_freed_memory()
    with one_line_errors():
        recipe = parse_recipe()
        output_dir = Path(recipe.output_dir)
        accelerator = Accelerator(
            mixed_precision=recipe.mixed_precision,
            log_with=None if recipe.report_to == "none" else recipe.report_to,
            project_dir=output_dir,
        )
        if recipe.report_to != "none" and not accelerator.log_with:  # accelerate only leaves it out
            raise ValueError(f"report_to {recipe.report_to} needs its package, which is not installed")
        if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":  # accelerate goes on in float32
            raise ValueError("mixed_precision fp16 needs a GPU; on a CPU choose bf16 or no")
        if accelerator.device.type == "cpu":  # accelerate launch and torchrun set OMP_NUM_THREADS to 1
            share = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            torch.set_num_threads(recipe.num_threads or max(share, 1))
        check_output_dir(recipe, accelerator)
        if (output_dir / "report.json").exists():
            accelerator.print(
                f"{output_dir} holds a finished run, see its report.json; a new run needs another output_dir"
            )
            push(recipe, accelerator)
            return
        if recipe.push_to_hub and accelerator.is_main_process:
            find_token()  # before the hours of training, not after
        set_seed(recipe.seed)

        faces = load_faces(recipe, accelerator)
        config = build_config(recipe, faces["train"])
        if accelerator.device.type == "cpu":  # where the backward pass of sdpa takes up to four times as long
            config._attn_implementation = "eager"
        processor = InvolViTImageProcessor(
            size={"height": config.image_size, "width": config.image_size},
            image_mean=list(config.image_mean),
            image_std=list(config.image_std),
        )
        target = "votes" if trains_on_votes(recipe, faces) else "label"
        train_faces = FaceDataset(
            faces["train"], processor, build_augmentation(recipe.augmentation), recipe.seed, target
        )
        order = torch.Generator()
        train_loader = build_train_loader(train_faces, faces["train"]["label"][:], recipe, order)
        eval_loaders = {
            part: DataLoader(FaceDataset(rows, processor), recipe.eval_batch_size, num_workers=recipe.num_workers)
            for part, rows in faces.items()
            if part != "train"
        }

        model = build_model(recipe, config)
        optimizer = torch.optim.AdamW(
            parameter_groups(model, recipe), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        average = None
        if recipe.ema_decay is not None:
            if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
                raise ValueError("ema_decay needs whole weights on each process: not with FSDP or DeepSpeed")
            average = ModelEmaV3(model.to(accelerator.device), decay=recipe.ema_decay, use_warmup=True)
        set_seed(recipe.seed, device_specific=True)  # from here on each process draws dropout masks of its own

        # The schedule is not prepared: it counts optimizer steps of the run, accelerate would step it once a process.
        model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
        eval_loaders = {part: accelerator.prepare(loader) for part, loader in eval_loaders.items()}
        steps_per_epoch = math.ceil(len(train_loader) / recipe.gradient_accumulation_steps)
        total_steps = recipe.num_epochs * steps_per_epoch
        scheduler = get_polynomial_decay_schedule_with_warmup(
            optimizer, recipe.warmup_steps, total_steps, lr_end=0.0, power=recipe.lr_power
        )
        last_step = min(total_steps, recipe.max_steps or total_steps)

        progress = Progress()
        checkpoints = output_dir / "checkpoints"
        if (saved := load_newest_checkpoint(accelerator, checkpoints, average)) is not None:
            scheduler.load_state_dict(saved.pop("scheduler"))
            progress = Progress(**saved)
        if accelerator.is_main_process:  # only now: a mistake found above leaves nothing behind
            output_dir.mkdir(parents=True, exist_ok=True)
            (output_dir / "recipe.yaml").write_text(yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False))
        accelerator.wait_for_everyone()
        accelerator.init_trackers(
            "logs", config={k: v for k, v in vars(recipe).items() if isinstance(v, bool | int | float | str)}
        )

    def checkpoint() -> None:
        state = {**dataclasses.asdict(progress), "scheduler": scheduler.state_dict()}
        save_checkpoint(accelerator, checkpoints, progress.step, state, average)

    evaluated_model = model if average is None else average
    sizes = ", ".join(f"{len(rows)} {part}" for part, rows in faces.items())
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    accelerator.print(f"{millions:.2f} M parameters; images: {sizes}; {last_step} steps, {steps_per_epoch} an epoch")
    with tqdm(total=last_step, initial=progress.step, unit="step", disable=not accelerator.is_main_process) as bar:
        while not is_finished(progress, recipe, last_step):
            order.manual_seed(recipe.seed + progress.epoch)
            # This passes it on to the data set; a loader that resumes would start at 0.
            train_loader.set_epoch(progress.epoch)
            set_train_mode(model, recipe, accelerator)
            batches = train_loader
            if progress.batches:
                batches = accelerator.skip_first_batches(train_loader, progress.batches)
            batches = mark_padding(batches, progress.batches, len(train_faces), recipe.batch_size, accelerator)
            started = time.perf_counter()
            for window in windows(mixed(batches, recipe), recipe.gradient_accumulation_steps):
                loss = train_step(window, model, optimizer, recipe, accelerator, faces["train"], progress.step)
                if not accelerator.optimizer_step_was_skipped:
                    scheduler.step()
                progress.step += 1
                progress.epoch_steps += 1
                progress.batches += len(window)
                progress.loss_sum += loss
                if average is not None:
                    average.update(accelerator.unwrap_model(model), step=progress.step)

                images = sum(len(batch["labels"]) for batch in window) * accelerator.num_processes
                seconds = time.perf_counter() - started
                started += seconds
                progress.images, progress.seconds = progress.images + images, progress.seconds + seconds
                learning_rate = scheduler.get_last_lr()[-1]
                bar.update()
                bar.set_postfix(loss=f"{loss:.4f}", lr=f"{learning_rate:.2e}", images_per_s=f"{images / seconds:.1f}")
                if progress.step % recipe.log_steps == 0:
                    values = {"loss": loss, "learning_rate": learning_rate, "images_per_s": images / seconds}
                    accelerator.log({f"train/{name}": value for name, value in values.items()}, step=progress.step)
                if progress.step >= last_step:
                    break
                if progress.step % recipe.checkpoint_steps == 0 and progress.batches < len(train_loader):
                    checkpoint()
                    started = time.perf_counter()

            metrics = measure(
                predict_rows(evaluated_model, eval_loaders["validation"], faces["validation"], accelerator)
            )
            entry = {
                "epoch": progress.epoch + progress.batches / len(train_loader),
                "step": progress.step,
                "train_loss": progress.loss_sum / progress.epoch_steps,
                "learning_rate": scheduler.get_last_lr()[-1],
                "validation_loss": metrics["negative_log_likelihood"],
                "accuracy": metrics["accuracy"],
                "macro_f1": metrics["macro_f1"],
            }
            progress.history.append(entry)
            accelerator.log(
                {f"validation/{k}": entry[k] for k in ("validation_loss", "accuracy", "macro_f1")}, entry["step"]
            )
            if accelerator.is_main_process:
                bar.write(", ".join(f"{k} {v:.4g}" for k, v in entry.items()))
            if recipe.select_best is not None:
                score = -entry["validation_loss"] if recipe.select_best == "loss" else entry[recipe.select_best]
                progress.evaluations_since_best += 1
                if score > progress.best:
                    progress.best, progress.best_epoch, progress.evaluations_since_best = score, progress.epoch, 0
                    save_model(evaluated_model, processor, output_dir / "best", accelerator)
            progress.epoch += 1
            progress.batches, progress.epoch_steps, progress.loss_sum = 0, 0, 0.0
            checkpoint()

    if recipe.select_best is None:
        save_model(evaluated_model, processor, output_dir, accelerator)
    elif accelerator.is_main_process and (output_dir / "best").exists():
        move_files(output_dir / "best", output_dir)
    accelerator.wait_for_everyone()
    report(recipe, faces, eval_loaders, progress, accelerator)
    with one_line_errors():
        push(recipe, accelerator)
    accelerator.end_training()


def keep_freed_memory() -> None:
    """Has glibc, where that is the C library, keep the memory of freed tensors for the next ones.

    By default it returns large blocks, and the kernel clears each again page by page: a third of a step on a CPU.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is not None:
        m_trim_threshold, m_mmap_max = -1, -4
        set_option(m_mmap_max, 0)  # nothing outside the heap
        set_option(m_trim_threshold, -1)  # and nothing of that returned


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program on a user's mistake with one line that says what to do, printed by one process."""
    try:
        yield
    except (ValueError, OSError, StrictDataclassError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}" if PartialState().is_local_main_process else 1)


def check_output_dir(recipe: Recipe, accelerator: Accelerator) -> None:
    """Refuses a folder that holds another run or would mix two."""
    output_dir = Path(recipe.output_dir)
    record = output_dir / "recipe.yaml"
    if accelerator.is_main_process:
        if recipe.resume and record.exists():
            wanted, saved = dataclasses.asdict(recipe), yaml.safe_load(record.read_text())
            changed = [k for k in wanted if k not in RUNTIME_FIELDS and wanted[k] != saved.get(k)]
            if changed:
                raise ValueError(
                    f"{output_dir} holds a run with another {', '.join(changed)}; go on with the values in {record}, "
                    f"or choose another output_dir"
                )
        elif output_dir.exists() and any(output_dir.iterdir()):
            go_on = "go on with its run by --resume, or " if record.exists() else ""
            raise ValueError(f"{output_dir} is not empty; {go_on}choose another output_dir")
    accelerator.wait_for_everyone()


def load_faces(recipe: Recipe, accelerator: Accelerator) -> datasets.DatasetDict:
    """Loads the splits to train on and to measure on; the first process fills the cache for the others."""
    names = ("split", "seed", "validation_fraction", "n_folds", "fold", "group_pattern", "on_error", "drop_duplicates")
    names += ("rendered_images", "rendered_size")
    options = {name: getattr(recipe, name) for name in names}
    with contextlib.chdir(recipe.data_dir), accelerator.local_main_process_first():
        if isinstance(recipe.data, dict):
            faces = load_joined_datasets(recipe.data, **options)
        else:
            faces = load_fer_dataset(recipe.data, **options)
    if "test" in faces and min(faces["test"]["label"]) < 0:  # SFEW 2.0 keeps the labels of its test part
        faces.pop("test")
    return faces


def trains_on_votes(recipe: Recipe, faces: datasets.DatasetDict) -> bool:
    """Tells whether the targets are the votes of several people."""
    return recipe.votes and "votes" in faces["train"].column_names


def learns_shares_of_people(recipe: Recipe, faces: datasets.DatasetDict, config: InvolViTConfig) -> bool:
    """Tells whether a probability stands for a share of people: nothing moves the targets away from their votes."""
    is_moved = recipe.class_balance or config.class_weights or config.label_smoothing
    is_moved = is_moved or recipe.mixup_alpha or recipe.cutmix_alpha
    return trains_on_votes(recipe, faces) and not is_moved


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
            f"pretrained {recipe.pretrained} is no folder with a model's config.json, nor can it be had from the Hub; "
            f"give a folder such as checkpoints/involvit-tiny"
        ) from None
    if found != InvolViTConfig.model_type:
        raise ValueError(f"pretrained {recipe.pretrained} is no InvolViT: its config.json has model_type {found}")
    return InvolViTConfig.from_pretrained(recipe.pretrained, **fields)


def build_train_loader(
    train_faces: FaceDataset, labels: list[int], recipe: Recipe, order: torch.Generator
) -> DataLoader:
    """Builds the loader whose order follows from `order` alone."""
    if recipe.class_balance == "sampler":
        weights = 1 / np.bincount(labels)[labels]
        sampler = WeightedRandomSampler(weights.tolist(), len(labels), generator=order)
    else:
        sampler = RandomSampler(train_faces, generator=order)
    return DataLoader(
        train_faces,
        recipe.batch_size,
        sampler=sampler,
        num_workers=recipe.num_workers,
        persistent_workers=recipe.num_workers > 0,
        # Else starting an iterator draws from the global generator, and a resumed run would draw other dropout masks.
        generator=torch.Generator(),
    )


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


def set_train_mode(model: nn.Module, recipe: Recipe, accelerator: Accelerator) -> None:
    """Sets training mode, but for frozen branches: their BatchNorm statistics stay too."""
    model.train()
    for name in recipe.frozen:
        getattr(accelerator.unwrap_model(model).involvit, name).eval()


def mark_padding(
    batches: Iterable[Batch], first: int, num_images: int, batch_size: int, accelerator: Accelerator
) -> Iterator[Batch]:
    """Has the loss ignore the images by which accelerate fills up the last batch of each process.

    Their class ids become -100, their probabilities 0. Batch k of process p holds places
    (k * processes + p) * batch_size and on in the epoch's order.
    """
    for index, batch in enumerate(batches, start=first):
        place = (index * accelerator.num_processes + accelerator.process_index) * batch_size
        labels = batch["labels"]
        labels[max(num_images - place, 0) :] = 0 if labels.is_floating_point() else -100
        yield batch


def mixed(batches: Iterable[Batch], recipe: Recipe) -> Iterator[Batch]:
    """Mixes the images of each batch, and their labels, as the recipe says."""
    mix = build_mixing(recipe.mixup_alpha, recipe.cutmix_alpha, len(LABELS))
    for batch in batches:
        if mix is not None:
            batch["pixel_values"], batch["labels"] = mix(batch["pixel_values"], batch["labels"])
        yield batch


def windows(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Yields the batches of one optimizer step at a time; the last window of an epoch may be shorter."""
    batches = iter(batches)
    while window := list(itertools.islice(batches, size)):
        yield window


def train_step(
    window: list[Batch],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    accelerator: Accelerator,
    train_rows: datasets.Dataset,
    step: int,
) -> float:
    """Takes one optimizer step on the mean loss over all images of the window on all processes, and returns that mean.

    Raises:
        NonFiniteLossError: If loss or gradient are not finite; the weights are as before the step.
    """
    weights = accelerator.unwrap_model(model).config.class_weights
    weights = torch.ones(len(LABELS)) if weights is None else torch.tensor(weights)
    weights = weights.to(accelerator.device)
    # DDP averages gradients over processes, so each divides its sum by the mean of what they hold.
    num_items = accelerator.reduce(sum(weight_of(batch["labels"], weights) for batch in window), "mean")
    losses = []
    for index, batch in enumerate(window):
        accelerator.sync_gradients = index == len(window) - 1
        with contextlib.nullcontext() if accelerator.sync_gradients else accelerator.no_sync(model):
            loss = model(batch["pixel_values"], labels=batch["labels"], num_items_in_batch=num_items).loss
            accelerator.backward(loss)
        losses.append(loss.detach())
    mean_loss = accelerator.reduce(torch.stack(losses).sum(), "mean").item()
    norm = accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm or math.inf)
    # With fp16 the gradient scaler skips steps whose gradients overflow.
    finite_gradient = norm is None or accelerator.scaler is not None or math.isfinite(norm)
    if not (math.isfinite(mean_loss) and finite_gradient):
        bad = [batch for batch, loss in zip(window, losses, strict=True) if not loss.isfinite()]
        rows = gather_object(rows_of(bad)) or gather_object(rows_of(window))
        paths = train_rows.select(rows)["path"]
        raise NonFiniteLossError(
            f"step {step + 1}: loss {mean_loss}, gradient norm {norm}; images: {', '.join(paths)}. Look at these, "
            f"lower learning_rate or set max_grad_norm; the checkpoint before is kept"
        )
    optimizer.step()
    optimizer.zero_grad()
    return mean_loss


def weight_of(labels: Tensor, weights: Tensor) -> Tensor:
    """Returns how much labels weigh in the loss: class ids [B], where -100 is none, or mixed, probabilities [B, C]."""
    return (labels @ weights if labels.ndim == 2 else weights[labels[labels >= 0]]).sum()


def rows_of(batches: Iterable[Batch]) -> list[int]:
    """Returns which rows of the training data the batches hold."""
    return [int(index) for batch in batches for index in batch["index"]]


def predict_rows(
    model: nn.Module, loader: DataLoader, rows: datasets.Dataset, accelerator: Accelerator
) -> pd.DataFrame:
    """Scores each row once on any number of processes.

    Returns:
        A row an image with `label`, `group`, `scores` (probabilities, a list) and, where the data has them, `source`,
        `votes` and `vote_counts`.

    Raises:
        NonFiniteLossError: If a score is not finite: the weights have run away in the last step.
    """
    model.eval()
    logits, indices = [], []
    for batch in tqdm(loader, desc="evaluate", leave=False, disable=not accelerator.is_main_process):
        with torch.no_grad(), accelerator.autocast():
            output = model(batch["pixel_values"])
        gathered = accelerator.gather_for_metrics((output.logits.float(), batch["index"]))
        logits.append(gathered[0].cpu())
        indices.append(gathered[1].cpu())
    logits = torch.cat(logits)
    if bad := int((~logits.isfinite().all(dim=1)).sum()):
        raise NonFiniteLossError(
            f"evaluation: the scores of {bad} of {len(logits)} images are not finite. Lower learning_rate or set "
            f"max_grad_norm; the checkpoint before is kept"
        )
    columns = [name for name in ("label", "group", "source", *VOTE_FEATURES) if name in rows.column_names]
    # Not by to_pandas(), which makes counts of votes floats where one row has none.
    predicted = pd.DataFrame({name: rows[name][:] for name in columns}).iloc[torch.cat(indices).tolist()]
    return predicted.assign(scores=logits.double().softmax(dim=1).tolist())


def measure(predicted: pd.DataFrame, bootstrap_samples: int = 0) -> dict[str, Any]:
    """Measures predictions with the `fer_report` metric; its intervals draw whole groups."""
    scores = np.array(predicted["scores"].tolist())
    votes = {}
    if "votes" in predicted:
        votes = {"reference_votes": predicted["votes"].tolist(), "vote_counts": predicted["vote_counts"].tolist()}
    return evaluate.load(METRIC, keep_in_memory=True).compute(
        predictions=scores.argmax(axis=1).tolist(),
        references=predicted["label"].tolist(),
        prediction_scores=scores.tolist(),
        groups=predicted["group"].tolist(),
        bootstrap_samples=bootstrap_samples,
        **votes,
    )


def save_model(model: nn.Module, processor: InvolViTImageProcessor, directory: Path, accelerator: Accelerator) -> None:
    """Saves weights, configuration, processor and code as a Hub repository, written beside and moved into place."""
    model = model.module if isinstance(model, ModelEmaV3) else model
    weights = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        beside = directory / "unfinished"
        shutil.rmtree(beside, ignore_errors=True)
        accelerator.unwrap_model(model).save_pretrained(beside, state_dict=weights)
        processor.save_pretrained(beside)
        move_files(beside, directory)
    accelerator.wait_for_everyone()


def move_files(source: Path, target: Path) -> None:
    """Moves the files of a folder into another, each replacing its namesake, and removes the emptied folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        path.replace(target / path.name)
    source.rmdir()


def is_finished(progress: Progress, recipe: Recipe, last_step: int) -> bool:
    """Tells whether all epochs or steps are done, or early stopping ends the run."""
    out_of_patience = recipe.patience is not None and progress.evaluations_since_best >= recipe.patience
    return progress.epoch >= recipe.num_epochs or progress.step >= last_step or out_of_patience


def describe_weights(recipe: Recipe, progress: Progress) -> str:
    """Says which weights were saved."""
    if recipe.select_best is not None:
        return f"epoch {progress.best_epoch + 1}, by {recipe.select_best}"
    return "last epoch"


def report(
    recipe: Recipe,
    faces: datasets.DatasetDict,
    eval_loaders: dict[str, DataLoader],
    progress: Progress,
    accelerator: Accelerator,
) -> None:
    """Measures the saved model, on the test part where its labels are known, and writes and prints the report."""
    output_dir = Path(recipe.output_dir)
    model = InvolViTForImageClassification.from_pretrained(output_dir).to(accelerator.device)
    part = "test" if "test" in faces else "validation"
    predicted = predict_rows(model, eval_loaders[part], faces[part], accelerator)
    if not accelerator.is_main_process:
        return
    metrics = measure(predicted, BOOTSTRAP_SAMPLES)
    sources = {}
    if "source" in predicted:
        sources = {name: measure(rows, BOOTSTRAP_SAMPLES) for name, rows in predicted.groupby("source", sort=False)}
    largest_class_share = float(predicted["label"].value_counts(normalize=True).max())
    on_gpu = accelerator.device.type == "cuda"
    peak_bytes = (
        torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    run = {
        "evaluated_on": part,
        "images": {name: len(rows) for name, rows in faces.items()},
        "largest_class_share": largest_class_share,
        "weights": describe_weights(recipe, progress),
        "votes": learns_shares_of_people(recipe, faces, model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "processes": accelerator.num_processes,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "mixed_precision": accelerator.mixed_precision,
        "steps": progress.step,
        "training_images_per_s": progress.images / progress.seconds,
        "peak_memory_gib": peak_bytes / 2**30,
        "recipe": public_recipe(dataclasses.asdict(recipe)),  # the whole is in recipe.yaml
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, timm, datasets)},
    }
    write_report(output_dir, metrics, progress.history, run, sources)
    data = f"{Path(recipe.data).stem}, {recipe.split or 'default'} split" if not sources else " + ".join(sources)
    print(
        f"\n{format_table(metrics, f'{data}, {part}', largest_class_share, sources)}\n\n{format_per_class(metrics)}\n"
    )
    write_model_card(output_dir)
    print(f"Saved to {output_dir}: the model and its card, report.json, confusion_matrix.png, training_curves.png")


def push(recipe: Recipe, accelerator: Accelerator) -> None:
    """Uploads the finished model where the recipe says so."""
    if recipe.push_to_hub and accelerator.is_main_process:
        print(f"Pushed to {push_folder(recipe.output_dir, recipe.hub_model_id)}")


if __name__ == "__main__":
    try:
        main()
    except NonFiniteLossError as error:
        sys.exit(f"error: {error}" if PartialState().is_local_main_process else 1)
    except KeyboardInterrupt:
        print("interrupted; --resume goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
