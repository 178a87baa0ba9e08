"""The kernels on the GPU by `make test-gpu`, else on the CPU through Triton's interpreter (see tests/conftest.py)."""

import inspect
import itertools
import runpy
import sys

import pytest
import torch
import torch.nn.functional as F

from modeling_involvit import involution_triton

from .involution_reference import TRITON_KERNELS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not involution_triton.is_available(), reason="needs Triton"),
    pytest.mark.usefixtures("one_tile"),
]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-2}


def by_equation_1(x, weight, stride):
    """The sum over u, v, each term a strided slice of the padded input; autograd gives the gradients."""
    groups, kernel_size, _, height, width = weight.shape[1:]
    padded = F.pad(x, [(kernel_size - 1) // 2] * 4)
    of_channel = torch.arange(x.shape[1]) // (x.shape[1] // groups)
    return sum(
        weight[:, of_channel, u, v]
        * padded[:, :, u : u + stride * (height - 1) + 1 : stride, v : v + stride * (width - 1) + 1 : stride]
        for u, v in itertools.product(range(kernel_size), repeat=2)
    )


def random_inputs(batch, channels, height, width, groups, kernel_size, stride, dtype):
    """Returns grad, x and weight, drawn on the CPU."""
    generator = torch.Generator().manual_seed(0)
    size = -(-height // stride), -(-width // stride)
    shapes = (
        (batch, channels, *size),
        (batch, channels, height, width),
        (batch, groups, kernel_size, kernel_size, *size),
    )
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in shapes]


def channels_last(tensor):
    return tensor.flatten(1, -3).contiguous(memory_format=torch.channels_last).unflatten(1, tensor.shape[1:-2])


def check(grad, x, weight, stride):
    """Compares the values and both gradients with those of the float64 reference."""
    exact_x, exact_weight = (t.double().cpu().requires_grad_() for t in (x, weight))
    exact = by_equation_1(exact_x, exact_weight, stride)
    exact_gradients = torch.autograd.grad(exact, (exact_x, exact_weight), grad.double().cpu())
    out = involution_triton.forward(x, weight, stride)
    gradients = involution_triton.backward(grad, x, weight, stride)
    for value, reference in zip((out, *gradients), (exact.detach(), *exact_gradients), strict=True):
        assert (value.dtype, value.shape) == (x.dtype, reference.shape)
        error = (value.double().cpu() - reference).abs().max() / reference.abs().max()
        assert error <= TOLERANCES[x.dtype]
    return out, *gradients


# Tiles that end inside and outside of the image, windows larger than it, strides that divide its size or do not.
SHAPES = {  # batch, channels, height, width, groups, kernel size, stride
    "K 1": (2, 4, 5, 6, 2, 1, 1),
    "K 3": (2, 6, 9, 8, 2, 3, 1),
    "K 5": (1, 4, 7, 10, 2, 5, 1),
    "K 7": (1, 4, 8, 9, 2, 7, 1),
    "K 9": (1, 2, 7, 8, 1, 9, 1),
    "K 3, stride 2": (2, 4, 10, 9, 2, 3, 2),
    "K 7, stride 2": (1, 4, 13, 12, 2, 7, 2),
    "K 5, stride 3": (1, 4, 10, 8, 2, 5, 3),
    "K 3, stride 4": (1, 4, 10, 9, 2, 3, 4),
    "1 channel a group": (2, 3, 6, 5, 3, 3, 1),
    "3 channels a group": (2, 6, 6, 5, 2, 3, 2),
    "16 channels a group": (1, 32, 6, 5, 2, 3, 1),
    "24 channels a group": (1, 48, 5, 6, 2, 3, 2),
    "70 channels a group": (1, 70, 5, 5, 1, 3, 1),
    "one pixel": (2, 4, 1, 1, 2, 3, 1),
    "one row": (2, 4, 1, 9, 2, 3, 2),
    "one column": (2, 4, 9, 1, 2, 3, 1),
}


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_values_and_gradients_are_those_of_equation_1(shape, layout):
    grad, x, weight = (layout(t).to(DEVICE) for t in random_inputs(*shape, torch.float32))
    out, grad_x, grad_weight = check(grad, x, weight, shape[-1])
    for value, like in ((out, grad), (grad_x, x), (grad_weight, weight)):
        sizes_strides = zip(like.shape, value.stride(), like.stride(), strict=True)
        assert all(ours == theirs for size, ours, theirs in sizes_strides if size > 1)


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_every_type(dtype, stride, layout):
    grad, x, weight = (layout(t).to(DEVICE) for t in random_inputs(1, 32, 7, 6, 2, 5, stride, dtype))
    check(grad, x, weight, stride)


def test_half_precision_sums_do_not_overflow():
    x = torch.full((1, 1, 1, 3), 60000.0, dtype=torch.float16, device=DEVICE)
    weight = torch.zeros(1, 1, 3, 3, 1, 3, dtype=torch.float16, device=DEVICE)
    weight[0, 0, 1, :, 0, 1] = torch.tensor([1, 1, -1])  # passes the largest float16 on its way
    assert involution_triton.forward(x, weight, 1).tolist() == [[[[0, 60000, 0]]]]


@pytest.mark.parametrize("layouts", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)], ids=str)
def test_layouts_may_differ_between_the_tensors(layouts):
    tensors = random_inputs(1, 6, 7, 8, 2, 3, 2, torch.float32)
    grad, x, weight = (channels_last(t) if last else t for t, last in zip(tensors, layouts, strict=True))
    check(grad.to(DEVICE), x.to(DEVICE), weight.to(DEVICE), 2)


