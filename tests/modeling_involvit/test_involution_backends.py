"""Which code computes the operator, and on how many threads."""

import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch

import modeling_involvit
from modeling_involvit import involution

from .involution_reference import BACKENDS, MODULE, random_inputs, value_and_gradients


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "numba"), ("cuda", "triton"), ("meta", "views")], ids=lambda value: value
)
def test_the_fastest_backend_that_is_installed_is_chosen(monkeypatch, device, expected):
    x = mock.Mock(device=torch.device(device))
    assert MODULE._backend_for(x) == BACKENDS[expected]
    monkeypatch.setattr(MODULE, "numba_is_available", lambda: False)
    monkeypatch.setattr(MODULE, "triton_is_available", lambda: False)
    assert MODULE._backend_for(x) == BACKENDS["views"]


def test_the_files_work_where_neither_numba_nor_triton_is_installed(tmp_path):
    (tmp_path / "repository").mkdir()
    for path in Path(modeling_involvit.__file__).parent.glob("[!_]*.py"):
        shutil.copy(path, tmp_path / "repository")
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['numba', 'llvmlite', 'triton', 'triton.language'])); "
        "import torch; from repository.involution import Involution2d; "
        "layer = Involution2d(16, 3); layer(torch.randn(1, 16, 5, 5)).sum().backward(); "
        "print(layer.conv1.conv.weight.grad.abs().sum() > 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.strip() == "tensor(True)", result.stderr


def test_torch_keeps_its_number_of_threads_and_any_number_gives_the_same_bits():
    x, weight = random_inputs(2, 16, 9, 9, groups=1, kernel_size=7)
    before, results = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            results.append(value_and_gradients(involution, x, weight))
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)
