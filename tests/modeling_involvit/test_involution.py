import importlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import modeling_involvit
from modeling_involvit import Involution2d, involution

from .involvit_reference import BACKENDS, MODULE, computed_by, involution_by_unfold, randomize

OPERATOR = torch.ops.modeling_involvit_involution.involution.default
OPERATOR_BACKWARD = torch.ops.modeling_involvit_involution.involution_backward.default


@pytest.fixture(params=["numba", "views"])
def backend(request):
    with computed_by(request.param):
        yield request.param


def random_inputs(batch, channels, height, width, groups, kernel_size, stride=1, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, height, width, dtype=dtype, generator=generator)
    size = -(-height // stride), -(-width // stride)
    weight = torch.randn(batch, groups, kernel_size, kernel_size, *size, dtype=dtype, generator=generator)
    return x.requires_grad_(), weight.requires_grad_()


def value_and_gradients(function, x, weight, stride=1):
    x, weight = (t.detach().requires_grad_() for t in (x, weight))
    out = function(x, weight, stride)
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape).to(out.dtype)
    return out.detach(), *torch.autograd.grad(out, (x, weight), cotangent)


def relative_error(value, reference):
    return ((value.double() - reference).abs().max() / reference.abs().max()).item()


def involution_by_loop(x, weight, stride):
    """Equation 1, one output value at a time."""
    (batch, channels, height, width), (_, groups, kernel_size, _, out_height, out_width) = x.shape, weight.shape
    padding = (kernel_size - 1) // 2
    out = np.zeros((batch, channels, out_height, out_width))
    for b, c, i, j in np.ndindex(out.shape):
        group = c // (channels // groups)
        for u, v in itertools.product(range(kernel_size), repeat=2):
            row, column = i * stride + u - padding, j * stride + v - padding
            if 0 <= row < height and 0 <= column < width:
                out[b, c, i, j] += weight[b, group, u, v, i, j] * x[b, c, row, column]
    return out


