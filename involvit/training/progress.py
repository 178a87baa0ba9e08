"""Where a run stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .recipe import Recipe


@dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside weights, optimizer and random states."""

    epoch: int = 0
    batches: int = 0  # of this epoch, done by each process
    step: int = 0  # optimizer steps done
    loss_sum: float = 0.0  # over this epoch's steps
    epoch_steps: int = 0
    seconds: float = 0.0  # spent in training steps
    images: int = 0  # seen in them
    used_seconds: float = 0.0  # of `max_minutes`
    best: float = -math.inf
    best_epoch: int | None = None
    evaluations_since_best: int = 0
    # Of each evaluation: epoch, step, train_loss, learning_rate, validation_loss, accuracy and macro_f1
    history: list[dict[str, float]] = field(default_factory=list)

    def is_finished(self, recipe: Recipe, last_step: float) -> bool:
        """Returns whether all steps are done, or early stopping ends the run."""
        out_of_patience = recipe.patience is not None and self.evaluations_since_best >= recipe.patience
        return self.step >= last_step or out_of_patience

    def add_step(self, loss: float, batches: int, images: int, seconds: float) -> None:
        """Counts one optimizer step, with its batches on one process and its images on all of them."""
        self.step += 1
        self.epoch_steps += 1
        self.batches += batches
        self.loss_sum += loss
        self.images += images
        self.seconds += seconds

    def end_epoch(self) -> None:
        """Begins the next epoch."""
        self.epoch += 1
        self.batches, self.epoch_steps, self.loss_sum = 0, 0, 0.0

    def is_best(self, select_best: str) -> bool:
        """Returns whether the newest evaluation is the best so far by this metric, see `Recipe`."""
        newest = self.history[-1]
        score = -newest["validation_loss"] if select_best == "loss" else newest[select_best]
        self.evaluations_since_best += 1
        if score <= self.best:
            return False
        self.best, self.best_epoch, self.evaluations_since_best = score, self.epoch, 0
        return True
