"""Whole models at 352 px, RedNet-50 and InvolViT: python -m benchmarks.model

Inference and training step (forward, backward, AdamW), images/s and peak memory. On a CPU beside the same with the
unfolded operator, and what bfloat16, compiling and folding do; as glibc is, and with freed memory kept as train.py has
it. On a GPU in each type and memory layout. Writes OUT/model_DEVICE.md.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.involution import LAYOUTS, TYPES, involution_by_unfold
from benchmarks.timing import RESULTS, describe_machine, markdown_table, peak_memory, time_in_turn
from involvit.memory import keep_freed_memory
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, RedNet, fold_for_inference

IMAGE_SIZE, ROUNDS = 352, 3
SECONDS = 1.0  # of a round on a GPU
MODELS = {"RedNet-50": 8, "InvolViT": 2}  # and their batches
GPU_BATCHES = {"RedNet-50": 64, "InvolViT": 32}  # halved where memory does not suffice
NUM_CLASSES = 7


def build(name: str, size: int = IMAGE_SIZE) -> nn.Module:
    """Returns a model that maps images to scores of classes."""
    torch.manual_seed(0)
    if name == "RedNet-50":
        return RedNet(num_classes=NUM_CLASSES)
    return InvolViTForImageClassification(InvolViTConfig(image_size=size))


def scores(model: nn.Module, images: Tensor) -> Tensor:
    """Runs a model of either kind."""
    output = model(images)
    return output if isinstance(output, Tensor) else output.logits


def unfolded() -> contextlib.AbstractContextManager:
    """A context in which layers use the naive form of the operator."""
    return mock.patch.object(sys.modules["modeling_involvit.involution"], "involution", involution_by_unfold)


def inference(model: nn.Module, images: Tensor, context: Callable = contextlib.nullcontext) -> None:
    """Scores a batch."""
    model.eval()
    with torch.inference_mode(), context():
        scores(model, images)


def training_step(
    model: nn.Module,
    images: Tensor,
    optimizer: torch.optim.Optimizer,
    context: Callable = contextlib.nullcontext,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Forward and backward pass and an update; float16 needs a scaler."""
    scaler = scaler or torch.amp.GradScaler(images.device.type, enabled=False)
    model.train()
    with context():
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        loss = F.cross_entropy(scores(model, images).float(), labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def run_for_memory(warm_up: bool, name: str, size: int, is_unfolded: bool, keeps_memory: bool) -> None:
    """A training step in a process of its own; the warm-up is a step on one image of a small model."""
    if keeps_memory:
        keep_freed_memory()
    model = RedNet((1,), (64,), num_classes=NUM_CLASSES) if warm_up else build(name, size)
    images = torch.randn(1, 3, 32, 32) if warm_up else torch.randn(MODELS[name], 3, size, size)
    with unfolded() if is_unfolded else contextlib.nullcontext():
        training_step(model, images, torch.optim.AdamW(model.parameters()))


def measure(name: str, size: int, keeps_memory: bool) -> list[list[object]]:
    """Returns the rows of a model's table."""
    batch, rows = MODELS[name], []
    memory = {
        kind: peak_memory(run_for_memory, name, size, kind == "unfold", keeps_memory) for kind in ("unfold", "ours")
    }
    model, images = build(name, size), torch.randn(batch, 3, size, size)
    optimizer = torch.optim.AdamW(model.parameters())
    folded = copy.deepcopy(model).eval()
    fold_for_inference(folded)
    kinds = {
        "unfold": (model, unfolded),
        "ours": (model, contextlib.nullcontext),
        "ours, bfloat16": (model, partial(torch.autocast, "cpu", torch.bfloat16)),
        "ours, compiled": (torch.compile(model), contextlib.nullcontext),
        "ours, folded": (folded, contextlib.nullcontext),
    }
    inferences = {kind: partial(inference, run, images, context) for kind, (run, context) in kinds.items()}
    steps = {
        kind: partial(training_step, run, images, optimizer, context)
        for kind, (run, context) in kinds.items()
        if run is not folded
    }
    inference_times, step_times = time_in_turn(inferences, ROUNDS), time_in_turn(steps, ROUNDS)
    for kind in kinds:
        row: list[object] = [name, batch, "kept" if keeps_memory else "returned", kind]
        for times in (inference_times, step_times):
            row += [batch / times[kind], times["unfold"] / times[kind]] if kind in times else [None, None]
        rows.append([*row, memory[kind] / 1024 if memory.get(kind) else None])
    return rows


def measure_on_gpu(model: nn.Module, images: Tensor, kind: str) -> list[float | None]:
    """Returns images/s of training steps, their peak GiB where the device counts them, and images/s of inference."""
    device, context = images.device.type, contextlib.nullcontext
    if kind != "float32":
        context = partial(torch.autocast, device, getattr(torch, kind))
    scaler = torch.amp.GradScaler(device, enabled=kind == "float16")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    step = partial(training_step, model, images, optimizer, context, scaler)
    step()  # compiles, and makes the optimizer's state
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step_s = time_in_turn({"step": step}, ROUNDS, SECONDS)["step"]
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    inference_s = time_in_turn({"run": partial(inference, model, images, context)}, ROUNDS, SECONDS)["run"]
    return [len(images) / step_s, peak, len(images) / inference_s]


def gpu_rows(options: argparse.Namespace, device: torch.device) -> list[list[object]]:
    """Returns a row for each model, type and memory layout."""
    rows: list[list[object]] = []
    for name, layout, kind in itertools.product(options.models, options.layouts, options.types):
        memory_format = getattr(torch, layout.replace("contiguous", "contiguous_format"))
        batch, row = options.batch or GPU_BATCHES[name], None
        while row is None and batch:
            # In a function: what a failed try allocated is to be freed before the next one.
            row = _gpu_row(name, batch, options.size, device, memory_format, kind)
            batch //= 1 if row else 2
        rows.append([name, layout.replace("_", " "), kind, *(row or [None] * 4)])
        print(*rows[-1], sep=", ", flush=True)
    return rows


def _gpu_row(
    name: str, batch: int, size: int, device: torch.device, memory_format: torch.memory_format, kind: str
) -> list[object] | None:
    try:
        model = build(name, size).to(device, memory_format=memory_format)
        images = torch.randn(batch, 3, size, size, device=device).to(memory_format=memory_format)
        return [batch, *measure_on_gpu(model, images, kind)]
    except torch.OutOfMemoryError:
        return None
    finally:
        model = images = None
        torch.cuda.empty_cache()


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description="Times whole models.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--size", type=int, default=IMAGE_SIZE, help="height of the images")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    on_gpu = parser.add_argument_group("on a GPU")
    on_gpu.add_argument("--batch", type=int, help=f"images of a step (default: {GPU_BATCHES})")
    on_gpu.add_argument("--types", nargs="+", choices=TYPES, default=TYPES)
    on_gpu.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="of weights and images")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the table."""
    options, device = parse(words), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        header = ["model", "layout", "type", "batch", "training, images/s", "peak memory, GiB", "inference, images/s"]
        rows = gpu_rows(options, device)
        text = f"{describe_machine(device)}, {options.size} px; convolutions in float32 by TF32, as is torch's default"
    else:
        header = ["model", "batch", "freed memory", "operator", "inference, images/s", "to unfold"]
        header += ["training, images/s", "to unfold", "peak memory of a step, GiB"]
        rows = [row for name in options.models for row in measure(name, options.size, keeps_memory=False)]
        keep_freed_memory()
        if "RedNet-50" in options.models:
            rows += measure("RedNet-50", options.size, keeps_memory=True)
        text = f"{describe_machine(device)}, {options.size} px, float32 unless said"
    text += f"\n\n{markdown_table(header, rows)}\n"
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"model_{device.type}.md").write_text(text)


if __name__ == "__main__":
    main()
