"""The kernels as they are compiled for processors with vector registers of other lengths."""

import importlib
import shutil
from pathlib import Path
from unittest import mock

import pytest
import torch

import modeling_involvit
from modeling_involvit import numba_kernels

from .involution_reference import involution_by_unfold

TILES = (("+avx512f", 64), ("+avx2", 32), ("+neon", 16))

pytestmark = pytest.mark.skipif(not numba_kernels.is_available(), reason="compiles with Numba")


@pytest.mark.parametrize(
    ("features", "length"), [("+avx2,+avx512f", 64), ("+avx2,-avx512f,+fma", 32), ("+neon", 16), ("", 16)]
)
def test_the_length_of_registers_follows_from_what_numba_compiles_for(monkeypatch, features, length):
    monkeypatch.setattr(numba_kernels.numba.config, "CPU_FEATURES", features)
    assert numba_kernels.register_bytes() == length


@pytest.mark.parametrize("features", [name for name, length in TILES if length != numba_kernels.REGISTER_BYTES])
def test_the_tile_of_other_processors_computes_the_operator(tmp_path, monkeypatch, features):
    """LLVM cuts vectors up that are longer than this processor's; its own tile is that of all other tests."""
    package = f"tile_{features[1:]}"  # of its own, or it would share compiled code with the installed one
    shutil.copytree(Path(modeling_involvit.__file__).parent, tmp_path / package)
    (tmp_path / package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with mock.patch.object(numba_kernels.numba.config, "CPU_FEATURES", features):
        tile = importlib.import_module(f"{package}.involution_numba")
        sizes = importlib.import_module(f"{package}.involution_channels_last")
    assert dict(TILES)[features] == sizes.REGISTER_BYTES
    assert (2 if features == "+neon" else 4) == sizes.PIXELS
    generator = torch.Generator().manual_seed(0)
    for channels, size, kernel_size, stride in ((32, 13, 7, 1), (24, 10, 3, 2)):
        length = -(-size // stride)
        x = torch.randn(2, channels, size, size, generator=generator)
        weight = torch.randn(2, 2, kernel_size, kernel_size, length, length, generator=generator)
        grad = torch.randn(2, channels, length, length, generator=generator)
        x64, weight64 = (tensor.double().requires_grad_() for tensor in (x, weight))
        expected = involution_by_unfold(x64, weight64, stride)
        torch.testing.assert_close(tile.forward(x, weight, stride).double(), expected, rtol=1e-5, atol=1e-4)
        gradients = torch.autograd.grad(expected, (x64, weight64), grad.double())
        for ours, reference in zip(tile.backward(grad, x, weight, stride), gradients, strict=True):
            torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=1e-4)
