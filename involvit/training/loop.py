"""The training loop on Accelerate: prepare, train, finish."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import get_polynomial_decay_schedule_with_warmup

from dataset_script import LABELS
from modeling_involvit import InvolViTImageProcessor

from .build_model import build_config, build_model, parameter_groups
from .loaders import build_eval_loaders, build_train_loader, load_faces, training_faces
from .measured_run import MeasuredRun, measure_run
from .mixing import mix_batches
from .progress import Progress
from .recipe import Recipe, write_recipe
from .run_checkpoints import load_newest_checkpoint, save_checkpoint
from .run_folder import RECORD, move_files, save_model
from .scoring import measure, predict_rows
from .steps import mark_padding, train_step, windows


@dataclass
class Run:
    """A run that is ready to train: what `prepare` made of its recipe."""

    recipe: Recipe
    accelerator: Accelerator
    faces: datasets.DatasetDict
    processor: InvolViTImageProcessor
    order: torch.Generator  # of the training images
    train_loader: DataLoader
    eval_loaders: dict[str, DataLoader]  # by the name of the part
    model: nn.Module
    average: ModelEmaV3 | None  # of the model's weights
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    steps_per_epoch: int
    last_step: int
    progress: Progress

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is measured and saved."""
        return self.model if self.average is None else self.average

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.recipe.output_dir)


def prepare(recipe: Recipe, accelerator: Accelerator) -> Run:
    """Loads data and model, and the newest checkpoint where there is one. To be called by every process.

    Args:
        recipe: The recipe; its `output_dir` has passed `check_run_folder`.
        accelerator: See `build_accelerator`.

    Returns:
        The run.

    Raises:
        OSError: If data or weights are not there.
        ValueError: If the recipe, its data or weights cannot be used.
    """
    set_seed(recipe.seed)

    with accelerator.local_main_process_first():  # which fills the cache for the others
        faces = load_faces(recipe)
    config = build_config(recipe, faces["train"])
    if accelerator.device.type == "cpu":  # where the backward pass of sdpa takes up to four times as long
        config._attn_implementation = "eager"
    processor = InvolViTImageProcessor(
        size={"height": config.image_size, "width": config.image_size},
        image_mean=list(config.image_mean),
        image_std=list(config.image_std),
    )
    order = torch.Generator()
    train_faces = training_faces(recipe, faces, processor)
    train_loader = build_train_loader(train_faces, faces["train"]["label"][:], recipe, order)
    eval_loaders = build_eval_loaders(recipe, faces, processor)

    model = build_model(recipe, config)
    groups = parameter_groups(model, recipe)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    average = None
    if recipe.ema_decay is not None:
        if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise ValueError("ema_decay needs whole weights on each process: not with FSDP or DeepSpeed")
        average = ModelEmaV3(model.to(accelerator.device), decay=recipe.ema_decay, use_warmup=True)
    set_seed(recipe.seed, device_specific=True)  # from here on each process draws dropout masks of its own

    # The schedule is not prepared: it counts optimizer steps of the run, accelerate would step it once per process.
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    eval_loaders = {part: accelerator.prepare(loader) for part, loader in eval_loaders.items()}
    steps_per_epoch = math.ceil(len(train_loader) / recipe.gradient_accumulation_steps)
    total_steps = recipe.num_epochs * steps_per_epoch
    scheduler = get_polynomial_decay_schedule_with_warmup(
        optimizer, recipe.warmup_steps, total_steps, lr_end=0.0, power=recipe.lr_power
    )

    progress, folder = Progress(), Path(recipe.output_dir)
    if (saved := load_newest_checkpoint(accelerator, folder / "checkpoints", average)) is not None:
        scheduler.load_state_dict(saved.pop("scheduler"))
        progress = Progress(**saved)
    if accelerator.is_main_process:  # only now: a mistake found above leaves nothing behind
        write_recipe(recipe, folder / RECORD)
    accelerator.wait_for_everyone()
    accelerator.init_trackers(
        "logs", config={k: v for k, v in vars(recipe).items() if isinstance(v, bool | int | float | str)}
    )
    return Run(
        recipe=recipe,
        accelerator=accelerator,
        faces=faces,
        processor=processor,
        order=order,
        train_loader=train_loader,
        eval_loaders=eval_loaders,
        model=model,
        average=average,
        optimizer=optimizer,
        scheduler=scheduler,
        steps_per_epoch=steps_per_epoch,
        last_step=min(total_steps, recipe.max_steps or total_steps),
        progress=progress,
    )