@pytest.mark.parametrize("size", [(6, 5), (5, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_forward_is_equation_1(backend, kernel_size, stride, size):
    x, weight = random_inputs(2, 4, *size, groups=2, kernel_size=kernel_size, stride=stride)
    expected = involution_by_loop(x.detach().numpy(), weight.detach().numpy(), stride)
    np.testing.assert_allclose(involution(x, weight, stride).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("size", [(4, 5), (3, 4)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_gradcheck(backend, kernel_size, stride, size, groups):
    inputs = random_inputs(1, 4, *size, groups=groups, kernel_size=kernel_size, stride=stride)
    fast = kernel_size > 3  # one random projection of the Jacobian in place of each of its thousands of columns
    assert torch.autograd.gradcheck(lambda x, weight: involution(x, weight, stride), inputs, fast_mode=fast)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradcheck_through_triton(stride):
    inputs = random_inputs(1, 4, 3, 4, groups=2, kernel_size=3, stride=stride)
    with computed_by("triton"):
        assert torch.autograd.gradcheck(lambda x, weight: involution(x, weight, stride), inputs, fast_mode=True)


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
    for path in Path(modeling_involvit.__file__).parent.glob("involution*.py"):
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


@pytest.mark.parametrize("backend", ["numba", "views"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 4),
    group_channels=st.sampled_from([1, 2, 3, 8, 16, 24]),
    height=st.integers(1, 22),
    width=st.integers(1, 22),
    kernel_size=st.sampled_from([1, 3, 5, 7, 9]),
    stride=st.integers(1, 4),
)
def test_values_and_gradients_are_those_of_the_unfolded_form(
    backend, batch, groups, group_channels, height, width, kernel_size, stride
):
    shape = (batch, groups * group_channels, height, width, groups, kernel_size, stride)
    x, weight = random_inputs(*shape)
    theirs = value_and_gradients(involution_by_unfold, x, weight, stride)
    with computed_by(backend):
        ours = value_and_gradients(involution, x, weight, stride)
        in_float32 = value_and_gradients(involution, x.float(), weight.float(), stride)
    for value, single, reference in zip(ours, in_float32, theirs, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-11, atol=1e-11)
        assert relative_error(single, reference) <= 1e-5


@pytest.mark.parametrize("weight_format", ["channels_last", "contiguous"])
@pytest.mark.parametrize("x_format", ["channels_last", "contiguous"])
def test_results_have_the_memory_format_of_the_input_they_belong_to(backend, x_format, weight_format):
    x, weight = (t.detach() for t in random_inputs(2, 6, 8, 7, groups=3, kernel_size=3, stride=2))
    if x_format == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    if weight_format == "channels_last":
        weight = weight.movedim((4, 5), (1, 2)).contiguous().movedim((1, 2), (4, 5))
    x, weight = x.requires_grad_(), weight.requires_grad_()
    out = involution(x, weight, 2)
    grad_x, grad_weight = torch.autograd.grad(out.square().sum(), (x, weight))
    assert out.is_contiguous(memory_format=getattr(torch, x_format.replace("contiguous", "contiguous_format")))
    assert (grad_x.stride(), grad_weight.stride()) == (x.stride(), weight.stride())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-2)], ids=str
)
@pytest.mark.parametrize("stride", [1, 2])
def test_lower_precisions_are_close_to_float64(backend, dtype, tolerance, stride):
    x, weight = random_inputs(2, 32, 17, 16, groups=2, kernel_size=7, stride=stride)
    ours = value_and_gradients(involution, x.to(dtype), weight.to(dtype), stride)
    reference = value_and_gradients(involution_by_unfold, x, weight, stride)
    for value, exact in zip(ours, reference, strict=True):
        assert value.dtype == dtype
        assert relative_error(value, exact) <= tolerance


def test_half_precision_sums_do_not_overflow(backend):
    x = torch.full((1, 1, 3, 3), 60000.0, dtype=torch.float16)
    weight = torch.ones(1, 1, 3, 3, 3, 3, dtype=torch.float16)
    weight[:, :, 1:] = -1  # 60000 * (3 - 3 - 3) passes the largest float16 on its way to a sum of zero at the border
    weight[:, :, 2] = 0
    assert involution(x, weight)[0, 0, 1, 1] == 0


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded"])
def test_any_memory_layout_is_right(backend, layout):
    x, weight = (t.detach() for t in random_inputs(2, 6, 8, 8, groups=3, kernel_size=3))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
        weight = weight.movedim((1, 2, 3), (3, 4, 5)).contiguous().movedim((3, 4, 5), (1, 2, 3))
    elif layout == "transposed":
        x, weight = x.transpose(2, 3), weight.transpose(4, 5)
    elif layout == "sliced":
        x = torch.stack([x, x], dim=4)[..., 0]
        weight = torch.stack([weight, weight], dim=6)[..., 0]
    else:
        x, weight = x[:1].expand_as(x), weight[..., :1, :1].expand_as(weight)
    assert not (x.is_contiguous() or weight.is_contiguous())
    ours = value_and_gradients(involution, x, weight)
    reference = value_and_gradients(involution, x.contiguous(), weight.contiguous())
    for value, exact in zip(ours, reference, strict=True):
        torch.testing.assert_close(value, exact, rtol=0, atol=0)


def test_the_gradient_of_a_sum_arrives_expanded(backend):
    x, weight = random_inputs(2, 4, 5, 5, groups=2, kernel_size=3)
    ours = torch.autograd.grad(involution(x, weight).sum(), (x, weight))
    reference = torch.autograd.grad(involution_by_unfold(x, weight).sum(), (x, weight))
    for value, exact in zip(ours, reference, strict=True):
        torch.testing.assert_close(value, exact)


def test_an_empty_batch_gives_an_empty_output(backend):
    x, weight = random_inputs(0, 4, 6, 6, groups=2, kernel_size=3, stride=2)
    out = involution(x, weight, 2)
    out.sum().backward()
    assert out.shape == (0, 4, 3, 3)
    assert (x.grad.shape, weight.grad.shape) == (x.shape, weight.shape)


@pytest.mark.parametrize(
    ("x", "weight", "stride", "complaint"),
    [
        ((4, 5, 5), (1, 2, 3, 3, 5, 5), 1, r"x \[B, C, H, W\]"),
        ((1, 4, 5, 5), (2, 3, 3, 5, 5), 1, r"weight \[B, G, K, K, h, w\]"),
        ((1, 4, 5, 5), (1, 3, 3, 3, 5, 5), 1, r"channels \(4\) divisible by groups \(3\)"),
        ((1, 4, 5, 5), (1, 0, 3, 3, 5, 5), 1, r"groups \(0\)"),
        ((1, 4, 5, 5), (1, 2, 4, 4, 5, 5), 1, "odd kernel_size, not 4"),
        ((1, 4, 5, 5), (1, 2, 3, 5, 5, 5), 1, r"weight \[1, 2, 3, 3, 5, 5\]"),
        ((1, 4, 5, 5), (1, 2, 3, 3, 5, 6), 1, r"weight \[1, 2, 3, 3, 5, 5\]"),
        ((1, 4, 5, 5), (1, 2, 3, 3, 2, 2), 2, r"weight \[1, 2, 3, 3, 3, 3\]"),
        ((2, 4, 5, 5), (1, 2, 3, 3, 5, 5), 1, r"weight \[2, 2, 3, 3, 5, 5\]"),
        ((1, 4, 5, 5), (1, 2, 3, 3, 5, 5), 0, "stride of at least 1"),
        ((1, 4, 5, 5), (1, 2, 3, 3, 5, 5), -1, "stride of at least 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_their_shapes(x, weight, stride, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        involution(torch.zeros(x), torch.zeros(weight), stride)
    for stated in (str(list(x)), str(list(weight)), f"stride {stride}"):
        assert stated in str(error.value)


@pytest.mark.parametrize("types", [(torch.float32, torch.float64), (torch.int64, torch.int64)], ids=str)
def test_types_that_do_not_fit_are_refused(types):
    x, weight = torch.zeros(1, 4, 5, 5).to(types[0]), torch.zeros(1, 2, 3, 3, 5, 5).to(types[1])
    with pytest.raises(ValueError, match=f"{types[0]}.*{types[1]}.*1, 4, 5, 5.*1, 2, 3, 3, 5, 5"):
        involution(x, weight)


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


def test_the_meta_device_gives_shapes():
    with torch.device("meta"):
        assert Involution2d(16, 3, stride=2)(torch.empty(2, 16, 7, 8)).shape == (2, 16, 4, 4)


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


def test_exports_as_one_node_with_a_free_batch_size():
    layer = randomize(Involution2d(8, 3, stride=2, group_channels=4)).eval()
    x = torch.randn(2, 8, 9, 9)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert [node.target for node in program.graph.nodes].count(OPERATOR) == 1
    other = torch.randn(5, 8, 9, 9)
    torch.testing.assert_close(program.module()(other), layer(other))


def test_two_copies_of_the_files_work_side_by_side(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    copies = []
    for name in ("repository_a", "repository_b"):
        (tmp_path / name).mkdir()
        for path in Path(modeling_involvit.__file__).parent.glob("involution*.py"):
            shutil.copy(path, tmp_path / name)
        copies.append(importlib.import_module(f"{name}.involution").involution)
    inputs = random_inputs(1, 4, 5, 5, groups=2, kernel_size=3)
    reference = value_and_gradients(involution, *inputs)
    for copy in copies:
        for value, exact in zip(value_and_gradients(copy, *inputs), reference, strict=True):
            torch.testing.assert_close(value, exact, rtol=0, atol=0)


def layer_by_equations(layer, x):
    """Equations 2 and 3 with the layer's tensors: pool, reduce, normalise, ReLU, span, then equation 1."""
    tensors, stride = layer.state_dict(), layer.stride
    height, width = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    pooled = torch.stack(
        [
            x[:, :, i * stride : (i + 1) * stride, j * stride : (j + 1) * stride].mean(dim=(2, 3))
            for i, j in itertools.product(range(height), range(width))
        ],
        dim=2,
    ).unflatten(2, (height, width))
    hidden = torch.einsum("oc,bchw->bohw", tensors["conv1.conv.weight"][:, :, 0, 0], pooled)
    mean, variance, scale, shift = (
        tensors[f"conv1.bn.{name}"][None, :, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    hidden = ((hidden - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)
    kernels = torch.einsum("oc,bchw->bohw", tensors["conv2.conv.weight"][:, :, 0, 0], hidden)
    kernels = kernels + tensors["conv2.conv.bias"][:, None, None]
    groups = x.shape[1] // GROUP_CHANNELS
    kernels = kernels.view(x.shape[0], groups, layer.kernel_size, layer.kernel_size, height, width)
    return involution_by_unfold(x, kernels, stride)


GROUP_CHANNELS = 4


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_layer_is_equations_2_and_3(stride, size):
    layer = randomize(Involution2d(8, 5, stride, group_channels=GROUP_CHANNELS, reduction_ratio=2)).double().eval()
    x = torch.randn(2, 8, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x), layer_by_equations(layer, x))


def test_the_layer_has_the_parameters_of_its_two_convolutions_and_its_norm():
    layer = Involution2d(64, 7)  # 16 channels a group, reduction by 4
    reduce, span = 64 * 16, (16 + 1) * 49 * 4
    assert sum(p.numel() for p in layer.parameters()) == reduce + 2 * 16 + span
    assert isinstance(layer.conv1.bn, nn.BatchNorm2d)


def test_the_layer_trains_every_parameter():
    layer = Involution2d(16, 3, stride=2, group_channels=8)
    F.mse_loss(layer(torch.randn(2, 16, 7, 7)), torch.zeros(2, 16, 4, 4)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"channels": 24, "kernel_size": 7}, "channels 24, group_channels 16"),
        ({"channels": 16, "kernel_size": 7, "reduction_ratio": 3}, "channels 16.*reduction_ratio 3"),
        ({"channels": 16, "kernel_size": 4}, "odd kernel_size, got 4"),
    ],
)
def test_the_layer_refuses_channels_and_kernels_that_do_not_fit(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        Involution2d(**arguments)
