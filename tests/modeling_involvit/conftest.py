import pytest
import torch

from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from .involution_reference import TRITON_KERNELS, computed_by
from .involvit_reference import TINY, randomize


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def tiny_config():
    """Returns a function that builds the configuration of a small fusion model at 64 px with the given changes."""
    return lambda **changes: InvolViTConfig(**{**TINY, **changes})


@pytest.fixture
def tiny_model(tiny_config):
    """The small fusion model in evaluation mode, each of its tensors random."""
    return randomize(InvolViTForImageClassification(tiny_config())).eval()


@pytest.fixture
def images():
    """Four normalised images of 64 px."""
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["numba", "views"])
def backend(request):
    """The name of the backend that computes the operator on the CPU."""
    with computed_by(request.param):
        yield request.param


@pytest.fixture
def one_tile(monkeypatch):
    """The Triton kernels with one tile: on a GPU, tuning would compile six of each for every shape of a test."""
    for kernel in TRITON_KERNELS:
        monkeypatch.setattr(kernel, "configs", kernel.configs[:1])


@pytest.fixture(scope="module")
def processor():
    """An image processor for 32 px."""
    return InvolViTImageProcessor(size=32)
