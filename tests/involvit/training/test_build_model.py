import pytest
import torch

from dataset_script import LABELS
from involvit.training.build_model import build_config, build_model
from involvit.training.recipe import Recipe

from .training_runs import MODEL


@pytest.fixture
def model():
    recipe = Recipe("out", model=MODEL)
    return build_model(recipe, build_config(recipe)).eval()


def save(model, names, folder):
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.save_pretrained(folder)
    return Recipe("out", pretrained=str(folder))


@pytest.mark.parametrize(
    "names", [sorted(LABELS), ["joy", "sadness", "fear", "anger", "neutral", "disgust", "surprise"]]
)
@torch.no_grad()
def test_a_model_with_its_classes_in_another_order_answers_as_before_and_is_saved_in_ours(model, names, tmp_path):
    pixels = torch.rand(2, 3, 32, 32)
    recipe = save(model, names, tmp_path)
    known = {"joy": "Happy", "sadness": "Sad", "anger": "Angry"}
    answers = dict(zip([known.get(name, name.capitalize()) for name in names], model(pixels).logits.T, strict=True))
    started = build_model(recipe, build_config(recipe)).eval()
    assert started.config.id2label == dict(enumerate(LABELS))
    assert started.config.label2id == {name: index for index, name in enumerate(LABELS)}
    torch.testing.assert_close(started(pixels).logits.T, torch.stack([answers[name] for name in LABELS]))


def test_a_model_of_several_labels_at_once_is_started_from_as_one_of_one_label(model, tmp_path):
    model.config.problem_type = "multi_label_classification"
    recipe = save(model, LABELS, tmp_path / "model")
    assert build_model(recipe, build_config(recipe)).config.problem_type is None


@pytest.mark.parametrize("names", [[*LABELS[:6], "Contempt"], [f"LABEL_{i}" for i in range(7)]])
def test_a_model_of_other_classes_is_not_started_from(model, names, tmp_path):
    recipe = save(model, names, tmp_path / "model")
    with pytest.raises(ValueError, match=rf"pretrained .*model answers {names[0]}, .*{names[6]}, but the data is"):
        build_config(recipe)


def test_a_model_of_more_classes_is_not_started_from(model, tmp_path):
    model.classifier = torch.nn.Linear(model.classifier.in_features, 8)
    recipe = save(model, [*LABELS, "Contempt"], tmp_path / "model")
    with pytest.raises(ValueError, match=r"pretrained .*model answers Angry, .*Contempt, but the data is labelled"):
        build_config(recipe)


@pytest.mark.parametrize("field", ["rednet_checkpoint", "vit_pretrained"])
def test_weights_of_a_branch_that_are_a_git_lfs_pointer_are_told(field, tmp_path):
    path = tmp_path / "branch.safetensors"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n")
    recipe = Recipe("out", model=MODEL, **{field: str(path)})
    with pytest.raises(ValueError, match=r"branch\.safetensors is a Git LFS pointer, .* run `git lfs pull`"):
        build_model(recipe, build_config(recipe))
