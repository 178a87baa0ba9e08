"""The operator in another form, the backends that compute it, and its random inputs."""

import sys
from unittest import mock

import torch
import torch.nn.functional as F

from modeling_involvit import involution_numba, involution_triton

# The function of that name hides the module in the package.
MODULE = sys.modules["modeling_involvit.involution"]
BACKENDS = {
    "numba": (involution_numba.forward, involution_numba.backward),
    "triton": (involution_triton.forward, involution_triton.backward),
    "views": (MODULE._forward_by_views, MODULE._backward_by_views),
}

TRITON_KERNELS = [
    getattr(involution_triton, f"_{name}_kernel")
    for name in ("forward", "grad_x", "grad_weight")
    if involution_triton.is_available()
]


def computed_by(name):
    """A context in which a backend computes the operator, whatever would be chosen."""
    return mock.patch.object(MODULE, "_backend_for", lambda x: BACKENDS[name])


def involution_by_unfold(x, weight, stride=1):
    """Equation 1 as the product of the unfolded input and the kernels, differentiated by autograd."""
    batch, groups, kernel_size, _, height, width = weight.shape
    patches = F.unfold(x, kernel_size, padding=(kernel_size - 1) // 2, stride=stride)
    patches = patches.view(batch, groups, -1, kernel_size, kernel_size, height, width)
    return torch.einsum("bgduvij,bguvij->bgdij", patches, weight).flatten(1, 2)


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
