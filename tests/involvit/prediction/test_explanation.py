import re
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from involvit.prediction.explanation import explain, overlay
from involvit.prediction.onnx_classifier import OnnxClassifier
from involvit.prediction.torch_classifier import TorchClassifier
from modeling_involvit import LABELS, InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

SMALL = {
    "image_size": 32,
    "rednet_depths": (1, 1),
    "rednet_widths": (64, 128),
    "rednet_stem_channels": 32,
    "vit_backbone_layers": (1, 1),
    "vit_backbone_channels": (128, 128),
    "vit_stem_channels": 32,
    "vit_hidden_size": 32,
    "vit_num_layers": 2,
    "vit_num_heads": 2,
    "fusion_channels": 32,
}


def save_involvit(folder, branches="fusion"):
    torch.manual_seed(0)
    model = InvolViTForImageClassification(InvolViTConfig(**SMALL, branches=branches)).eval()
    for module in model.modules():  # as after training: no branch of a block starts at zero
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    model.save_pretrained(folder)
    processor = InvolViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return model, processor


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "ours"
    return folder, *save_involvit(folder)


@pytest.fixture(scope="module")
def classifier(saved):
    return TorchClassifier(saved[0])


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grad_cam(model, processor, face, label):
    """The heat of each map by its definition, in float64 and without folding."""
    model = model.double()
    output = model(processor(face, return_tensors="pt")["pixel_values"].double(), output_hidden_states=True)
    heats = []
    for values in output.hidden_states[-3 if model.config.branches == "fusion" else -1 :]:
        (gradient,) = torch.autograd.grad(output.logits[0, LABELS.index(label)], values, retain_graph=True)
        heat = torch.einsum("bc,bchw->bhw", gradient.mean(dim=(2, 3)), values.detach()).relu()
        heat = F.interpolate(heat[None], size=face.shape[:2], mode="bilinear")[0, 0]
        heats.append((heat / heat.max().clamp(min=1e-30)).numpy())
    return heats


def test_heat_is_that_of_the_definition(saved, classifier):
    face = noise(48, 40)
    highest = []
    for label in LABELS:
        heats = explain(classifier, face, label)
        assert list(heats) == ["rednet", "vit", "fused"]
        for heat, expected in zip(heats.values(), grad_cam(*saved[1:], face, label), strict=True):
            assert (heat.shape, heat.dtype, heat.min() >= 0) == ((48, 40), np.float32, True)
            np.testing.assert_allclose(heat, expected, atol=1e-3)
        highest.append([float(heat.max()) for heat in heats.values()])
    assert set(np.ravel(highest)) == {0, 1}
    assert np.max(highest, axis=0).tolist() == [1, 1, 1]  # nothing in vain


@pytest.mark.parametrize("branch", ["rednet", "vit"])
def test_a_model_of_one_branch_has_its_map(tmp_path, branch):
    model, processor = save_involvit(tmp_path, branch)
    face = noise(32, 32)
    heats = explain(TorchClassifier(tmp_path), face, "Sad")
    assert list(heats) == [branch]
    np.testing.assert_allclose(heats[branch], grad_cam(model, processor, face, "Sad")[0], atol=1e-3)


def test_heat_is_zero_where_nothing_speaks_for_the_class(saved):
    classifier = TorchClassifier(saved[0])
    classifier.network.classifier.weight.fill_(-1)  # the fused map, after its ReLU, has no negative value
    assert not explain(classifier, noise(32, 32), "Happy")["fused"].any()


def test_it_leaves_the_network_as_it_was(classifier):
    before = classifier([noise(32, 32)])
    explain(classifier, noise(32, 32), "Happy")
    assert all(parameter.grad is None for parameter in classifier.network.parameters())
    for module in classifier.network.modules():
        assert not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
    np.testing.assert_array_equal(classifier([noise(32, 32)]), before)


def test_threads_explain_and_classify_at_once(classifier):
    faces = [noise(32, 32, seed) for seed in range(12)]

    def both(face):
        return explain(classifier, face, "Happy"), classifier([face])

    expected = [both(face) for face in faces]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(both, faces))
    for (heats, row), (expected_heats, expected_row) in zip(results, expected, strict=True):
        np.testing.assert_allclose(row, expected_row, atol=1e-5)
        for name, heat in heats.items():
            np.testing.assert_allclose(heat, expected_heats[name], atol=1e-3)


def test_other_models_and_unknown_labels_are_refused_in_one_line(tmp_path, classifier, onnx_model):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])
    ResNetForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    for other in (TorchClassifier(tmp_path), OnnxClassifier(onnx_model)):
        message = f"{other.name} cannot be explained; choose an InvolViT model that is not in ONNX"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            explain(other, noise(32, 32), other.labels[0])
    with pytest.raises(ValueError, match=r"^'Joy' is not a class of ours@\w+; choose one of Angry, .*, Neutral$"):
        explain(classifier, noise(32, 32), "Joy")


def test_the_face_shows_where_there_is_no_heat_and_shines_through_where_there_is():
    face = noise(6, 5)
    np.testing.assert_array_equal(overlay(face, np.zeros((6, 5), np.float32)), face)
    hottest = np.multiply(matplotlib.colormaps["plasma"](1.0)[:3], 255)
    result = overlay(face, np.ones((6, 5), np.float32))
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result, 0.3 * face + 0.7 * hottest, atol=1)


def test_hotter_is_lighter():
    black = np.zeros((1, 32, 3), np.uint8)
    lightness = rgb2lab(overlay(black, np.linspace(0, 1, 32, dtype=np.float32)[None]))[0, :, 0]
    assert (np.diff(lightness) > 0).all()


def test_heat_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"a face of \[6, 5, 3\] needs heat of \[6, 5\], got \[5, 6\]"):
        overlay(noise(6, 5), np.zeros((5, 6), np.float32))
