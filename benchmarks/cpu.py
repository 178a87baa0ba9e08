"""What users of a CPU see: python -m benchmarks.cpu

- the operator at stage 1 of RedNet-50 at 352 px, contiguous and channels last, beside the naive form (unfold), the form
  by shifted views, and the bound of the memory
- the same while another process keeps one core busy, beside a convolution that takes as long on the idle machine
- InvolViT at 352 px beside timm's hybrid ViT alone, and the default model on faces

Writes OUT/cpu.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.involution import inputs, involution_by_unfold, run_both, run_forward
from benchmarks.timing import RESULTS, describe_machine, markdown_table, memory_bandwidth, time_in_turn
from involvit import Predictor
from involvit.memory import keep_freed_memory
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, fold_for_inference, involution

CHANNELS, SIZE = 64, 88
BATCHES = (1, 8)
FACES, FACE_SIZE = 64, 64


class _Views(torch.autograd.Function):
    """The operator by shifted views, which is what computes it where neither Numba nor Triton is installed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return sys.modules["modeling_involvit.involution"]._forward_by_views(x, weight, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return sys.modules["modeling_involvit.involution"]._backward_by_views(grad, *ctx.saved_tensors, 1)


def operator_table() -> str:
    """Milliseconds of the operator, and of reading and writing its tensors once."""
    bandwidth, rows = memory_bandwidth(torch.device("cpu")), []
    for batch in BATCHES:
        contiguous, last = (inputs(batch, CHANNELS, SIZE, "cpu", torch.float32, is_last) for is_last in (False, True))
        x, weight, _ = contiguous
        num_bytes = {"forward": 2 * x.nbytes + weight.nbytes, "forward + backward": 5 * x.nbytes + 3 * weight.nbytes}
        for name, run in (("forward", run_forward), ("forward + backward", run_both)):
            times = time_in_turn(
                {
                    "unfold": partial(run, involution_by_unfold, *contiguous),
                    "views": partial(run, _Views.apply, *contiguous),
                    "contiguous": partial(run, involution, *contiguous),
                    "channels last": partial(run, involution, *last),
                }
            )
            milliseconds = [1e3 * seconds for seconds in (*times.values(), num_bytes[name] / bandwidth)]
            rows.append([batch, name, *milliseconds, times["unfold"] / times["channels last"]])
    header = ["batch", "ms", "unfold", "views", "ours, contiguous", "ours, channels last", "bound of the memory"]
    return markdown_table([*header, "unfold / ours, channels last"], rows)


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process computes without end on the last of the cores."""
    core = max(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def convolution(x: Tensor, num_channels: int) -> Callable[[], Tensor]:
    """A 3x3 convolution of x, to be called without arguments."""
    kernel = torch.randn(num_channels, CHANNELS, 3, 3).contiguous(memory_format=torch.channels_last)
    return torch.inference_mode()(partial(F.conv2d, x.detach(), kernel, padding=1))


def busy_table() -> str:
    """Milliseconds on the idle and on the busy machine, means of half a second each, of which the median is taken."""
    rows = []
    for batch in BATCHES:
        x, weight, _ = inputs(batch, CHANNELS, SIZE, "cpu", torch.float32, channels_last=True)
        ours = partial(run_forward, involution, x, weight, None)
        times = time_in_turn({"ours": ours, "convolution": convolution(x, CHANNELS)})
        num_channels = max(1, round(CHANNELS * times["ours"] / times["convolution"]))
        functions = {"ours": ours, f"3x3 convolution to {num_channels} channels": convolution(x, num_channels)}
        idle = time_in_turn(functions, seconds=0.5)
        with busy_core():
            busy = time_in_turn(functions, seconds=0.5)
        rows += [[batch, name, 1e3 * idle[name], 1e3 * busy[name], busy[name] / idle[name]] for name in functions]
    return markdown_table(["batch", "forward, channels last", "idle, ms", "one core busy, ms", "busy / idle"], rows)


@torch.inference_mode()
def model_table() -> str:
    """Milliseconds of an image at 352 px, and images/s of the default model."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, 352, 352)
    vit = timm.create_model("vit_base_r50_s16_384", img_size=352, num_classes=7).eval()
    whole = InvolViTForImageClassification(InvolViTConfig()).eval()
    folded = InvolViTForImageClassification(InvolViTConfig()).eval()
    folded.load_state_dict(whole.state_dict())
    fold_for_inference(folded)
    names = {"timm's hybrid ViT alone": vit, "InvolViT": whole, "InvolViT, folded": folded}
    times = time_in_turn({name: partial(model, image) for name, model in names.items()})
    first = times["timm's hybrid ViT alone"]
    rows = [[name, 1e3 * seconds, seconds / first] for name, seconds in times.items()]
    faces = list(np.random.default_rng(0).integers(256, size=(FACES, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8))
    predict = Predictor()
    returned = time_in_turn({"default": partial(predict, faces)}, seconds=1)["default"]
    keep_freed_memory()
    kept = time_in_turn({"default": partial(predict, faces)}, seconds=1)["default"]
    table = markdown_table(["at 352 px, batch 1", "ms", "to timm's"], rows)
    speed = f"The default model by a Predictor, {FACES} faces of {FACE_SIZE} px: {FACES / returned:.0f} faces/s, and "
    speed += f"{FACES / kept:.0f} where freed memory is kept, as `involvit predict` does."
    return f"{table}\n\n{speed}"


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description="Times what users of a CPU see.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    options = parser.parse_args(words)
    parts = [describe_machine(torch.device("cpu")), operator_table(), busy_table(), model_table()]
    text = "\n\n".join(parts) + "\n"
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cpu.md").write_text(text)


if __name__ == "__main__":
    main()
