"""Once the package is imported, the Auto classes of transformers know the models without trusting any code."""

import pytest
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    pipeline,
)

from modeling_involvit import (
    InvolViTConfig,
    InvolViTForImageClassification,
    InvolViTImageProcessor,
    InvolViTModel,
)

from .involvit_reference import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's folder with no code in it."""
    folder = tmp_path_factory.mktemp("model")
    InvolViTForImageClassification(InvolViTConfig(**TINY)).save_pretrained(folder)
    InvolViTImageProcessor(size=64).save_pretrained(folder)
    for file in folder.glob("*.py"):
        file.unlink()
    return folder


def test_each_auto_class_gives_ours(folder):
    assert type(AutoConfig.from_pretrained(folder)) is InvolViTConfig
    assert type(AutoModel.from_pretrained(folder)) is InvolViTModel
    assert type(AutoModelForImageClassification.from_pretrained(folder)) is InvolViTForImageClassification
    assert type(AutoImageProcessor.from_pretrained(folder)) is InvolViTImageProcessor


def test_a_pipeline_needs_no_trust(folder):
    answers = pipeline("image-classification", model=str(folder))(Image.new("RGB", (50, 40)), top_k=7)
    assert sum(answer["score"] for answer in answers) == pytest.approx(1)
