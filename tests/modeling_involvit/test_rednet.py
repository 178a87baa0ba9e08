import copy
import hashlib
import sys
from functools import partial
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from ptflops import get_model_complexity_info
from torch import nn
from torch.utils.checkpoint import checkpoint

from modeling_involvit import (
    REDNET_DEPTHS,
    Involution2d,
    RedNet,
    involution,
)

from .involution_reference import computed_by, involution_by_unfold
from .involvit_reference import randomize

PUBLISHED = {  # parameters in millions with a 1000-way head, multiply-adds at 224 px in billions
    26: (9.23, 1.73),
    38: (12.39, 2.22),
    50: (15.54, 2.71),
    101: (25.65, 4.74),
    152: (33.99, 6.79),
}


def small_rednet(**changes):
    return RedNet(**{"depths": (2, 1), "widths": (64, 128), "stem_channels": 32, **changes})


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    with torch.device("meta"):
        rednet = RedNet(REDNET_DEPTHS[name], num_classes=1000)
    count = sum(p.numel() for p in rednet.parameters())
    assert count / 1e6 == pytest.approx(PUBLISHED[name][0], abs=0.01)


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_are_the_published_ones(name):
    """The rule of the published figures, that of mmcv and ptflops: one for each multiply-add, bias, and value of a ReLU
    or residual sum, two for each value of a BatchNorm, one for each value that a pooling reads.

    ptflops sees all but two: the involution operator (K * K multiply-adds a value) and the sum written as `+`.
    """
    with torch.device("meta"):  # shapes only: as exact, and no arithmetic
        rednet = RedNet(REDNET_DEPTHS[name], num_classes=1000)
    unseen = []
    for module in rednet.modules():
        if isinstance(module, Involution2d):
            module.register_forward_hook(lambda m, _, out: unseen.append(m.kernel_size**2 * out.numel()))
        elif type(module).__name__ == "Bottleneck":
            module.register_forward_hook(lambda m, _, out: unseen.append(out.numel()))
    seen, _ = get_model_complexity_info(
        rednet, (3, 224, 224), backend="pytorch", as_strings=False, print_per_layer_stat=False, verbose=False
    )
    assert len(unseen) == 1 + 2 * sum(REDNET_DEPTHS[name])
    assert (seen + sum(unseen)) / 1e9 == pytest.approx(PUBLISHED[name][1], rel=0.01)


