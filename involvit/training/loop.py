"""The training loop on Accelerate: prepare, train, finish."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object, set_seed
from timm.utils import ModelEmaV3
from tqdm.auto import tqdm
from transformers import get_polynomial_decay_schedule_with_warmup

from dataset_script import LABELS
from modeling_involvit import InvolViTImageProcessor

from .batches import Batch, mark_padding, mix_batches
from .build_model import build_config, build_model, parameter_groups
from .engines import share_statistics
from .loaders import build_loaders, data_fingerprint, load_faces
from .loss import balancing_weights, label_weight, summed_cross_entropy
from .measured_run import MeasuredRun, measure_run
from .progress import Progress
from .recipe import Recipe
from .run_checkpoints import load_newest_checkpoint, save_checkpoint
from .run_folder import BEST, check_best_model, move_files, open_run_folder, save_model
from .scoring import NonFiniteLossError, measure, predict_rows
from .time_limit import TimeLimit, schedule_by_time

_NAMED_IMAGES = 8  # in an error


class Run:
    """A training run. Every process prepares it by making one, then calls `train` and `finish`."""

    def __init__(self, recipe: Recipe, accelerator: Accelerator) -> None:
        """Loads data and model, and the newest checkpoint where there is one.

        Args:
            recipe: The recipe; its `output_dir` is held by `hold_run_folder`.
            accelerator: See `build_accelerator`.

        Raises:
            OSError: If data or weights are not there.
            ValueError: If the recipe, its data or weights cannot be used.
        """
        self.recipe, self.accelerator, self.folder = recipe, accelerator, Path(recipe.output_dir)
        self.limit = TimeLimit(recipe.max_minutes, accelerator)
        set_seed(recipe.seed)

        with accelerator.local_main_process_first():  # which fills the cache for the others
            self.faces = load_faces(recipe)
        self.data = data_fingerprint(self.faces)
        self.reported = "test" if "test" in self.faces else "validation"
        config = build_config(recipe)
        if accelerator.device.type == "cpu":  # where the backward pass of sdpa takes up to four times as long
            config._attn_implementation = "eager"
        self.processor = InvolViTImageProcessor(
            size={"height": config.image_size, "width": config.image_size},
            image_mean=list(config.image_mean),
            image_std=list(config.image_std),
        )
        self.order = torch.Generator()  # of the training images
        train_loader, eval_loaders = build_loaders(recipe, self.faces, self.processor, self.order)

        self.class_weights = None
        if recipe.class_balance == "loss":
            labels = self.faces["train"]["label"][:]
            self.class_weights = balancing_weights(labels, config.num_labels).to(accelerator.device)
        model = build_model(recipe, config)
        groups = parameter_groups(model, recipe)
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.average = None
        if recipe.ema_decay is not None:
            if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
                raise ValueError(
                    "ema_decay needs whole weights on each process, which FSDP and DeepSpeed split; train without: "
                    "--ema_decay null"
                )
            self.average = ModelEmaV3(model.to(accelerator.device), decay=recipe.ema_decay, use_warmup=True)
        set_seed(recipe.seed, device_specific=True)  # from here on each process draws dropout masks of its own

        self.train_loader = accelerator.prepare(train_loader)
        self.eval_loaders = {part: accelerator.prepare(loader) for part, loader in eval_loaders.items()}
        self.steps_per_epoch = math.ceil(len(self.train_loader) / recipe.gradient_accumulation_steps)
        total_steps = recipe.num_epochs * self.steps_per_epoch
        self.last_step = min(total_steps, recipe.max_steps or total_steps) if recipe.max_minutes is None else math.inf
        # The schedule is not prepared: it counts optimizer steps of the run, accelerate would step it once per process.
        if recipe.max_minutes is None:
            self.scheduler = get_polynomial_decay_schedule_with_warmup(
                optimizer, recipe.warmup_steps, total_steps, lr_end=0.0, power=recipe.lr_power
            )
        else:
            self.scheduler = schedule_by_time(optimizer, recipe, self.limit)
        self.num_parameters = sum(p.numel() for p in model.parameters())  # an engine leaves each process a part of them
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.evaluated_model = self.model if self.average is None else self.average.module  # and saved

        self.progress = Progress()
        if (saved := load_newest_checkpoint(accelerator, self.folder / "checkpoints", self.average)) is not None:
            if saved.pop("data") != self.data:
                raise ValueError(
                    f"{recipe.data} holds other images or labels than when {self.folder} was begun; restore them, or "
                    f"choose another output_dir"
                )
            self.scheduler.load_state_dict(saved.pop("scheduler"))
            self.progress = Progress(**saved)
            if self.progress.best_epoch is not None:
                check_best_model(self.folder)
        scored_last = len(self.faces["validation"]) + len(self.faces[self.reported])
        self.limit.begin(self.progress.used_seconds, scored_last)
        if self.limit.is_over and self.progress.step == 0:
            raise ValueError(
                f"max_minutes {recipe.max_minutes:g} is too short: loading data and model took {self.limit.used:.0f} s"
            )
        open_run_folder(recipe, accelerator)  # only now: a mistake found above leaves nothing behind
        plain = {name: value for name, value in vars(recipe).items() if isinstance(value, bool | int | float | str)}
        accelerator.init_trackers("logs", config=plain)

    def train(self) -> None:
        """Trains to the last step or the end of the time, with a checkpoint and an evaluation after each epoch.

        Raises:
            NonFiniteLossError: If the loss or scores are no longer finite.
        """
        sizes = ", ".join(f"{len(rows)} {part}" for part, rows in self.faces.items())
        steps = f"{self.last_step} steps, {self.steps_per_epoch} per epoch"
        if (minutes := self.recipe.max_minutes) is not None:
            steps = f"{minutes:g} minutes, {self.steps_per_epoch} steps per epoch"
        self.accelerator.print(f"{self.num_parameters / 1e6:.2f} M parameters; images: {sizes}; {steps}")
        is_shown, progress = self.accelerator.is_main_process, self.progress
        total = None if self.last_step == math.inf else self.last_step
        with tqdm(total=total, initial=progress.step, unit="step", disable=not is_shown) as bar:
            # Where an epoch was begun it is measured, even if the time is over when the run goes on.
            while progress.epoch_steps or not (progress.is_finished(self.recipe, self.last_step) or self.limit.is_over):
                self._train_epoch(bar)
                self._evaluate()
                progress.end_epoch()
                self._save_checkpoint()

    def _train_epoch(self, bar: tqdm) -> None:
        """Trains to the end of the epoch, the last step or the end of the time, from the batch that comes next."""
        recipe, accelerator, progress = self.recipe, self.accelerator, self.progress
        self.order.manual_seed(recipe.seed + progress.epoch)
        # This passes it on to the data set; a loader that resumes would start at 0.
        self.train_loader.set_epoch(progress.epoch)
        self.model.train()
        for name in recipe.frozen:  # their BatchNorm statistics stay too
            getattr(accelerator.unwrap_model(self.model).involvit, name).eval()

        batches = self.train_loader
        if progress.batches:
            batches = accelerator.skip_first_batches(batches, progress.batches)
        batches = mark_padding(batches, progress.batches, len(self.faces["train"]), recipe.batch_size, accelerator)
        batches = mix_batches(batches, recipe.mixup_alpha, recipe.cutmix_alpha, len(LABELS))
        started = time.perf_counter()
        while window := list(itertools.islice(batches, recipe.gradient_accumulation_steps)):  # the last may be shorter
            step = progress.step + 1
            loss = self._train_step(window, step)
            images = sum(len(batch["labels"]) for batch in window) * accelerator.num_processes
            seconds = time.perf_counter() - started
            started += seconds
            progress.add_step(loss, len(window), images, seconds)
            self.limit.saw_step(seconds, images)
            learning_rate, images_per_s = self.scheduler.get_last_lr()[-1], images / seconds
            bar.update()
            bar.set_postfix(loss=f"{loss:.4f}", lr=f"{learning_rate:.2e}", images_per_s=f"{images_per_s:.1f}")
            if step % recipe.log_steps == 0:
                values = {"loss": loss, "learning_rate": learning_rate, "images_per_s": images_per_s}
                accelerator.log({f"train/{name}": value for name, value in values.items()}, step=step)
            if step >= self.last_step or self.limit.is_over:
                return
            if step % recipe.checkpoint_steps == 0 and progress.batches < len(self.train_loader):
                self._save_checkpoint()
                started = time.perf_counter()

    def _train_step(self, window: list[Batch], step: int) -> float:
        """Takes one optimizer step on the mean loss over all images of the window on all processes, and returns it."""
        accelerator, model = self.accelerator, self.model
        weights = self.class_weights
        # DDP averages gradients over processes, so each divides its sum by the mean of what they hold.
        divisor = accelerator.reduce(sum(label_weight(batch["labels"], weights) for batch in window), "mean")
        losses = []
        for batch in window:
            accelerator.sync_gradients = batch is window[-1]
            with contextlib.nullcontext() if accelerator.sync_gradients else accelerator.no_sync(model):
                logits = model(batch["pixel_values"]).logits
                loss = summed_cross_entropy(logits, batch["labels"], weights, self.recipe.label_smoothing) / divisor
                accelerator.backward(loss)
            losses.append(loss.detach())
        mean_loss = accelerator.reduce(torch.stack(losses).sum(), "mean").item()
        norm = accelerator.clip_grad_norm_(model.parameters(), self.recipe.max_grad_norm or math.inf)
        # With fp16 steps whose gradients overflow are skipped.
        finite_gradient = norm is None or accelerator.mixed_precision == "fp16" or math.isfinite(norm)
        if not (math.isfinite(mean_loss) and finite_gradient):
            rows = [batch["index"].tolist() for batch in window]
            bad = [indices for indices, loss in zip(rows, losses, strict=True) if not loss.isfinite()]
            rows = gather_object(list(itertools.chain(*bad))) or gather_object(list(itertools.chain(*rows)))
            paths = self.faces["train"].select(rows[:_NAMED_IMAGES])["path"][:]
            more = f" and {len(rows) - len(paths)} more" if len(rows) > len(paths) else ""
            advice = "these, lower learning_rate or set max_grad_norm; the checkpoint before is kept"
            if step == 1:  # nothing has been learned yet
                advice = "these, and at the weights that the run started from"
            raise NonFiniteLossError(
                f"step {step}: loss {mean_loss}, gradient norm {norm}; images: {', '.join(paths)}{more}. "
                f"Look at {advice}"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.limit.update()
        if not accelerator.optimizer_step_was_skipped:
            self.scheduler.step()
        if self.average is not None:
            self.average.update(accelerator.unwrap_model(model), step=step)
        return mean_loss

    def _evaluate(self) -> None:
        """Measures on the validation part, and saves the model if it is the best so far and the best is asked for."""
        recipe, accelerator, progress = self.recipe, self.accelerator, self.progress
        rows, started = self.faces["validation"], time.perf_counter()
        share_statistics(self.evaluated_model)
        metrics = measure(predict_rows(self.evaluated_model, self.eval_loaders["validation"], rows, accelerator))
        self.limit.saw_evaluation(time.perf_counter() - started, len(rows))
        scores = {
            "validation_loss": metrics["negative_log_likelihood"],
            "accuracy": metrics["accuracy"],
            "macro_f1": metrics["macro_f1"],
        }
        entry = {
            "epoch": progress.epoch + progress.batches / len(self.train_loader),
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.epoch_steps,
            "learning_rate": self.scheduler.get_last_lr()[-1],
            **scores,
        }
        progress.history.append(entry)
        accelerator.log({f"validation/{name}": value for name, value in scores.items()}, step=progress.step)
        if accelerator.is_main_process:
            tqdm.write(", ".join(f"{name} {value:.4g}" for name, value in entry.items()))
        if recipe.select_best is not None and progress.is_best(recipe.select_best):
            save_model(self.evaluated_model, self.processor, self.folder / BEST, accelerator)

    def _save_checkpoint(self) -> None:
        self.limit.update()
        self.progress.used_seconds = self.limit.used
        share_statistics(self.model)  # a run that goes on from here has the main process's on all of them
        state = {**asdict(self.progress), "scheduler": self.scheduler.state_dict(), "data": self.data}
        save_checkpoint(self.accelerator, self.folder / "checkpoints", self.progress.step, state, self.average)

    def finish(self) -> MeasuredRun | None:
        """Saves the model and measures it.

        Returns:
            The measurements on the main process, else None.

        Raises:
            NonFiniteLossError: If scores are not finite.
        """
        best = self.folder / BEST
        if self.recipe.select_best is None:
            save_model(self.evaluated_model, self.processor, self.folder, self.accelerator)
        elif self.accelerator.is_main_process and best.exists():
            move_files(best, self.folder)
        self.accelerator.wait_for_everyone()
        measured = measure_run(self)
        self.accelerator.end_training()
        return measured
