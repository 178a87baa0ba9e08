"""How Numba was set up: several threads on the layer that allows one, which would abort, and no compiler at all."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import threading, torch
from modeling_involvit import involution
x, weight = torch.randn(1, 32, 24, 24), torch.randn(1, 2, 7, 7, 24, 24)
expected = involution(x, weight)
def call():
    for _ in range(300):
        assert torch.equal(involution(x, weight), expected)
threads = [threading.Thread(target=call) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
import numba
print(numba.threading_layer())
"""


def test_four_threads_compute_at_once_on_numbas_own_layer():
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    result = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "workqueue\n", "")


def test_without_numbas_compiler_the_operator_is_computed_otherwise():
    script = "import torch; from modeling_involvit import involution as f; print(f(torch.ones(1, 2, 3, 3), "
    script += "torch.ones(1, 1, 1, 1, 3, 3)).sum().item())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "18.0\n", "")