@pytest.mark.parametrize("layout", ["expanded", "transposed", "sliced", "shifted"])
def test_strides_of_every_kind(layout):
    tensors = [t.to(DEVICE) for t in random_inputs(2, 4, 6, 6, 2, 3, 1, torch.float32)]
    change = {
        "expanded": lambda t: t[:1, ..., :1, :1].expand_as(t),
        "transposed": lambda t: t.transpose(-1, -2),
        "sliced": lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
        "shifted": lambda t: F.pad(t, (1, 1))[..., 1:-1],  # not aligned, rows apart
    }[layout]
    tensors = [change(t) for t in tensors]
    assert not any(t.is_contiguous() for t in tensors)
    check(*tensors, 1)


def test_a_gradient_expanded_from_one_value():
    grad, x, weight = (t.to(DEVICE) for t in random_inputs(2, 4, 5, 6, 2, 3, 1, torch.float32))
    check(grad[:1, :1, :1, :1].expand_as(grad), x, weight, 1)


def test_an_empty_batch_gives_empty_tensors():
    grad, x, weight = (t.to(DEVICE) for t in random_inputs(0, 4, 6, 6, 2, 3, 2, torch.float32))
    assert involution_triton.forward(x, weight, 2).shape == grad.shape
    grad_x, grad_weight = involution_triton.backward(grad, x, weight, 2)
    assert (grad_x.shape, grad_weight.shape) == (x.shape, weight.shape)


def test_every_value_is_written_and_no_other(monkeypatch):
    """The outputs lie in poisoned memory, between rows that must stay as they are."""
    outputs = []

    def poisoned(like, *shape):
        buffer = torch.full((shape[0] + 2, *shape[1:]), float("nan"), device=like.device, dtype=like.dtype)
        outputs.append(buffer)
        return buffer[1:-1]

    monkeypatch.setattr(involution_triton, "_empty_like", poisoned)
    for stride in (1, 2, 3):
        check(*(t.to(DEVICE) for t in random_inputs(1, 6, 7, 5, 2, 3, stride, torch.float32)), stride)
    assert len(outputs) == 9
    assert all(buffer[[0, -1]].isnan().all() and not buffer[1:-1].isnan().any() for buffer in outputs)


def test_the_values_of_two_runs_are_the_same():
    grad, x, weight = (t.to(DEVICE) for t in random_inputs(2, 32, 6, 7, 2, 3, 1, torch.float32))
    runs = [
        (involution_triton.forward(x, weight, 1), *involution_triton.backward(grad, x, weight, 1)) for _ in range(2)
    ]
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_every_tile_gives_the_same_values(monkeypatch):
    """The tuner may choose any of them; here each runs, whatever it costs."""
    tensors = [t.to(DEVICE) for t in random_inputs(1, 32, 9, 10, 2, 3, 1, torch.float32)]
    for config, layout in itertools.product(involution_triton._CONFIGS, (torch.Tensor.contiguous, channels_last)):
        for kernel in TRITON_KERNELS:
            monkeypatch.setattr(kernel, "configs", [config])
        check(*map(layout, tensors), 1)


def tuned_for(monkeypatch, kernel, *shape, layout=torch.Tensor.contiguous):
    """What the tuner is told of tensors of a shape: the arguments of its key, by name."""
    told = []

    class Launched:
        def __getitem__(self, grid):
            return lambda *args, **constants: told.append({**dict(zip(kernel.arg_names, args)), **constants})  # noqa: B905

    _, x, weight = (layout(t) for t in random_inputs(*shape, torch.float32))
    monkeypatch.setattr(involution_triton, "_forward_kernel", Launched())
    involution_triton.forward(x, weight, shape[-1])
    return [told[0][name] for name in kernel.keys]


def test_the_smaller_last_batch_of_an_epoch_is_not_tuned_for(monkeypatch):
    kernel = involution_triton._forward_kernel
    full = tuned_for(monkeypatch, kernel, 64, 32, 8, 8, 2, 3, 1)
    assert all(tuned_for(monkeypatch, kernel, batch, 32, 8, 8, 2, 3, 1) == full for batch in (1, 7, 33))
    assert tuned_for(monkeypatch, kernel, 64, 32, 16, 16, 2, 3, 1) != full
    assert tuned_for(monkeypatch, kernel, 64, 32, 8, 8, 2, 3, 1, layout=channels_last) != full


@pytest.mark.parametrize("far", [0, 1, 2], ids=["grad", "x", "weight"])
def test_offsets_past_31_bits(far):
    tensors = [t.to(DEVICE) for t in random_inputs(3, 2, 3, 4, 1, 3, 1, torch.float16)]
    # On the CPU only the pages that are written take memory.
    buffer = torch.empty(2**31 + 1000, dtype=torch.float16, device=DEVICE)
    strides = (2**30, *tensors[far].stride()[1:])
    tensors[far] = buffer.as_strided(tensors[far].shape, strides).copy_(tensors[far])
    check(*tensors, 1)


def test_the_module_is_importable_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)  # importing it fails
    module = runpy.run_path(inspect.getfile(involution_triton))
    assert not module["is_available"]()
