"""Saving a model, and loading it whole, in part, or with another head."""

import pytest
import torch

from modeling_involvit import InvolViTForImageClassification, InvolViTModel

from .involvit_reference import assert_all_close, randomize


@pytest.mark.parametrize("class_token", [False, True])
def test_a_saved_model_gives_the_same_scores(tiny_config, tmp_path, images, class_token):
    model = randomize(InvolViTForImageClassification(tiny_config(vit_class_token=class_token))).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded, info = InvolViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not loaded.training
    assert_all_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(loaded(images).logits, model(images).logits, rtol=0, atol=1e-6)


def test_the_base_model_loads_from_a_saved_classifier_and_back(tiny_model, tmp_path, images):
    tiny_model.save_pretrained(tmp_path / "classifier")
    base = InvolViTModel.from_pretrained(tmp_path / "classifier").eval()
    expected = tiny_model.involvit(images)
    torch.testing.assert_close(base(images).pooler_output, expected.pooler_output, rtol=0, atol=1e-6)
    base.save_pretrained(tmp_path / "base")
    classifier = InvolViTForImageClassification.from_pretrained(tmp_path / "base").eval()
    torch.testing.assert_close(classifier.involvit(images).pooler_output, expected.pooler_output, rtol=0, atol=1e-6)


def test_another_number_of_classes_gets_a_new_head_on_the_loaded_body(tiny_model, tmp_path, images):
    tiny_model.save_pretrained(tmp_path)
    model = InvolViTForImageClassification.from_pretrained(
        tmp_path, id2label={0: "calm", 1: "tense"}, label2id=None, ignore_mismatched_sizes=True
    ).eval()
    assert model(images).logits.shape == (4, 2)
    assert 0 < model.classifier.weight.std() < 0.1
    assert not model.classifier.bias.any()
    body = {name: t for name, t in tiny_model.state_dict().items() if name.startswith("involvit.")}
    assert_all_close({name: model.state_dict()[name] for name in body}, body, rtol=0, atol=0)
