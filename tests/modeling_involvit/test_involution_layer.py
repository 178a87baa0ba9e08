"""The layer, which generates the operator's kernels from its input."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling_involvit import Involution2d

from .involution_reference import involution_by_unfold
from .involvit_reference import randomize

GROUP_CHANNELS = 4


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


def test_the_meta_device_gives_shapes():
    with torch.device("meta"):
        assert Involution2d(16, 3, stride=2)(torch.empty(2, 16, 7, 8)).shape == (2, 16, 4, 4)
