import inspect
import json

import pytest
from huggingface_hub.errors import StrictDataclassError

from modeling_involvit import LABELS, InvolViTConfig, configuration_involvit


def test_the_defaults_are_the_papers_model():
    config = InvolViTConfig()
    published = {
        "image_size": 352,
        "branches": "fusion",
        "rednet_depths": (3, 4, 6, 3),
        "rednet_widths": (256, 512, 1024, 2048),
        "rednet_stem_channels": 64,
        "rednet_kernel_size": 7,
        "rednet_group_channels": 16,
        "vit_backbone_layers": (3, 4, 9),
        "vit_hidden_size": 768,
        "vit_num_layers": 12,
        "vit_num_heads": 12,
        "vit_class_token": False,
        "vit_image_mean": (0.5, 0.5, 0.5),
        "vit_image_std": (0.5, 0.5, 0.5),
        "image_mean": (0.485, 0.456, 0.406),
        "image_std": (0.229, 0.224, 0.225),
    }
    assert {name: getattr(config, name) for name in published} == published
    assert config.fusion_grid is None  # the transformer's 22 x 22


def test_the_labels_are_the_seven_expressions_in_their_order():
    expected = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    config = InvolViTConfig()
    assert expected == LABELS
    assert config.id2label == dict(enumerate(expected))
    assert config.label2id == {label: index for index, label in enumerate(expected)}
    assert config.num_labels == 7


@pytest.mark.parametrize(
    "given",
    [
        {"id2label": {0: "calm", 1: "tense"}},
        {"id2label": {"0": "calm", "1": "tense"}},
        {"label2id": {"calm": 0, "tense": 1}},
        {"id2label": {0: "calm", 1: "tense"}, "label2id": {"calm": 0, "tense": 1}},
    ],
)
def test_other_labels_are_taken_from_either_mapping(given):
    config = InvolViTConfig(**given)
    assert config.id2label == {0: "calm", 1: "tense"}
    assert config.label2id == {"calm": 0, "tense": 1}
    assert config.num_labels == 2


def test_a_number_of_labels_gives_numbered_ones():
    config = InvolViTConfig(num_labels=3)
    assert config.num_labels == 3
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def test_a_saved_configuration_comes_back(tmp_path, tiny_config):
    config = tiny_config(
        branches="rednet",
        id2label={0: "calm", 1: "tense"},
        fusion_grid=5,
        vit_class_token=True,
    )
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["id2label"] == {"0": "calm", "1": "tense"}
    assert saved["label2id"] == {"calm": 0, "tense": 1}
    loaded = InvolViTConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == {**config.to_dict(), "architectures": loaded.architectures}
    assert type(loaded.id2label.popitem()[0]) is int


def test_the_saved_file_has_its_code_beside_it(tmp_path):
    InvolViTConfig().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert set(saved["auto_map"]) == {"AutoBackbone", "AutoConfig", "AutoModel", "AutoModelForImageClassification"}
    assert (tmp_path / "configuration_involvit.py").read_text() == inspect.getsource(configuration_involvit)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 0),
        ("image_size", "352"),
        ("image_size", 352.5),
        ("num_channels", 0),
        ("branches", "both"),
        ("branches", None),
        ("rednet_depths", ()),
        ("rednet_depths", (1, 0, 1)),
        ("rednet_depths", "abc"),
        ("rednet_widths", (64, 128)),
        ("rednet_widths", (64, 100, 256)),
        ("rednet_stem_channels", 48),
        ("rednet_kernel_size", 6),
        ("rednet_kernel_size", -1),
        ("rednet_group_channels", 0),
        ("vit_backbone_layers", (1, 0)),
        ("vit_backbone_channels", (128,)),
        ("vit_backbone_channels", (128, 200)),
        ("vit_stem_channels", 30),
        ("vit_hidden_size", 65),
        ("vit_num_heads", 0),
        ("vit_num_layers", 0),
        ("vit_class_token", "yes"),
        ("vit_dropout", 1.0),
        ("vit_drop_path", -0.1),
        ("vit_image_mean", (0.5,)),
        ("vit_image_std", (0.5, 0.5, 0.0)),
        ("image_mean", (0.5, 0.5, 0.5, 0.5)),
        ("image_std", (0.2, 0.2, -0.2)),
        ("fusion_grid", 0),
        ("fusion_channels", 0),
        ("classifier_dropout", 1.5),
    ],
)
def test_a_bad_value_is_refused_by_its_fields_name(tiny_config, field, value):
    with pytest.raises(StrictDataclassError, match=field):
        tiny_config(**{field: value})


def test_a_grey_image_needs_statistics_of_one_channel(tiny_config):
    with pytest.raises(StrictDataclassError, match="image_mean must have 1 values for this num_channels"):
        tiny_config(num_channels=1)
    one = dict.fromkeys(("image_mean", "image_std", "vit_image_mean", "vit_image_std"), (0.5,))
    assert tiny_config(num_channels=1, **one).num_channels == 1
    with pytest.raises(StrictDataclassError, match="standardize_luminance needs num_channels=3"):
        tiny_config(num_channels=1, standardize_luminance=True, **one)