def published_tensors(depths):
    """Names and shapes of a reference checkpoint without its head, in its order."""
    tensors = {}

    def norm(name, channels):
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.{tensor}"] = (channels,)
        tensors[f"{name}.num_batches_tracked"] = ()

    def conv(name, out_channels, in_channels, kernel_size=1):
        tensors[f"{name}.weight"] = (out_channels, in_channels, kernel_size, kernel_size)

    def involution(name, channels, kernel_size):
        conv(f"{name}.conv1.conv", channels // 4, channels)
        norm(f"{name}.conv1.bn", channels // 4)
        conv(f"{name}.conv2.conv", kernel_size**2 * channels // 16, channels // 4)
        tensors[f"{name}.conv2.conv.bias"] = (kernel_size**2 * channels // 16,)

    conv("stem.0.conv", 32, 3, 3)
    norm("stem.0.bn", 32)
    involution("stem.1", 32, 3)
    norm("stem.2", 32)
    conv("stem.4.conv", 64, 32, 3)
    norm("stem.4.bn", 64)
    in_channels = 64
    for stage, depth in enumerate(depths):
        channels = 64 * 2**stage
        for index in range(depth):
            block = f"layer{stage + 1}.{index}"
            conv(f"{block}.conv1", channels, in_channels)
            norm(f"{block}.bn1", channels)
            involution(f"{block}.conv2", channels, 7)
            norm(f"{block}.bn2", channels)
            conv(f"{block}.conv3", 4 * channels, channels)
            norm(f"{block}.bn3", 4 * channels)
            if index == 0:
                conv(f"{block}.downsample.0", 4 * channels, in_channels)
                norm(f"{block}.downsample.1", 4 * channels)
            in_channels = 4 * channels
    return tensors


def test_rednet50_has_the_published_tensors():
    with torch.device("meta"):
        rednet = RedNet(REDNET_DEPTHS[50])
    own = {name: tuple(tensor.shape) for name, tensor in rednet.state_dict().items()}
    assert list(own.items()) == list(published_tensors((3, 4, 6, 3)).items())
    # The digest is that of the list of a published file: "name<tab>32x3x3x3" a line, "scalar" where there is no axis.
    lines = [f"{name}\t{'x'.join(map(str, shape)) or 'scalar'}\n" for name, shape in own.items()]
    assert len(lines) == 449
    assert (
        hashlib.sha256("".join(lines).encode()).hexdigest()
        == "47fa788e90b354a3ffa06aeb07cafe669da21657f272f3a3a24365d8fa4acc04"
    )


@pytest.mark.parametrize("name", REDNET_DEPTHS)
def test_all_depths_have_the_published_tensors(name):
    with torch.device("meta"):
        rednet = RedNet(REDNET_DEPTHS[name])
    own = {name: tuple(tensor.shape) for name, tensor in rednet.state_dict().items()}
    assert own == published_tensors(REDNET_DEPTHS[name])


def rednet_by_tensors(tensors, x, depths, group_channels):
    """The network's forward in evaluation mode, from its tensors by their published names."""

    def conv(name, x, stride=1, padding=0):
        return F.conv2d(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), stride, padding)

    def norm(name, x):
        mean, variance, weight, bias = (
            tensors[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def involution(name, x, kernel_size, stride=1):
        pooled = F.avg_pool2d(x, 2) if stride == 2 else x
        kernels = conv(f"{name}.conv2.conv", norm(f"{name}.conv1.bn", conv(f"{name}.conv1.conv", pooled)).relu())
        kernels = kernels.unflatten(1, (x.shape[1] // group_channels, kernel_size, kernel_size))
        return involution_by_unfold(x, kernels, stride)

    x = norm("stem.0.bn", conv("stem.0.conv", x, stride=2, padding=1)).relu()
    x = norm("stem.2", involution("stem.1", x, 3)).relu()
    x = norm("stem.4.bn", conv("stem.4.conv", x, padding=1)).relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, depth in enumerate(depths):
        for index in range(depth):
            block = f"layer{stage + 1}.{index}"
            stride = 2 if stage > 0 and index == 0 else 1
            inner = norm(f"{block}.bn1", conv(f"{block}.conv1", x)).relu()
            inner = norm(f"{block}.bn2", involution(f"{block}.conv2", inner, 7, stride)).relu()
            inner = norm(f"{block}.bn3", conv(f"{block}.conv3", inner))
            if index == 0:
                x = norm(f"{block}.downsample.1", conv(f"{block}.downsample.0", x, stride))
            x = (inner + x).relu()
    return x


def test_forward_is_the_reference_network_written_out():
    rednet = randomize(RedNet((1, 2, 1), (64, 128, 256), stem_channels=32, num_classes=5)).double().eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tensors = rednet.state_dict()
    expected = rednet_by_tensors(tensors, x, (1, 2, 1), group_channels=16)
    torch.testing.assert_close(rednet.forward_features(x), expected)
    torch.testing.assert_close(rednet(x), expected.mean(dim=(2, 3)) @ tensors["fc.weight"].T + tensors["fc.bias"])


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_any_number_of_stages_and_any_widths(stages):
    widths = [32 * (index + 1) for index in range(stages)]
    rednet = RedNet([1] * stages, widths, stem_channels=16, group_channels=8, kernel_size=3).eval()
    size = 2 ** (stages + 1)
    assert rednet(torch.randn(1, 3, 3 * size, 2 * size)).shape == (1, widths[-1], 3, 2)
    assert rednet.out_channels == widths[-1]


def test_other_channels_of_the_image():
    assert small_rednet(in_channels=1).eval()(torch.randn(1, 1, 16, 16)).shape == (1, 128, 2, 2)


@pytest.mark.parametrize("size", [(33, 47), (31, 50), (1, 1)])
def test_odd_sizes_are_rounded_up_at_each_halving(size):
    height, width = (-(-side // 8) for side in size)
    assert small_rednet().eval()(torch.randn(1, 3, *size)).shape == (1, 128, height, width)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"widths": (64,)}, r"one width a stage, got depths \[2, 1\] and widths \[64\]"),
        ({"depths": (), "widths": ()}, "one width a stage"),
        ({"widths": (64, 96)}, r"widths \[64, 96\], group_channels 16"),
        ({"widths": (64, 130)}, r"widths \[64, 130\], group_channels 16"),
        ({"stem_channels": 24}, "stem_channels 24.*group_channels 16"),
        ({"stem_channels": 33}, "stem_channels 33.*group_channels 16"),
        ({"kernel_size": 6}, "odd kernel_size, got 6"),
    ],
)
def test_widths_and_kernels_that_do_not_fit_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        small_rednet(**changes)


def test_each_block_starts_as_its_shortcut():
    rednet = small_rednet().eval()
    block = rednet.layer1[1]
    x = torch.rand(1, 64, 8, 8)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_every_parameter_gets_a_gradient():
    rednet = randomize(small_rednet(num_classes=3)).train()
    rednet(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in rednet.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def checkpoint_blocks(rednet):
    """Does what transformers does to the layers of a model."""
    for module in rednet.modules():
        if hasattr(module, "gradient_checkpointing"):
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
            module.gradient_checkpointing = True


def test_checkpointing_changes_neither_gradients_nor_running_statistics():
    plain = randomize(small_rednet()).train()
    checkpointed = copy.deepcopy(plain)
    checkpoint_blocks(checkpointed)
    runs = []
    first_block = checkpointed.layer1[0].conv1
    first_block.register_forward_hook(lambda *_: runs.append(1))
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        x = torch.randn(2, 3, 32, 32, generator=generator)
        for rednet in (plain, checkpointed):
            rednet(x).square().mean().backward()
    assert len(runs) == 4  # each block ran a second time in each backward pass
    for (name, ours), reference in zip(checkpointed.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, reference.grad, rtol=0, atol=0, msg=name)
    for (name, ours), reference in zip(checkpointed.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=0, msg=name)
    norms = [module for module in checkpointed.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {2}
    assert {norm.momentum for norm in norms} == {0.1}


def test_checkpointing_keeps_fewer_activations():
    def kept_bytes(rednet):
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = rednet(torch.ones(1, 3, 64, 64))
        del out
        return sum(storages.values())

    rednet = small_rednet(depths=(3, 3)).train()
    plain = kept_bytes(rednet)
    checkpoint_blocks(rednet)
    assert kept_bytes(rednet) < plain / 2


@pytest.mark.parametrize("backend", ["numba", "views"])
def test_training_goes_the_same_way_through_every_backend(backend):
    def losses(operator):
        torch.manual_seed(0)
        model = randomize(RedNet((1, 1), (64, 128), stem_channels=32, num_classes=7)).double()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        images, labels = torch.randn(8, 3, 32, 32, dtype=torch.float64), torch.arange(8) % 7
        values = []
        with mock.patch.object(sys.modules["modeling_involvit.involution"], "involution", operator):
            for _ in range(10):
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                values.append(loss.item())
        return values

    with computed_by(backend):
        ours = losses(involution)
    assert ours[-1] < 0.9 * ours[0]
    assert ours == pytest.approx(losses(involution_by_unfold), rel=1e-9)
