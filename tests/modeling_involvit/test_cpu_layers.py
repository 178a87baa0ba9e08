import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.layers import Conv2dSame, GroupNormAct
from torch import nn

from modeling_involvit import cpu_layers
from modeling_involvit.cpu_layers import MIN_NUMBERS, use_cpu_layers

pytestmark = pytest.mark.skipif(not cpu_layers.is_available(), reason="needs oneDNN on x86")


def packed_copy(layer):
    packed = copy.deepcopy(layer)
    use_cpu_layers(packed)
    return packed


LARGE, SMALL = (2, 16, 33, 40), (1, 16, 9, 9)  # above and below MIN_NUMBERS
LAYERS = {
    "linear": (lambda: nn.Linear(16, 24), [(2, 7, 16), (5, 16)]),
    "linear without bias": (lambda: nn.Linear(16, 24, bias=False), [(3, 16)]),
    "convolution": (lambda: nn.Conv2d(16, 24, 3, stride=2, padding=1), [LARGE, SMALL]),
    "1x1": (lambda: nn.Conv2d(16, 24, 1, bias=False), [LARGE, SMALL]),
    "groups": (lambda: nn.Conv2d(16, 24, 3, dilation=2, groups=4), [LARGE]),
    "same": (lambda: Conv2dSame(16, 24, 3, stride=2), [LARGE, (4, *LARGE[1:]), SMALL]),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_a_packed_layer_is_the_same_function(name, memory_format):
    make, shapes = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    packed, exact = packed_copy(layer), copy.deepcopy(layer).double()
    for shape in shapes:
        x = torch.randn(shape)
        x = x.contiguous(memory_format=memory_format) if x.ndim == 4 else x
        with torch.inference_mode():
            torch.testing.assert_close(packed(x), exact(x.double()).float(), rtol=1e-5, atol=1e-5)
        is_ordered = len(shape) < 4 or x.numel() > MIN_NUMBERS
        assert (packed.ordered_weight is not None) == is_ordered or shape == SMALL


@pytest.mark.parametrize("size", [1, 7, 20])
def test_group_normalisation_of_channels_last_maps_is_the_same_function(size):
    torch.manual_seed(0)
    layer = GroupNormAct(64, num_groups=32)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = (3 + 2 * torch.randn(3, 64, size, size)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = copy.deepcopy(layer).double()(x.double()).float()
        torch.testing.assert_close(packed_copy(layer)(x), expected, rtol=1e-4, atol=1e-4)
    gradient = torch.autograd.grad(packed_copy(layer)(x.requires_grad_()).sum(), x)
    assert torch.equal(gradient[0], torch.autograd.grad(layer(x).sum(), x)[0])


def test_with_gradients_in_half_precision_and_under_autocast_the_layer_itself_computes():
    packed = packed_copy(nn.Linear(4, 3))
    x = torch.randn(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(packed(x).sum(), x)
    torch.testing.assert_close(gradient, packed.weight.sum(dim=0).expand(2, 4))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert packed(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert packed.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert packed.ordered_weight is None


def test_a_copy_shares_nothing_that_was_ordered():
    packed = packed_copy(nn.Linear(4, 3))
    with torch.inference_mode():
        expected = packed(torch.ones(1, 4))
        copied = copy.deepcopy(packed)
        assert copied.ordered_weight is None
        assert torch.equal(copied(torch.ones(1, 4)), expected)


def test_linear_layers_and_convolutions_are_packed_and_keep_their_names():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), Conv2dSame(2, 2, 1))
    names = list(model.state_dict())
    use_cpu_layers(model)
    assert list(model.state_dict()) == names
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds == ["Sequential", "PackedConv2d", "Sequential", "ReLU", "PackedLinear", "PackedConv2dSame"]


@pytest.mark.parametrize("setting", [{"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "2"}, {"OMP_DYNAMIC": "true"}])
def test_where_openmp_gives_fewer_threads_than_torch_asks_for_the_answers_are_right(setting):
    script = """
import copy, torch
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, fold_for_inference
torch.manual_seed(0)
small = {"rednet_depths": (1, 1), "rednet_widths": (64, 128), "rednet_stem_channels": 32}
small |= {"vit_backbone_layers": (1, 1), "vit_backbone_channels": (128, 256), "vit_stem_channels": 32}
small |= {"vit_hidden_size": 96, "vit_num_layers": 2, "vit_num_heads": 3, "fusion_channels": 64}
model = InvolViTForImageClassification(InvolViTConfig(image_size=64, **small)).eval()
folded = copy.deepcopy(model)
fold_for_inference(folded)
with torch.no_grad():
    images = torch.randn(8, 3, 64, 64)
    torch.testing.assert_close(folded(images).logits, model(images).logits, rtol=1e-4, atol=1e-5)
"""
    environment = {**os.environ, **setting}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