def train(run: Run) -> None:
    """Trains to the last step, with a checkpoint and an evaluation after each epoch.

    Raises:
        NonFiniteLossError: If the loss or scores are no longer finite.
    """
    sizes = ", ".join(f"{len(rows)} {part}" for part, rows in run.faces.items())
    millions = sum(p.numel() for p in run.model.parameters()) / 1e6
    steps = f"{run.last_step} steps, {run.steps_per_epoch} per epoch"
    run.accelerator.print(f"{millions:.2f} M parameters; images: {sizes}; {steps}")
    is_shown = run.accelerator.is_main_process
    with tqdm(total=run.last_step, initial=run.progress.step, unit="step", disable=not is_shown) as bar:
        while not run.progress.is_finished(run.recipe, run.last_step):
            _train_epoch(run, bar)
            _evaluate(run, bar)
            run.progress.end_epoch()
            _save_checkpoint(run)


def _train_epoch(run: Run, bar: tqdm) -> None:
    """Trains to the end of the epoch or the last step, from the batch that comes next."""
    recipe, accelerator, progress, average = run.recipe, run.accelerator, run.progress, run.average
    run.order.manual_seed(recipe.seed + progress.epoch)
    # This passes it on to the data set; a loader that resumes would start at 0.
    run.train_loader.set_epoch(progress.epoch)
    run.model.train()
    for name in recipe.frozen:  # their BatchNorm statistics stay too
        getattr(accelerator.unwrap_model(run.model).involvit, name).eval()

    batches = run.train_loader
    if progress.batches:
        batches = accelerator.skip_first_batches(run.train_loader, progress.batches)
    train_rows = run.faces["train"]
    batches = mark_padding(batches, progress.batches, len(train_rows), recipe.batch_size, accelerator)
    batches = mix_batches(batches, recipe.mixup_alpha, recipe.cutmix_alpha, len(LABELS))
    started = time.perf_counter()
    for window in windows(batches, recipe.gradient_accumulation_steps):
        step = progress.step + 1
        loss = train_step(window, run.model, run.optimizer, recipe.max_grad_norm, accelerator, train_rows, step)
        if not accelerator.optimizer_step_was_skipped:
            run.scheduler.step()
        if average is not None:
            average.update(accelerator.unwrap_model(run.model), step=step)

        images = sum(len(batch["labels"]) for batch in window) * accelerator.num_processes
        seconds = time.perf_counter() - started
        started += seconds
        progress.add_step(loss, len(window), images, seconds)
        learning_rate = run.scheduler.get_last_lr()[-1]
        bar.update()
        bar.set_postfix(loss=f"{loss:.4f}", lr=f"{learning_rate:.2e}", images_per_s=f"{images / seconds:.1f}")
        if step % recipe.log_steps == 0:
            values = {"loss": loss, "learning_rate": learning_rate, "images_per_s": images / seconds}
            accelerator.log({f"train/{name}": value for name, value in values.items()}, step=step)
        if step >= run.last_step:
            return
        if step % recipe.checkpoint_steps == 0 and progress.batches < len(run.train_loader):
            _save_checkpoint(run)
            started = time.perf_counter()


def _evaluate(run: Run, bar: tqdm) -> None:
    """Measures on the validation part, and saves the model if it is the best so far and the best is asked for."""
    recipe, progress = run.recipe, run.progress
    rows = run.faces["validation"]
    metrics = measure(predict_rows(run.evaluated_model, run.eval_loaders["validation"], rows, run.accelerator))
    entry = {
        "epoch": progress.epoch + progress.batches / len(run.train_loader),
        "step": progress.step,
        "train_loss": progress.loss_sum / progress.epoch_steps,
        "learning_rate": run.scheduler.get_last_lr()[-1],
        "validation_loss": metrics["negative_log_likelihood"],
        "accuracy": metrics["accuracy"],
        "macro_f1": metrics["macro_f1"],
    }
    progress.history.append(entry)
    scores = {f"validation/{name}": entry[name] for name in ("validation_loss", "accuracy", "macro_f1")}
    run.accelerator.log(scores, step=progress.step)
    if run.accelerator.is_main_process:
        bar.write(", ".join(f"{name} {value:.4g}" for name, value in entry.items()))
    if recipe.select_best is not None and progress.is_best(recipe.select_best):
        save_model(run.evaluated_model, run.processor, run.folder / "best", run.accelerator)


def _save_checkpoint(run: Run) -> None:
    state = {**asdict(run.progress), "scheduler": run.scheduler.state_dict()}
    save_checkpoint(run.accelerator, run.folder / "checkpoints", run.progress.step, state, run.average)


def finish(run: Run) -> MeasuredRun | None:
    """Saves the model and measures it. To be called by every process.

    Returns:
        The measurements on the main process, else None.

    Raises:
        NonFiniteLossError: If scores are not finite.
    """
    if run.recipe.select_best is None:
        save_model(run.evaluated_model, run.processor, run.folder, run.accelerator)
    elif run.accelerator.is_main_process and (run.folder / "best").exists():
        move_files(run.folder / "best", run.folder)
    run.accelerator.wait_for_everyone()
    measured = measure_run(run.recipe, run.faces, run.eval_loaders, run.progress, run.accelerator)
    run.accelerator.end_training()
    return measured
