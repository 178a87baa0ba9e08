"""The operator beside others: python -m benchmarks.involution

Ours beside the naive form of the reference (unfold, multiply, sum), eager and compiled, the layer of the PyPI package
`involution-pytorch`, on a GPU a plain CUDA kernel, one thread an output, and the bound of the memory. Writes
OUT/involution_DEVICE.md and .png, of other types than float32 with the type in the name.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from benchmarks.timing import RESULTS, describe_machine, markdown_table, memory_bandwidth, peak_memory, time_in_turn
from modeling_involvit import Involution2d, involution

KERNEL_SIZE, GROUP_CHANNELS = 7, 16
UNFOLD_BYTES = 8 * 2**30  # what the naive form may take on a CPU
TYPES = ("float32", "bfloat16", "float16")
LAYOUTS = ("channels_last", "contiguous")
# What is measured beside ours: the module that it needs, and the devices on which it is measured unasked.
OTHERS = {
    "unfold": (None, ("cpu", "cuda")),
    "compiled": (None, ("cuda",)),  # on a CPU its backward pass is slower than the eager one
    "cuda": ("cupy", ("cuda",)),
    "package": ("involution_pytorch", ("cpu",)),
}

Row = dict[str, float | int | str | None]


def stages(image_size: int) -> list[tuple[int, int]]:
    """Returns channels and height of what the involutions of RedNet-50's four stages see."""
    return [(64 * 2**stage, -(-image_size // 2 ** (stage + 2))) for stage in range(4)]


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


def operators_beside(others: Sequence[str]) -> dict[str, Callable]:
    """Returns what computes the operator beside ours, by the name in the table. To be called anew for each shape."""
    operators: dict[str, Callable] = {}
    if "unfold" in others:
        operators["unfold"] = involution_by_unfold
    if "compiled" in others:
        # For this shape alone: with many it would compile for any size, and after some more not at all.
        torch._dynamo.reset()
        operators["compiled unfold"] = torch.compile(involution_by_unfold, dynamic=False)
    if "cuda" in others:
        from benchmarks.cuda_baseline import involution_by_cuda

        operators["CUDA"] = involution_by_cuda
    return operators


def measure(device: torch.device, dtype: torch.dtype, options: argparse.Namespace) -> list[Row]:
    """Measures the stages of RedNet-50 at all image sizes and batches."""
    bandwidth = memory_bandwidth(device)
    unfold_bytes = UNFOLD_BYTES if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    # The first layout is "ours", the other one is measured beside it.
    ours = {
        f"ours, {layout.replace('_', ' ')}" if rank else "ours": layout for rank, layout in enumerate(options.layouts)
    }
    rows = []
    cases = [(image, batch, stage) for image in options.sizes for batch in options.batches for stage in range(4)]
    for image, batch, stage in tqdm(cases, unit="shape"):
        channels, size = stages(image)[stage]
        layouts = {
            layout: inputs(batch, channels, size, device, dtype, layout == "channels_last") for layout in LAYOUTS
        }
        x, weight, _ = layouts["contiguous"]
        fits = KERNEL_SIZE**2 * x.nbytes < unfold_bytes / 4  # unfolded, product, and their gradients
        operators = {**dict.fromkeys(ours, involution), **operators_beside(options.against)}
        chosen = {name: operator for name, operator in operators.items() if fits or "unfold" not in name}
        given = {name: layouts[ours.get(name, "contiguous")] for name in chosen}
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
        if "package" in options.against and dtype == torch.float32 and batch <= 8:
            row |= measure_layers(channels, x.detach(), layouts[options.layouts[0]][0].detach())
        if device.type == "cpu" and dtype == torch.float32 and (image, batch) == (352, 8):
            for name, operator in chosen.items():
                if name in ("ours", "unfold"):
                    last = ours.get(name) == "channels_last"
                    row[f"memory {name}"] = peak_memory(run_for_memory, operator, channels, size, last)
        rows.append(row)
    return rows


def measure_layers(channels: int, contiguous: Tensor, x: Tensor) -> Row:
    """Times our layer, and that of the PyPI package on the contiguous input."""
    from involution_pytorch import Inv2d

    ours = Involution2d(channels, KERNEL_SIZE, group_channels=GROUP_CHANNELS).to(x.device)
    package = Inv2d(channels, KERNEL_SIZE, 1, group_ch=GROUP_CHANNELS, red_ratio=4).to(x.device)
    layers = {"layer ours": partial(run_layer, ours, x), "layer package": partial(run_layer, package, contiguous)}
    return time_in_turn(layers, rounds=3)


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
    """Draws forward + backward at the largest size, a panel a batch: bars of milliseconds on a logarithmic axis."""
    image, batches = max(row["image"] for row in rows), sorted({row["batch"] for row in rows})
    figure = Figure(figsize=(3.7 * len(batches), 3.6), dpi=120, layout="constrained")
    names = ["ours", *others, "bound"]
    for axes, batch in zip(figure.subplots(1, len(batches), sharey=True, squeeze=False)[0], batches, strict=True):
        chosen = [row for row in rows if (row["image"], row["batch"]) == (image, batch)]
        for number, name in enumerate(names):
            places = [row["stage"] + (number - (len(names) - 1) / 2) * 0.8 / len(names) for row in chosen]
            heights = [1e3 * (row.get(f"both {name}") or 0) for row in chosen]
            axes.bar(places, heights, 0.8 / len(names), label="bound of the memory" if name == "bound" else name)
        axes.set(title=f"batch {batch}", xlabel=f"stage of RedNet-50 at {image} px", yscale="log", xticks=[1, 2, 3, 4])
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].set_ylabel("forward + backward, ms")
    figure.axes[0].legend()
    figure.suptitle(title, fontsize=9)
    return figure


def summary(rows: list[Row]) -> str:
    """Sums the four stages for each size and batch where both forms ran: a line each."""
    lines = []
    for image, batch in sorted({(row["image"], row["batch"]) for row in rows}):
        chosen = [row for row in rows if (row["image"], row["batch"]) == (image, batch)]
        if all("both unfold" in row for row in chosen):
            ratio = sum(row["both unfold"] for row in chosen) / sum(row["both ours"] for row in chosen)
            of = f"Forward + backward of the four stages at {image} px and batch {batch}, summed"
            lines.append(f"{of}: unfold / ours {ratio:.1f}.")
    return "\n".join(lines)


def parse(words: Sequence[str] | None, device: torch.device) -> argparse.Namespace:
    """Reads the command line; what is to be measured unasked but not installed is named and left out."""
    unasked = [name for name, (_, devices) in OTHERS.items() if device.type in devices]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.involution", description="Times the operator.")
    parser.add_argument("--sizes", nargs="+", type=int, default=[224, 352], help="heights of the images")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--types", nargs="+", choices=TYPES, default=TYPES[: 2 if device.type == "cuda" else 1])
    parser.add_argument(
        "--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="of what ours is given; the first is `ours`"
    )
    parser.add_argument("--against", nargs="*", choices=OTHERS, default=None, help=f"default: {' '.join(unasked)}")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of tables and pictures")
    options = parser.parse_args(words)
    needed = {name: OTHERS[name][0] for name in (unasked if options.against is None else options.against)}
    missing = {name: module for name, module in needed.items() if module and importlib.util.find_spec(module) is None}
    if missing and options.against is not None:
        parser.error(", ".join(f"{name} needs the package {module}" for name, module in missing.items()))
    for name, module in missing.items():
        print(f"without {name}: its package {module} is not installed", file=sys.stderr)
    options.against = [name for name in needed if name not in missing]
    return options


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the tables and pictures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = parse(words, device)
    for kind in options.types:
        rows = measure(device, getattr(torch, kind), options)
        names = {name.removeprefix("both "): None for row in rows for name in row if name.startswith("both ")}
        others = [name for name in names if name not in ("ours", "bound")]
        title = f"{describe_machine(device)}, {kind}, ours {options.layouts[0].replace('_', ' ')}"
        text = f"{title}\n\n{table_of(rows, others)}\n\n{summary(rows)}".rstrip() + "\n"
        print(text)
        options.out.mkdir(parents=True, exist_ok=True)
        name = f"involution_{device.type}" + ("" if kind == "float32" else f"_{kind}")
        (options.out / f"{name}.md").write_text(text)
        draw(rows, others, title).savefig(options.out / f"{name}.png")


if __name__ == "__main__":
    main()
