"""Accelerate as a recipe asks for it, with the threads and the memory of the machine set for training."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

from ..memory import keep_freed_memory
from .engines import set_up_engine
from .machine import AUTO, chosen_precision, device_type, loading_processes, share_of_cores
from .recipe import Recipe


def build_accelerator(recipe: Recipe) -> Accelerator:
    """Builds the run's accelerator and sets up this process.

    The recipe then says which precision was chosen: a run must go on in the one that it was begun in.

    Raises:
        ValueError: If the tracker is not installed, the device lacks the precision, or each of several processes would
            train alone.
    """
    keep_freed_memory()
    recipe.mixed_precision = chosen_precision(recipe.mixed_precision, device_type())
    tracker = None if recipe.report_to == "none" else recipe.report_to
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        log_with=tracker,
        project_dir=recipe.output_dir,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # the loop divides; a variable would too
    )
    if (started := int(os.environ.get("WORLD_SIZE", "1"))) != accelerator.num_processes:
        here = os.environ.get("LOCAL_WORLD_SIZE", started)
        raise ValueError(
            f"{started} processes were started, but accelerate found no GPU and would train {started} times alone; on "
            f"CPUs: ACCELERATE_USE_CPU=true torchrun --nproc_per_node {here} train.py ..."
        )
    set_up_engine(accelerator, recipe)
    if tracker and not accelerator.log_with:  # accelerate only leaves it out
        raise ValueError(f"report_to {tracker} needs its package, which is not installed")
    if accelerator.device.type == "cpu":
        if accelerator.mixed_precision == "fp16":  # accelerate would compute in float32
            raise ValueError("mixed_precision fp16 needs a GPU; on a CPU choose bf16 or no")
        # accelerate launch and torchrun set OMP_NUM_THREADS to 1
        cores = share_of_cores(recipe.num_threads)
        loaders = loading_processes(AUTO, cores, "cpu") if recipe.num_workers == AUTO else 0
        torch.set_num_threads(recipe.num_threads or cores - loaders)
    return accelerator
