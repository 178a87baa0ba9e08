"""Side-by-side timing, memory and tables: what the benchmarks share."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def time_in_turn(functions: dict[str, Callable[[], Any]], rounds: int = 5, seconds: float = 0.05) -> dict[str, float]:
    """Times functions in alternation, A B C A B C ..., so that a machine whose speed drifts slows all alike.

    Args:
        functions: What to time, by name; each is called once before.
        rounds: How often each is timed.
        seconds: In a round a function is called again for as long as that.

    Returns:
        Median seconds of one call, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            calls, start = 0, _synchronized_time()
            while (elapsed := _synchronized_time() - start) < seconds or not calls:
                function()
                calls += 1
            times[name].append(elapsed / calls)
    return {name: statistics.median(values) for name, values in times.items()}


def _synchronized_time() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(function: Callable[..., None], *arguments: Any) -> float | None:
    """Returns by how many MiB a function raises the highest resident memory of a process of its own (Linux).

    Args:
        function: Called as `function(True, *arguments)` first, to load and compile on something small what it needs,
            then measured as `function(False, *arguments)`.
        *arguments: Further arguments, to be pickled.

    Returns:
        The MiB, or None where memory did not suffice.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_measure_memory, args=(queue, torch.get_num_threads(), function, *arguments))
    process.start()
    process.join()
    return None if process.exitcode else queue.get()


def _measure_memory(queue: Any, num_threads: int, function: Callable[..., None], *arguments: Any) -> None:
    torch.set_num_threads(num_threads)
    function(True, *arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the highest is now what there is
    before = _highest_resident_kib()
    function(False, *arguments)
    queue.put((_highest_resident_kib() - before) / 1024)


def _highest_resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory_bandwidth(device: torch.device) -> float:
    """Returns bytes a second, read and written, of copying half a GiB."""
    source = torch.ones(2**27, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / time_in_turn({"copy": lambda: target.copy_(source)})["copy"]


def describe_machine(device: torch.device) -> str:
    """Returns in one line what was measured on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "CPU")
    isa = torch.backends.cpu.get_cpu_capability()
    return f"{name} with {isa}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns a table in Markdown; a float has three significant digits, None is a dash."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
        return "-" if value is None else str(value)

    lines = [header, ["---"] * len(header), *([text(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
