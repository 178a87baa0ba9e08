"""The operator beside others: python -m benchmarks.involution

Ours beside the naive form of the reference (unfold, multiply, sum) and the bound of the memory, each as it is at its
best: ours channels last, the naive form contiguous. The layer beside that of the PyPI package `involution-pytorch`. On
a GPU also a plain CUDA kernel, one thread an output, and the naive form compiled. Writes results/involution_DEVICE.md
and .png.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from involution_pytorch import Inv2d
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from benchmarks.timing import RESULTS, describe_machine, markdown_table, memory_bandwidth, peak_memory, time_in_turn
from modeling_involvit import Involution2d, involution

STAGES = {224: ((64, 56), (128, 28), (256, 14), (512, 7)), 352: ((64, 88), (128, 44), (256, 22), (512, 11))}
BATCHES = (1, 8, 64)
KERNEL_SIZE, GROUP_CHANNELS = 7, 16
UNFOLD_BYTES = 8 * 2**30  # what the naive form may take for a result
FASTEST_LAYOUT = {"ours": True}  # channels last

Row = dict[str, float | int | str | None]


def involution_by_unfold(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """The naive form of the reference (d-li14/involution): unfold, multiply, sum."""
    batch, groups, kernel_size, _, height, width = weight.shape
    patches = F.unfold(x, kernel_size, padding=kernel_size // 2, stride=stride)
    patches = patches.view(batch, groups, -1, kernel_size**2, height, width)
    return (weight.flatten(2, 3).unsqueeze(2) * patches).sum(dim=3).flatten(1, 2)


def inputs(batch: int, channels: int, size: int, device: str, dtype: torch.dtype, channels_last: bool) -> list[Tensor]:
    """Returns x, weight and a gradient of the output."""
    shapes = [(channels,), (channels // GROUP_CHANNELS, KERNEL_SIZE, KERNEL_SIZE), (channels,)]
    if channels_last:
        tensors = [torch.randn(batch, size, size, *shape, device=device, dtype=dtype) for shape in shapes]
        tensors = [tensor.movedim((1, 2), (-2, -1)) for tensor in tensors]
    else:
        tensors = [torch.randn(batch, *shape, size, size, device=device, dtype=dtype) for shape in shapes]
    return [tensor.requires_grad_() for tensor in tensors]


def run_forward(operator: Callable, x: Tensor, weight: Tensor, grad: Tensor) -> None:
    """Inference."""
    with torch.inference_mode():
        operator(x, weight)


def run_both(operator: Callable, x: Tensor, weight: Tensor, grad: Tensor) -> None:
    """Forward and backward pass."""
    torch.autograd.grad(operator(x, weight), (x, weight), grad)


def run_for_memory(warm_up: bool, operator: Callable, channels: int, size: int, channels_last: bool) -> None:
    """Forward and backward pass of a batch of 8, its inputs included."""
    batch, size = (1, 8) if warm_up else (8, size)
    run_both(operator, *inputs(batch, channels, size, "cpu", torch.float32, channels_last))


def run_layer(layer: torch.nn.Module, x: Tensor) -> None:
    """Forward and backward pass of a layer."""
    layer(x).sum().backward()


def measure(device: torch.device, dtype: torch.dtype) -> list[Row]:
    """Measures the stages of RedNet-50 at all image sizes and batches."""
    bandwidth = memory_bandwidth(device)
    operators = {"ours": involution, "unfold": involution_by_unfold}
    if device.type == "cuda":
        from benchmarks.cuda_baseline import involution_by_cuda

        operators |= {"CUDA": involution_by_cuda, "compiled unfold": torch.compile(involution_by_unfold)}
    rows = []
    cases = [(image, batch, stage) for image in STAGES for batch in BATCHES for stage in range(4)]
    for image, batch, stage in tqdm(cases, unit="shape"):
        channels, size = STAGES[image][stage]
        layouts = [inputs(batch, channels, size, device, dtype, channels_last) for channels_last in (False, True)]
        x, weight, _ = layouts[0]
        fits = KERNEL_SIZE**2 * x.nbytes < UNFOLD_BYTES / 4  # unfolded, product, and their gradients
        chosen = {name: operator for name, operator in operators.items() if fits or "unfold" not in name}
        given = {name: layouts[FASTEST_LAYOUT.get(name, False)] for name in chosen}
        forward = time_in_turn({name: partial(run_forward, chosen[name], *given[name]) for name in chosen})
        both = time_in_turn({name: partial(run_both, chosen[name], *given[name]) for name in chosen})
        row: Row = {"image": image, "batch": batch, "stage": stage + 1}
        # Forward reads x and weight and writes the output; backward reads these two and a gradient and writes two more.
        for name, times, num_bytes in (
            ("forward", forward, 2 * x.nbytes + weight.nbytes),
            ("both", both, 5 * x.nbytes + 3 * weight.nbytes),
        ):
            row |= {f"{name} {operator}": seconds for operator, seconds in times.items()}
            row[f"{name} bound"] = num_bytes / bandwidth
        if device.type == "cpu" and batch <= 8:
            ours = Involution2d(channels, KERNEL_SIZE, group_channels=GROUP_CHANNELS)
            package = Inv2d(channels, KERNEL_SIZE, 1, group_ch=GROUP_CHANNELS, red_ratio=4)
            row |= time_in_turn(
                {
                    "layer ours": partial(run_layer, ours, layouts[True][0].detach()),
                    "layer package": partial(run_layer, package, x.detach()),
                },
                rounds=3,
            )
        if device.type == "cpu" and (image, batch) == (352, 8):
            for name, operator in chosen.items():
                last = FASTEST_LAYOUT.get(name, False)
                row[f"memory {name}"] = peak_memory(run_for_memory, operator, channels, size, last)
        rows.append(row)
    return rows


def table_of(rows: list[Row], others: list[str]) -> str:
    """Sets times of ours in milliseconds beside ratios: the others' to ours, and the bound's to ours."""

    def ratio(row: Row, of: str, to: str) -> float | None:
        return row[of] / row[to] if row.get(of) and row.get(to) else None

    header = ["image", "batch", "stage"]
    for name in ("forward", "forward + backward"):
        header += [f"{name}, ms", *(f"{other} / ours" for other in others), "bound / ours"]
    header += ["layer: PyPI package / ours", "memory, MiB", "memory: unfold / ours"]
    cells = []
    for row in rows:
        line = [row["image"], row["batch"], row["stage"]]
        for name in ("forward", "both"):
            line += [1e3 * row[f"{name} ours"], *(ratio(row, f"{name} {o}", f"{name} ours") for o in others)]
            line.append(ratio(row, f"{name} bound", f"{name} ours"))
        line += [ratio(row, "layer package", "layer ours"), row.get("memory ours")]
        cells.append([*line, ratio(row, "memory unfold", "memory ours")])
    return markdown_table(header, cells)


def draw(rows: list[Row], others: list[str], title: str) -> Figure:
    """Draws forward + backward at 352 px, a panel a batch: bars of milliseconds on a logarithmic axis."""
    figure = Figure(figsize=(11, 3.6), dpi=120, layout="constrained")
    names = ["ours", *others, "bound"]
    for axes, batch in zip(figure.subplots(1, len(BATCHES), sharey=True), BATCHES, strict=True):
        chosen = [row for row in rows if (row["image"], row["batch"]) == (352, batch)]
        for number, name in enumerate(names):
            places = [row["stage"] + (number - (len(names) - 1) / 2) * 0.8 / len(names) for row in chosen]
            heights = [1e3 * (row.get(f"both {name}") or 0) for row in chosen]
            axes.bar(places, heights, 0.8 / len(names), label="bound of the memory" if name == "bound" else name)
        axes.set(title=f"batch {batch}", xlabel="stage of RedNet-50 at 352 px", yscale="log", xticks=[1, 2, 3, 4])
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].set_ylabel("forward + backward, ms")
    figure.axes[0].legend()
    figure.suptitle(title, fontsize=9)
    return figure


def main() -> None:
    """Measures, prints and writes the table and the picture."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for dtype in (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
        rows = measure(device, dtype)
        others = [name.removeprefix("both ") for name in rows[0] if name.startswith("both ")]
        others = [name for name in others if name not in ("ours", "bound")]
        name, kind = f"involution_{device.type}", str(dtype).removeprefix("torch.")
        title = f"{describe_machine(device)}, {kind}"
        eights = [row for row in rows if (row["image"], row["batch"]) == (352, 8)]
        summed = sum(row["both unfold"] for row in eights) / sum(row["both ours"] for row in eights)
        text = f"{title}\n\n{table_of(rows, others)}\n\nForward + backward of the four stages at 352 px and batch 8, "
        text += f"summed: unfold / ours {summed:.1f}.\n"
        print(text)
        RESULTS.mkdir(exist_ok=True)
        suffix = "" if dtype == torch.float32 else f"_{kind}"
        (RESULTS / f"{name}{suffix}.md").write_text(text)
        draw(rows, others, title).savefig(RESULTS / f"{name}{suffix}.png")


if __name__ == "__main__":
    main()
