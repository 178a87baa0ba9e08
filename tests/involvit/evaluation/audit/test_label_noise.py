from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from dataset_script import LABELS
from involvit.evaluation.audit.label_noise import (
    confident_classes,
    confident_joint,
    doubtful_labels,
    out_of_fold_probabilities,
    pooled_features,
)
from involvit.prediction.torch_classifier import TorchClassifier
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from ....modeling_involvit.involvit_reference import TINY
from ..palette_faces import PaletteClassifier, clean_rows, part


def clusters(images, seed=0):
    """Features of `images` per class around a corner of a cube each, labels, and a person for every two images."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(7), images)
    features = 4 * np.eye(7)[labels] + rng.normal(size=(len(labels), 7))
    return features.repeat(64, axis=1), labels, np.arange(len(labels)) // 14 * 7 + labels


def probabilities_of(*rows):
    """Seven columns from those of the first classes."""
    return np.array([[*row, *[0] * (7 - len(row))] for row in rows], float)


def test_features_of_an_involvit_model_are_its_pooled_fused_map(tmp_path):
    torch.manual_seed(0)
    model = InvolViTForImageClassification(InvolViTConfig(**TINY)).eval()
    processor = InvolViTImageProcessor(size={"height": 64, "width": 64})
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    rows = part(clean_rows(1)[:3])
    with torch.no_grad():
        expected = model.involvit(**processor(rows["image"][:], return_tensors="pt")).pooler_output
    features = pooled_features(TorchClassifier(tmp_path), rows)
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_features_of_a_transformer_are_its_last_tokens_averaged(tmp_path):
    torch.manual_seed(0)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **size)).eval()
    processor = ViTImageProcessor(size={"height": 16, "width": 16})
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    rows = part(clean_rows(1))
    with torch.no_grad():
        inputs = processor(rows["image"][:], return_tensors="pt")
        tokens = model(**inputs, output_hidden_states=True).hidden_states[-1]
    features = pooled_features(TorchClassifier(tmp_path), rows)
    assert features.shape == (7, 8)
    np.testing.assert_allclose(features, tokens.mean(dim=1), atol=1e-4)


def test_a_network_without_hidden_states_is_refused():
    classifier = PaletteClassifier()
    classifier.network = Mock(device="cpu", return_value=Mock(hidden_states=None))
    with pytest.raises(ValueError, match="palette returns no hidden states; take another model"):
        pooled_features(classifier, part(clean_rows(1)))


def test_a_network_whose_hidden_states_are_not_finite_is_refused():
    classifier = PaletteClassifier()
    states = (torch.full((7, 3, 2, 2), torch.nan),)
    classifier.network = Mock(device="cpu", return_value=Mock(hidden_states=states))
    with pytest.raises(ValueError, match="palette answers values that are not finite"):
        pooled_features(classifier, part(clean_rows(1)))


def test_probabilities_come_from_other_persons_only():
    # Each person's features are the same whatever the label, and each has one label: known by heart, no help elsewhere.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    features, labels = rng.normal(size=(40, 60))[groups], (np.arange(40) % 2)[groups]
    probabilities = out_of_fold_probabilities(features, labels, groups)
    assert 0.25 < (probabilities[:, :2].argmax(axis=1) == labels).mean() < 0.75


def test_probabilities_add_up_and_repeat_bit_for_bit():
    data = clusters(20)
    probabilities = out_of_fold_probabilities(*data)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities, out_of_fold_probabilities(*data))


def test_a_class_of_one_person_is_not_judged_and_the_others_are():
    features, labels, groups = clusters(20)
    groups[labels == 2] = -1
    keep = (labels != 5) | (np.arange(len(labels)) == 5)  # of class 5 one image is left
    probabilities = out_of_fold_probabilities(features[keep], labels[keep], groups[keep])
    is_judged = ~np.isnan(probabilities[:, 0])
    np.testing.assert_array_equal(is_judged, ~np.isin(labels[keep], [2, 5]))
    assert not doubtful_labels(labels[keep], probabilities)["suggested"].isin([LABELS[2], LABELS[5]]).any()


def test_one_person_alone_or_one_class_alone_is_not_judged():
    features, labels, groups = clusters(4)
    assert np.isnan(out_of_fold_probabilities(features, labels, np.zeros_like(groups))).all()
    probabilities = out_of_fold_probabilities(features, np.zeros_like(labels), groups)
    assert np.isnan(probabilities).all()
    assert doubtful_labels(labels, probabilities).empty
    assert confident_joint(labels, confident_classes(labels, probabilities)).sum() == 0


def test_the_confident_joint_is_that_of_a_worked_example():
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Thresholds: class 0 (0.9 + 0.6 + 0.3) / 3 = 0.6, class 1 (0.8 + 0.4 + 0.3) / 3 = 0.5, class 2 has no image.
    probabilities = probabilities_of(
        [0.9, 0.1, 0.0],  # 0
        [0.6, 0.4, 0.0],  # 0, at its threshold
        [0.3, 0.5, 0.2],  # 1, at its threshold: doubtful
        [0.2, 0.8, 0.0],  # 1
        [0.58, 0.4, 0.02],  # the most probable class is below its threshold, and so are the others
        [0.1, 0.3, 0.6],  # a class without images has no threshold to reach
    )
    confident = confident_classes(labels, probabilities)
    assert confident.tolist() == [0, 0, 1, 1, -1, -1]
    expected = np.zeros((7, 7), int)
    expected[:2, :2] = [[2, 1], [0, 1]]
    np.testing.assert_array_equal(confident_joint(labels, confident), expected)
    (doubtful,) = doubtful_labels(labels, probabilities).to_dict(orient="records")
    assert (doubtful["row"], doubtful["given"], doubtful["suggested"]) == (2, LABELS[0], LABELS[1])
    assert doubtful["margin"] == pytest.approx(0.3 - 0.5)


def test_of_two_classes_above_their_thresholds_the_more_probable_is_taken():
    labels = np.array([0, 1, 1])
    probabilities = probabilities_of([0.45, 0.55], [0.5, 0.5], [0.8, 0.2])  # thresholds 0.45 and 0.35
    assert confident_classes(labels, probabilities).tolist() == [1, 0, 0]
    assert doubtful_labels(labels, probabilities)["row"].tolist() == [2, 0, 1]  # margins -0.6, -0.1, 0


def test_planted_wrong_labels_are_found_above_others():
    features, labels, groups = clusters(60)
    rng = np.random.default_rng(1)
    planted = rng.choice(len(labels), 20, replace=False)
    given = labels.copy()
    given[planted] = (labels[planted] + rng.integers(1, 7, 20)) % 7
    probabilities = out_of_fold_probabilities(features, given, groups)
    self_confidence = probabilities[np.arange(len(given)), given]
    assert set(np.argsort(self_confidence)[:20]) == set(planted)
    # Those of less than the mean confidence in their true class are passed over: that is how the method is careful.
    found = doubtful_labels(given, probabilities)
    assert len(found) > 10 and set(found["row"]) <= set(planted)
    assert found["suggested"].tolist() == [LABELS[label] for label in labels[found["row"]]]
