import math

import pytest
import torch
import torch.nn.functional as F
from accelerate import init_empty_weights

from modeling_involvit import InvolViTForImageClassification

from .involvit_reference import LABELS_OF_IMAGES, assert_all_close


def test_a_seed_fixes_the_new_model(tiny_config):
    def build(seed):
        torch.manual_seed(seed)
        return InvolViTForImageClassification(tiny_config()).state_dict()

    first, second, other = build(3), build(3), build(4)
    assert_all_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("branches", ["fusion", "rednet", "vit"])
def test_a_model_can_be_built_without_its_weights(tiny_config, branches):
    """As by Accelerate for models that are larger than the memory, or to say how large they are."""
    with init_empty_weights():
        empty = InvolViTForImageClassification(tiny_config(branches=branches))
    assert {tensor.device.type for tensor in empty.parameters()} == {"meta"}
    whole = InvolViTForImageClassification(tiny_config(branches=branches))
    assert [tensor.shape for tensor in empty.parameters()] == [tensor.shape for tensor in whole.parameters()]


@pytest.mark.parametrize(("branches", "name"), [("fusion", "vit.patch_embed"), ("rednet", "rednet.stem")])
def test_the_input_embeddings_are_the_patch_embedding_or_the_stem(tiny_config, branches, name):
    model = InvolViTForImageClassification(tiny_config(branches=branches))
    assert model.get_input_embeddings() is model.involvit.get_submodule(name)
    other = torch.nn.Identity()
    model.set_input_embeddings(other)
    assert model.involvit.get_submodule(name) is other


def test_a_new_model_starts_well_conditioned(tiny_config, images):
    model = InvolViTForImageClassification(tiny_config()).train()
    outputs = model(images, output_hidden_states=True)
    assert all(0.1 < map_.std() < 10 for map_ in outputs.hidden_states[-3:])
    # Near-equal scores: the loss is that of a guess.
    assert F.cross_entropy(outputs.logits, LABELS_OF_IMAGES).item() == pytest.approx(math.log(7), abs=0.2)


def test_a_new_model_starts_with_each_bottleneck_as_its_shortcut_and_small_positions(tiny_config):
    model = InvolViTForImageClassification(tiny_config(vit_class_token=True))
    tensors = model.state_dict()
    scales = {name: t for name, t in tensors.items() if "norm" in name or ".bn" in name}
    last = [t for name, t in scales.items() if name.endswith("bn3.weight")]
    others = [t for name, t in scales.items() if name.endswith(".weight") and "bn3" not in name]
    assert len(last) == 3
    assert not any(t.any() for t in last)
    assert all((t == 1).all() for t in others)
    assert not any(t.any() for name, t in tensors.items() if name.endswith(".bias"))
    assert tensors["involvit.vit.pos_embed"].std().item() == pytest.approx(0.02, rel=0.1)
    assert 0 < tensors["involvit.vit.cls_token"].std() < 1e-5
