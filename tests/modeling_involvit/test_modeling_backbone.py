"""RedNet as a backbone of transformers."""

import pytest
import torch
from transformers import AutoBackbone, UperNetConfig, UperNetForSemanticSegmentation

from modeling_involvit import InvolViTBackbone, InvolViTConfig, InvolViTForImageClassification

from .involvit_reference import randomize


@pytest.mark.parametrize("standardize_luminance", [False, True])
def test_its_maps_are_those_of_the_whole_model_whose_weights_it_loads(
    tiny_config, images, tmp_path, standardize_luminance
):
    model = randomize(InvolViTForImageClassification(tiny_config(standardize_luminance=standardize_luminance))).eval()
    model.save_pretrained(tmp_path)
    backbone, report = InvolViTBackbone.from_pretrained(
        tmp_path, out_features=["stem", "stage2"], output_loading_info=True
    )
    assert not report["missing_keys"]
    with torch.no_grad():
        outputs = backbone.eval()(images, output_hidden_states=True)
        expected = model(images, output_hidden_states=True).hidden_states[:4]
    assert all(map(torch.equal, outputs.hidden_states, expected))
    assert all(map(torch.equal, outputs.feature_maps, (expected[0], expected[2])))
    assert backbone.channels == [32, 128] == [map_.shape[1] for map_ in outputs.feature_maps]


def test_it_takes_images_of_any_size(tiny_config):
    backbone = AutoBackbone.from_config(tiny_config(out_indices=[1, 3])).eval()
    assert isinstance(backbone, InvolViTBackbone)
    first, last = backbone(torch.randn(1, 3, 70, 130)).feature_maps
    assert (first.shape, last.shape) == ((1, 64, 18, 33), (1, 256, 5, 9))
    (first, last), hidden_states = backbone(torch.randn(1, 3, 64, 64), output_hidden_states=True, return_dict=False)
    assert (first.shape[2], last.shape[2], len(hidden_states)) == (16, 4, 4)


def test_heads_of_segmentation_stand_on_it(tiny_config):
    backbone = tiny_config(out_features=["stem", "stage1", "stage2", "stage3"])
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=16, num_labels=5, use_auxiliary_head=False, pool_scales=[1, 2]
    )
    model = UperNetForSemanticSegmentation(config).eval()
    assert isinstance(model.backbone, InvolViTBackbone)
    assert model(torch.randn(1, 3, 64, 96)).logits.shape == (1, 5, 64, 96)


def test_the_chosen_maps_are_saved(tmp_path):
    InvolViTConfig(out_features=["stage2", "stage4"]).save_pretrained(tmp_path)
    config = InvolViTConfig.from_pretrained(tmp_path)
    assert (config.out_features, config.out_indices) == (["stage2", "stage4"], [2, 4])
    assert InvolViTConfig().out_features == ["stage4"]


def test_a_model_without_rednet_is_refused(tiny_config):
    with pytest.raises(ValueError, match="branches='vit' does not have"):
        InvolViTBackbone(tiny_config(branches="vit"))
