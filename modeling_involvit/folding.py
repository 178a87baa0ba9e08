"""What follows from a model's weights alone, computed once in place of at each forward pass."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, StdConv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .cpu_layers import is_available, use_cpu_layers


def fold_for_inference(module: nn.Module) -> None:
    """Folds BatchNorms into the convolutions before them and standardises weights, in place: the same function.

    On a CPU it also chooses faster layers, which are used where gradients are off; see cpu_layers.py.

    The module no longer trains, nor do its tensors have the names by which it is loaded: saving it is refused.

    Args:
        module: A `RedNet` or a whole model, in evaluation mode.

    Raises:
        ValueError: If the module is in training mode.
    """
    if module.training:
        raise ValueError("fold_for_inference is for inference; call eval() on the model first")
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, StdConv2dSame):
                setattr(parent, name, _with_standardized_weight(child))
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    if is_available():
        use_cpu_layers(module)
    module.is_folded = True


@torch.no_grad()
def _with_standardized_weight(conv: StdConv2dSame) -> nn.Conv2d:
    """A convolution with the weight that `conv` computes at each call: mean 0, variance 1 for each output channel."""
    kind = Conv2dSame if conv.same_pad else nn.Conv2d
    plain = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    rows = conv.weight.reshape(1, conv.out_channels, -1)
    weight = F.batch_norm(rows, None, None, training=True, eps=conv.eps).reshape_as(conv.weight)
    plain.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
    plain.bias = conv.bias
    return plain.eval()
