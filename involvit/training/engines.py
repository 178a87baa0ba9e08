"""What FSDP and DeepSpeed must know of a run, where accelerate trains by one of them."""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast
from torch import nn
from transformers.integrations import unset_hf_deepspeed_config

from .recipe import Recipe


def set_up_engine(accelerator: Accelerator, recipe: Recipe) -> None:
    """Has the engine, if there is one, do what the recipe says, and leave whole models to the processes.

    Raises:
        ValueError: If accelerate left the engine out, or its configuration claims what the recipe decides.
    """
    for name in ("FSDP", "DEEPSPEED"):
        asked = os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"
        if asked and accelerator.distributed_type != DistributedType(name):
            raise ValueError(f"accelerate leaves {name} out on CPUs; take a configuration without it")
    if accelerator.distributed_type == DistributedType.FSDP:
        # transformers would load weights on one process alone, and those of the finished run with them.
        accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = False
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    elif accelerator.distributed_type == DistributedType.DEEPSPEED:
        unset_hf_deepspeed_config()  # transformers would build every model in parts
        _set_up_deepspeed(accelerator.state.deepspeed_plugin.deepspeed_config, recipe)


def _set_up_deepspeed(config: dict, recipe: Recipe) -> None:
    for name in ("optimizer", "scheduler"):
        if name in config:
            raise ValueError(f"the DeepSpeed configuration has a section {name}; take it out, the recipe decides that")
    config.pop("train_batch_size", None)  # follows from the next two
    config["train_micro_batch_size_per_gpu"] = recipe.batch_size
    config["gradient_accumulation_steps"] = 1  # the loop accumulates, and divides the loss
    config["gradient_clipping"] = recipe.max_grad_norm or 0.0
    config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True  # else the finished run cannot save


def share_statistics(model: nn.Module) -> None:
    """Gives every process the main one's buffers, as DDP alone does: what is measured is then what is saved."""
    broadcast(list(model.buffers()))
