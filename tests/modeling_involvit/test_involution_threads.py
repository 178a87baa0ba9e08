"""The threads that compute the operator on the CPU, and no compiler at all."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from modeling_involvit import involution, numba_kernels

from .involution_reference import random_inputs, value_and_gradients

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not numba_kernels.is_available(), reason="compiles with Numba")
@pytest.mark.parametrize("has_gomp", [True, False], ids=["gomp", "none"])
def test_four_threads_compute_at_once_with_and_without_gnu_openmp(monkeypatch, has_gomp):
    x, weight = random_inputs(1, 32, 24, 24, groups=2, kernel_size=7, dtype=torch.float32)
    expected, failed = value_and_gradients(involution, x, weight), []
    if not has_gomp:
        monkeypatch.setattr(numba_kernels, "_GOMP_PARALLEL", None)

    def compute():
        for _ in range(30):
            results = value_and_gradients(involution, x, weight)
            failed.extend(not torch.equal(*pair) for pair in zip(results, expected, strict=True))

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [False] * (4 * 30 * 3)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other OpenMPs")
def test_on_linux_the_kernels_run_on_torchs_own_threads():
    script = "import os, torch; torch.set_num_threads(2); from modeling_involvit import involution as f; "
    script += "x = torch.ones(1, 16, 99, 99); x * x; before = len(os.listdir('/proc/self/task')); "
    script += "f(x, torch.ones(1, 1, 3, 3, 99, 99)); print(len(os.listdir('/proc/self/task')) - before)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_without_numbas_compiler_the_operator_is_computed_otherwise():
    script = "import torch; from modeling_involvit import involution as f; print(f(torch.ones(1, 2, 3, 3), "
    script += "torch.ones(1, 1, 1, 1, 3, 3)).sum().item())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "18.0\n", "")
