"""What several tests share: a small configuration, the operator again and its backends, tensors without 0s and 1s."""

import sys
from unittest import mock

import torch
import torch.nn.functional as F

from modeling_involvit import involution_numba, involution_triton

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

# The function of that name hides the module in the package.
MODULE = sys.modules["modeling_involvit.involution"]
BACKENDS = {
    "numba": (involution_numba.forward, involution_numba.backward),
    "triton": (involution_triton.forward, involution_triton.backward),
    "views": (MODULE._forward_by_views, MODULE._backward_by_views),
}


def computed_by(name):
    """A context in which a backend computes the operator, whatever would be chosen."""
    return mock.patch.object(MODULE, "_backend_for", lambda x: BACKENDS[name])


def involution_by_unfold(x, weight, stride=1):
    """Equation 1 as the product of the unfolded input and the kernels, differentiated by autograd."""
    batch, groups, kernel_size, _, height, width = weight.shape
    patches = F.unfold(x, kernel_size, padding=(kernel_size - 1) // 2, stride=stride)
    patches = patches.view(batch, groups, -1, kernel_size, kernel_size, height, width)
    return torch.einsum("bgduvij,bguvij->bgdij", patches, weight).flatten(1, 2)


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
