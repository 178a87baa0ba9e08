"""What a recipe leaves to the machine: how many processes load images, and the type of the forward pass."""

from __future__ import annotations

import os

import joblib
import torch
from accelerate.utils import parse_flag_from_env

AUTO = "auto"
_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # torch's names of the instructions on x86 and ARM
_CORES_PER_LOADER = 4  # of CPUs that compute: on fewer, a process that loads gets in the way of the threads


def device_type() -> str:
    """Returns the type of device that accelerate will choose, without setting anything up: `cuda`, `mps`, `cpu` ..."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if found is None or parse_flag_from_env("ACCELERATE_USE_CPU") else found.type


def share_of_cores(num_threads: int | None) -> int:
    """Returns the cores for this process: `num_threads` where it is given, else its share of those it may use."""
    return num_threads or max(joblib.cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)


def loading_processes(num_workers: int | str, cores: int, device: str) -> int:
    """Returns how many processes load images, where `auto` follows from the cores of this process.

    A GPU leaves them idle: all but one load. On a CPU they compute, and one in four loads; of fewer than four none.
    """
    if num_workers != AUTO:
        return num_workers
    return cores // _CORES_PER_LOADER if device == "cpu" else max(cores - 1, 1)


def has_bfloat16(device: str) -> bool:
    """Returns whether the processor has instructions for bfloat16 that torch uses; without, it is slower by far."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu" and torch.backends.mkldnn.is_available():
        return any(torch.cpu.get_capabilities().get(name, False) for name in _CPU_BFLOAT16)
    return False


def chosen_precision(mixed_precision: str, device: str) -> str:
    """Returns the type of the forward pass, where `auto` follows from the device.

    It is then what `accelerate launch` was asked for, else bf16 where there are instructions for it. DeepSpeed, which
    would keep the weights themselves in bf16, stays in float32.

    Raises:
        ValueError: If bf16 is asked for where the processor has no instructions for it.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()  # no is also what it says unasked
    if mixed_precision == AUTO and launched == "no":
        return "bf16" if has_bfloat16(device) and not parse_flag_from_env("ACCELERATE_USE_DEEPSPEED") else "no"
    wanted = launched if mixed_precision == AUTO else mixed_precision
    if wanted == "bf16" and device in ("cpu", "cuda") and not has_bfloat16(device):
        processor = "GPU" if device == "cuda" else "processor"
        advice = "fp16 or no" if device == "cuda" else "no"
        raise ValueError(
            f"mixed_precision bf16: this {processor} has no instructions for bfloat16, and a step would take many "
            f"times as long; choose {advice}, or auto"
        )
    return wanted
