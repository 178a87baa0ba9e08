"""What tests of models share: a small configuration, random weights, labels, gradients and their comparison."""

import torch

# A fusion model of 1 M parameters at 64 px.
TINY = {
    "image_size": 64,
    "rednet_depths": (1, 1, 1),
    "rednet_widths": (64, 128, 256),
    "rednet_stem_channels": 32,
    "vit_backbone_layers": (1, 1),
    "vit_backbone_channels": (128, 256),
    "vit_stem_channels": 32,
    "vit_hidden_size": 64,
    "vit_num_layers": 2,
    "vit_num_heads": 2,
    "fusion_channels": 48,
}
LABELS_OF_IMAGES = torch.tensor([0, 6, 3, 3])


def randomize(module, seed=0):
    """Gives every parameter and running statistic a random value: nothing stays 0 or 1 by initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point():
                fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)
    return module


def gradients(model, *args, **kwargs):
    model.zero_grad()
    model(*args, **kwargs).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def assert_all_close(ours, reference, **tolerances):
    assert ours.keys() == reference.keys()
    for name in ours:
        torch.testing.assert_close(
            ours[name], reference[name], msg=lambda text, name=name: f"{name}: {text}", **tolerances
        )
