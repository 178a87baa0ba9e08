import pytest
import torch

from modeling_involvit import InvolViTConfig, InvolViTForImageClassification

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
