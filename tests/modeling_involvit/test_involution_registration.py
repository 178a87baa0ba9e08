"""The operator as PyTorch sees it: autocast, FLOP counters, compilation."""

import importlib
import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import modeling_involvit
from modeling_involvit import involution

from .involution_reference import (
    involution_by_unfold,
    random_inputs,
    relative_error,
    value_and_gradients,
)

OPERATOR = torch.ops.modeling_involvit_involution.involution.default
OPERATOR_BACKWARD = torch.ops.modeling_involvit_involution.involution_backward.default


def test_autocast_casts_calls_of_the_bare_operator_too():
    x, weight = random_inputs(1, 4, 5, 5, groups=2, kernel_size=3, dtype=torch.float32)
    with torch.autocast("cpu", torch.float16):
        assert OPERATOR(x, weight.double(), 1).dtype == torch.float16
    assert OPERATOR(x, weight, 1).dtype == torch.float32


def test_autocast_computes_in_its_type_and_returns_gradients_in_the_parameters():
    x, weight = random_inputs(1, 4, 5, 5, groups=2, kernel_size=3, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = involution(x, weight)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert x.grad.dtype == weight.grad.dtype == torch.float32
    assert relative_error(out, involution_by_unfold(x, weight).double()) < 2e-2


@pytest.mark.parametrize("stride", [1, 2])
def test_the_registration_holds_what_the_dispatcher_asks_of_it(backend, stride):
    x, weight = random_inputs(2, 4, 5, 6, groups=2, kernel_size=3, stride=stride)
    torch.library.opcheck(OPERATOR, (x, weight, stride))
    grad = torch.ones(2, 4, *weight.shape[4:], dtype=x.dtype)
    torch.library.opcheck(OPERATOR_BACKWARD, (grad, x.detach(), weight.detach(), stride))


@pytest.mark.parametrize("stride", [1, 2])
def test_flop_counters_see_the_multiplications_and_additions(stride):
    x, weight = random_inputs(2, 8, 6, 7, groups=2, kernel_size=5, stride=stride)
    with FlopCounterMode(display=False) as counter:
        out = involution(x, weight, stride)
    forward = 2 * 5 * 5 * out.numel()
    assert counter.get_total_flops() == forward
    with FlopCounterMode(display=False) as counter:
        involution(x, weight, stride).sum().backward()
    assert counter.get_total_flops() == 3 * forward  # backward: as much again for each of the two inputs


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_to_one_graph_forward_and_backward(backend):
    def function(x, weight):
        return involution(x.relu(), weight * 2, 2).square()

    x, weight = random_inputs(2, 4, 7, 6, groups=2, kernel_size=3, stride=2)
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    ours = torch.autograd.grad(compiled(x, weight).sum(), (x, weight))
    reference = torch.autograd.grad(function(x, weight).sum(), (x, weight))
    torch.testing.assert_close(compiled(x, weight), function(x, weight))
    for value, exact in zip(ours, reference, strict=True):
        torch.testing.assert_close(value, exact)


def test_one_compiled_graph_serves_all_sizes():
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(involution, fullgraph=True, backend=backend, dynamic=True)
    for batch, size in ((5, 11), (6, 16), (7, 13)):
        x, weight = random_inputs(batch, 4, size, size, groups=2, kernel_size=3, stride=2)
        torch.testing.assert_close(compiled(x, weight, 2), involution_by_unfold(x, weight, 2))
    assert len(graphs) == 1
    assert [node.target for node in graphs[0].graph.nodes if node.op == "call_function"] == [OPERATOR]


@pytest.mark.parametrize("names", [("repository_a", "repository_b"), ("modèle", "modéle"), ("笑い", "my faces (1)")])
def test_two_copies_of_the_files_work_side_by_side_whatever_their_folders_are_called(names, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    copies = []
    for name in names:
        (tmp_path / name).mkdir()
        for path in Path(modeling_involvit.__file__).parent.glob("[!_]*.py"):
            shutil.copy(path, tmp_path / name)
        copies.append(importlib.import_module(f"{name}.involution").involution)
    inputs = random_inputs(1, 4, 5, 5, groups=2, kernel_size=3)
    reference = value_and_gradients(involution, *inputs)
    for copy in copies:
        for value, exact in zip(value_and_gradients(copy, *inputs), reference, strict=True):
            torch.testing.assert_close(value, exact, rtol=0, atol=0)
