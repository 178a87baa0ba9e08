"""The operator's values and gradients against equation 1 and the unfolded form."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_involvit import involution

from .involution_reference import (
    computed_by,
    involution_by_unfold,
    random_inputs,
    relative_error,
    value_and_gradients,
)


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


@pytest.mark.gpu
@pytest.mark.parametrize("stride", [1, 2])
def test_gradcheck_through_triton(stride, one_tile):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = random_inputs(1, 4, 3, 4, groups=2, kernel_size=3, stride=stride)
    inputs = [tensor.detach().to(device).requires_grad_() for tensor in inputs]
    with computed_by("triton"):
        assert torch.autograd.gradcheck(lambda x, weight: involution(x, weight, stride), inputs, fast_mode=True)


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
        torch.testing.assert_close(value, exact, rtol=1e-12, atol=1e-12)


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
