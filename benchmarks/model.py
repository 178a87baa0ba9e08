"""Whole models beside the same with the unfolded operator: python -m benchmarks.model

RedNet-50 and InvolViT at 352 px, inference and training step (forward, backward, AdamW), images/s and peak memory, and
what bfloat16, compiling and folding of BatchNorm do; as glibc is, and with freed memory kept as train.py has it. Writes
results/model_cpu.md.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.involution import involution_by_unfold
from benchmarks.timing import RESULTS, describe_machine, markdown_table, peak_memory, time_in_turn
from involvit.training.accelerator import keep_freed_memory
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, RedNet, fold_for_inference

IMAGE_SIZE, ROUNDS = 352, 3
MODELS = {"RedNet-50": 8, "InvolViT": 2}  # and their batches
NUM_CLASSES = 7


def build(name: str) -> nn.Module:
    """Returns a model that maps images to scores of classes."""
    torch.manual_seed(0)
    if name == "RedNet-50":
        return RedNet(num_classes=NUM_CLASSES)
    return InvolViTForImageClassification(InvolViTConfig(image_size=IMAGE_SIZE))


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
    model: nn.Module, images: Tensor, optimizer: torch.optim.Optimizer, context: Callable = contextlib.nullcontext
) -> None:
    """Forward and backward pass and an update."""
    model.train()
    with context():
        F.cross_entropy(scores(model, images).float(), torch.zeros(len(images), dtype=torch.long)).backward()
    optimizer.step()
    optimizer.zero_grad()


def run_for_memory(warm_up: bool, name: str, is_unfolded: bool, keeps_memory: bool) -> None:
    """A training step in a process of its own; the warm-up is a step on one image of a small model."""
    if keeps_memory:
        keep_freed_memory()
    model = RedNet((1,), (64,), num_classes=NUM_CLASSES) if warm_up else build(name)
    images = torch.randn(1, 3, 32, 32) if warm_up else torch.randn(MODELS[name], 3, IMAGE_SIZE, IMAGE_SIZE)
    with unfolded() if is_unfolded else contextlib.nullcontext():
        training_step(model, images, torch.optim.AdamW(model.parameters()))


def measure(name: str, keeps_memory: bool) -> list[list[object]]:
    """Returns the rows of a model's table."""
    batch, rows = MODELS[name], []
    memory = {kind: peak_memory(run_for_memory, name, kind == "unfold", keeps_memory) for kind in ("unfold", "ours")}
    model, images = build(name), torch.randn(batch, 3, IMAGE_SIZE, IMAGE_SIZE)
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


def main() -> None:
    """Measures, prints and writes the table."""
    header = ["model", "batch", "freed memory", "operator", "inference, images/s", "to unfold", "training, images/s"]
    header += ["to unfold", "peak memory of a step, GiB"]
    rows = [row for name in MODELS for row in measure(name, keeps_memory=False)]
    keep_freed_memory()
    rows += measure("RedNet-50", keeps_memory=True)
    table = markdown_table(header, rows)
    text = f"{describe_machine(torch.device('cpu'))}, {IMAGE_SIZE} px, float32 unless said\n\n{table}\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "model_cpu.md").write_text(text)


if __name__ == "__main__":
    main()
