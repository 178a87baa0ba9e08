"""A run by time: how much of its minutes is used, and with it the learning rate, which falls to zero with the rest."""

from __future__ import annotations

import math
import time

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .recipe import Recipe


class TimeLimit:
    """The minutes of a run, which begin when this is made; without `max_minutes` they never end.

    Time for the last evaluation and the report is set aside: what the fastest evaluation took for each image, or before
    the first one the fastest training step.

    Args:
        minutes: `max_minutes` of the recipe.
        accelerator: The run's; its main process's clock is that of all of them.

    Attributes:
        used: Seconds that the run took until the last `update`.
        share: Share of the training time that is used, from 0 to 1; 0 without a limit.
    """

    def __init__(self, minutes: float | None, accelerator: Accelerator) -> None:
        self._seconds, self._accelerator = None if minutes is None else 60 * minutes, accelerator
        self._started, self._before = time.monotonic(), 0.0
        self._training_s: float | None = None  # for an image
        self._evaluation_s: float | None = None
        self.used, self.share, self._last_images = 0.0, 0.0, 0

    @property
    def is_over(self) -> bool:
        """Whether the last step is done."""
        return self.share >= 1

    def begin(self, before: float, last_images: int) -> None:
        """Reads the clock for the first time.

        Args:
            before: Seconds that the run took before this process, as its checkpoint says.
            last_images: Images that are scored after the last step.
        """
        self._before, self._last_images = before, last_images
        self.update()

    def saw_step(self, seconds: float, images: int) -> None:
        """Learns from the duration of a training step."""
        self._training_s = min(self._training_s or math.inf, seconds / images)

    def saw_evaluation(self, seconds: float, images: int) -> None:
        """Learns from the duration of an evaluation."""
        self._evaluation_s = min(self._evaluation_s or math.inf, seconds / images)

    def update(self) -> None:
        """Reads the clock. To be called by every process."""
        if self._seconds is None:
            return
        self.used = self._before + time.monotonic() - self._started
        an_image = self._evaluation_s or self._training_s or 0.0
        left = self._seconds - self._last_images * an_image
        share = min(self.used / left, 1.0) if left > 0 else 1.0
        self.share = broadcast(torch.tensor(share, device=self._accelerator.device)).item()


def schedule_by_time(optimizer: Optimizer, recipe: Recipe, limit: TimeLimit) -> LambdaLR:
    """Returns the schedule whose rate is `(1 - share of the time) ** lr_power`, times a warm-up by steps."""

    def factor(step: int) -> float:
        warm_up = min(step / recipe.warmup_steps, 1) if recipe.warmup_steps else 1
        return warm_up * (1 - limit.share) ** recipe.lr_power

    return LambdaLR(optimizer, factor)
