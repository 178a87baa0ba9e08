"""transformers' tests of models and configurations, on the fused model and on each branch alone."""

import copy
import unittest

import pytest
import torch
from transformers.testing_utils import torch_device

from modeling_involvit import (
    InvolViTBackbone,
    InvolViTConfig,
    InvolViTForImageClassification,
    InvolViTModel,
)

from .library_tests import BackboneTesterMixin, ConfigTester, ModelTesterMixin

pytestmark = pytest.mark.transformers

SETTINGS = {
    "image_size": 32,
    "rednet_depths": [1, 1],
    "rednet_widths": [64, 128],
    "rednet_stem_channels": 32,
    "vit_backbone_layers": [1],
    "vit_backbone_channels": [128],
    "vit_stem_channels": 32,
    "vit_hidden_size": 32,
    "vit_num_layers": 2,
    "vit_num_heads": 4,
    "fusion_channels": 16,
    "num_labels": 3,
}


class InvolViTTester:
    """What the mixins ask of a model: a small one, inputs for it, and the numbers that they expect."""

    is_training = True
    batch_size = 3
    hidden_size = SETTINGS["vit_hidden_size"]
    num_hidden_layers = SETTINGS["vit_num_layers"]
    num_attention_heads = SETTINGS["vit_num_heads"]
    num_labels = SETTINGS["num_labels"]
    image_size = SETTINGS["image_size"]
    seq_length = 8 * 8  # the ResNetV2 stem and its one stage leave a quarter of 32 px

    def __init__(self, parent, branches):
        self.parent, self.branches = parent, branches

    def get_config(self):
        return InvolViTConfig(**SETTINGS, branches=self.branches)

    def prepare_config_and_inputs_for_common(self):
        pixel_values = torch.rand(self.batch_size, 3, self.image_size, self.image_size, device=torch_device)
        return self.get_config(), {"pixel_values": pixel_values}

    def prepare_config_and_inputs(self):
        config, inputs = self.prepare_config_and_inputs_for_common()
        return config, inputs["pixel_values"], torch.zeros(self.batch_size, dtype=torch.long)

    def hidden_state_shapes(self):
        """The shapes that `hidden_states` are documented to have, without the batch."""
        rednet = [(32, 8, 8), (64, 8, 8), (128, 4, 4)]  # after the stem and each stage
        tokens = [(self.seq_length, self.hidden_size)] * (self.num_hidden_layers + 1)
        vit = (self.hidden_size, 8, 8)
        return {
            "fusion": [*rednet, *tokens, rednet[-1], vit, (SETTINGS["fusion_channels"], 8, 8)],
            "rednet": [*rednet, rednet[-1]],
            "vit": [*tokens, vit],
        }[self.branches]


class _ModelTests(ModelTesterMixin):
    branches: str
    all_model_classes = (InvolViTModel, InvolViTForImageClassification)
    test_resize_embeddings = False  # those of token ids, which there are not
    test_can_init_all_missing_weights_before_2023 = True  # the library runs it for new models only

    def setUp(self):
        self.model_tester = InvolViTTester(self, self.branches)

    def test_configuration(self):
        settings = SETTINGS | {"branches": self.branches}
        settings.pop("num_labels")  # ConfigTester gives one of its own
        ConfigTester(self, config_class=InvolViTConfig, has_text_modality=False, **settings).run_common_tests()

    def test_hidden_states_output(self):
        """Replaces the library's, which expects the tokens of one transformer: ours are maps and tokens."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        expected = [(self.model_tester.batch_size, *shape) for shape in self.model_tester.hidden_state_shapes()]
        by_config = copy.deepcopy(config)
        by_config.output_hidden_states = True
        for model_class in self.all_model_classes:
            for configured, options in ((config, {"output_hidden_states": True}), (by_config, {})):
                model = model_class(configured).to(torch_device).eval()
                with torch.no_grad():
                    outputs = model(**self._prepare_for_class(inputs, model_class), **options)
                self.assertEqual([tuple(state.shape) for state in outputs.hidden_states], expected)
                if model_class is InvolViTModel:
                    torch.testing.assert_close(outputs.hidden_states[-1], outputs.last_hidden_state)

    def test_model_get_set_embeddings(self):
        """Replaces the library's, which expects an nn.Embedding; its own vision models replace it as well."""
        for model_class in self.all_model_classes:
            model = model_class(self.model_tester.get_config())
            self.assertIsInstance(model.get_input_embeddings(), torch.nn.Module)
            replacement = torch.nn.Identity()
            model.set_input_embeddings(replacement)
            self.assertIs(model.get_input_embeddings(), replacement)
            self.assertIsNone(model.get_output_embeddings())

    def test_reverse_loading_mapping(self):
        """As the library's; the conversion resamples position embeddings and leaves their names."""
        super().test_reverse_loading_mapping(check_keys_were_modified=False)

    @unittest.skip("the model has no embeddings of ids that inputs_embeds could replace")
    def test_inputs_embeds(self):
        pass


class FusionTest(_ModelTests, unittest.TestCase):
    branches = "fusion"


class RedNetTest(_ModelTests, unittest.TestCase):
    branches = "rednet"
    has_attentions = False  # involution computes kernels, not attention weights

    @unittest.skip("RedNet has no position embeddings, and nothing else is converted on loading")
    def test_reverse_loading_mapping(self):
        pass


class ViTTest(_ModelTests, unittest.TestCase):
    branches = "vit"


class RedNetBackboneTest(BackboneTesterMixin, unittest.TestCase):
    all_model_classes = (InvolViTBackbone,)
    has_attentions = False
    config_class = InvolViTConfig

    def setUp(self):
        self.model_tester = InvolViTTester(self, "rednet")
