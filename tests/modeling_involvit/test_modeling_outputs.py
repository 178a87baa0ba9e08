"""Hidden states, attention weights, the choice of attention, and arguments that are wrong."""

import pytest
import torch
from transformers import AttentionInterface

from modeling_involvit import InvolViTForImageClassification, InvolViTModel

from .involvit_reference import randomize


def outputs_of(modules):
    """Returns a list that fills with what the modules return (of a tuple, the first)."""
    outputs = []
    for module in modules:
        module.register_forward_hook(lambda *args: outputs.append(args[2][0] if type(args[2]) is tuple else args[2]))
    return outputs


@pytest.mark.parametrize("vit_class_token", [False, True])
def test_hidden_states_are_those_of_stages_and_layers_and_then_the_maps(tiny_config, images, vit_class_token):
    model = randomize(InvolViTForImageClassification(tiny_config(vit_class_token=vit_class_token))).eval()
    rednet, vit = model.involvit.rednet, model.involvit.vit
    stages = outputs_of([rednet.layer1, rednet.layer2, rednet.layer3])
    layers = outputs_of([vit.pos_drop, *vit.blocks])
    maps = outputs_of([rednet, vit, model.involvit.fusion])
    with torch.no_grad():
        stem, *found = model(images, output_hidden_states=True).hidden_states
        pooled = torch.nn.functional.max_pool2d(rednet.stem(images), 3, 2, 1)
    torch.testing.assert_close(stem, pooled)
    assert [tuple(h.shape[1:]) for h in layers] == [(64 + vit_class_token, 64)] * 3
    assert len(found) == len(stages + layers + maps) == 9
    assert all(map(torch.equal, found, stages + layers + maps))


@pytest.mark.parametrize(("branches", "count"), [("rednet", 4 + 1), ("vit", 3 + 1)])
def test_hidden_states_of_one_branch_are_its_own(tiny_config, images, branches, count):
    model = InvolViTModel(tiny_config(branches=branches)).eval()
    outputs = model(images, output_hidden_states=True)
    assert len(outputs.hidden_states) == count
    assert torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state)


def test_attention_weights_are_the_softmax_of_queries_and_keys(tiny_model, images):
    layer = tiny_model.involvit.vit.blocks[1]
    seen = []
    layer.attn.register_forward_pre_hook(lambda _, args: seen.append(args[0].double()))
    with torch.no_grad():
        attentions = tiny_model(images, output_attentions=True).attentions
    weight, bias = layer.attn.qkv.weight.detach().double(), layer.attn.qkv.bias.detach().double()
    heads = []
    for head in range(2):
        query, key = (
            seen[0] @ weight[start + 32 * head : start + 32 * (head + 1)].T + bias[start + 32 * head :][:32]
            for start in (0, 64)
        )
        heads.append((query @ key.mT / 32**0.5).softmax(dim=-1))
    assert len(attentions) == 2
    torch.testing.assert_close(attentions[1].double(), torch.stack(heads, dim=1), rtol=1e-4, atol=1e-6)


def test_attention_weights_of_rednet_are_refused(tiny_config, images):
    rednet = InvolViTForImageClassification(tiny_config(branches="rednet"))
    with pytest.raises(ValueError, match="output_attentions needs a transformer"):
        rednet(images, output_attentions=True)


def test_the_attention_can_be_changed_at_any_time(tiny_model, images):
    calls = []

    def spy(module, query, key, value, attention_mask, scaling, **kwargs):
        calls.append(tuple(query.shape))
        values = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scaling)
        return values.transpose(1, 2), None

    AttentionInterface.register("spy", spy)
    logits = {}
    with torch.no_grad():
        for implementation in ("eager", "sdpa", "spy", "eager"):
            tiny_model.set_attn_implementation(implementation)
            logits[implementation] = tiny_model(images).logits
    assert calls == [(4, 2, 64, 32)] * 2
    torch.testing.assert_close(logits["eager"], logits["sdpa"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits["eager"], logits["spy"], rtol=1e-4, atol=1e-5)


def test_arguments_that_are_wrong_are_one_clear_error(tiny_model, images):
    for model in (tiny_model, tiny_model.involvit):
        with pytest.raises(TypeError, match="unexpected keyword argument 'pixel_value'"):
            model(pixel_value=images)
        with pytest.raises(ValueError, match="pixel_values are missing"):
            model()
