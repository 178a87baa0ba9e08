import itertools
import json
from pathlib import Path

import torch

from modeling_involvit import involution

from .involution_reference import (
    involution_by_unfold,
    random_inputs,
)


def peak_bytes(run, trace_path):
    """Highest sum of allocations during `run`, above what was allocated before, from the profiler's trace."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    profiler.export_chrome_trace(str(trace_path))
    events = json.loads(Path(trace_path).read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    return max(itertools.accumulate(change for _, change in changes))


def test_memory_is_a_small_multiple_of_the_input_not_of_the_unfolded_one(tmp_path):
    x, weight = random_inputs(1, 64, 32, 32, groups=1, kernel_size=7, dtype=torch.float32)
    input_bytes, kernel_bytes = x.numel() * 4, weight.numel() * 4
    unfolded_bytes = 49 * input_bytes

    def run(function):
        return lambda: torch.autograd.grad(function(x, weight, 1).sum(), (x, weight))

    peak = peak_bytes(run(involution), tmp_path / "involution.json")
    assert kernel_bytes < peak < kernel_bytes + 8 * input_bytes
    assert peak_bytes(run(involution_by_unfold), tmp_path / "unfold.json") > unfolded_bytes  # the measure sees it
