import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf
from transformers import BertConfig, ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from involvit.prediction.torch_classifier import TorchClassifier
from modeling_involvit import LABELS, InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

ROOT = Path(__file__).parents[3]
SMALL = {
    "image_size": 32,
    "branches": "rednet",
    "rednet_depths": (1, 1),
    "rednet_widths": (64, 128),
    "rednet_stem_channels": 32,
}


def save_involvit(folder, seed=0):
    torch.manual_seed(seed)
    model = InvolViTForImageClassification(InvolViTConfig(**SMALL)).eval()
    for module in model.modules():  # statistics that are not those of the initialisation
        if isinstance(module, torch.nn.BatchNorm2d):
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


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json", "."])
def test_what_may_not_be_read_is_named(saved, tmp_path, nobody, name):
    shutil.copytree(saved[0], tmp_path / "ours")
    TorchClassifier("ours")
    (tmp_path / "ours" / name).chmod(0)
    with nobody(), pytest.raises(ValueError, match=r"cannot be loaded: you may not read ours.* \(permission denied\)$"):
        TorchClassifier("ours")
    (tmp_path / "ours" / name).chmod(0o700)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((32, 32), (48, 40), (7, 90))]


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A file that is there once code was run, and the line of Python that writes it; nobody answers on a terminal."""
    file = tmp_path / "sprung"
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    return file, f"__import__('pathlib').Path({str(file)!r}).touch()\n"


def save_resnet(folder, labels=("no", "yes")):
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    model = ResNetForImageClassification(config).eval()
    processor = ViTImageProcessor(size={"height": 40, "width": 40})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def add_to_json(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def probabilities(model, processor, images):
    with torch.no_grad():
        return model(**processor(images, return_tensors="pt")).logits.softmax(dim=1).numpy()


def test_an_involvit_folder_gives_what_the_library_computes(saved, images):
    folder, model, processor = saved
    classifier = TorchClassifier(folder)
    result = classifier(images)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, probabilities(model, processor, images), atol=1e-5)
    assert (classifier.labels, classifier.image_size) == (LABELS, 32)
    assert classifier([]).shape == (0, 7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("save", [save_involvit, save_resnet])
def test_a_model_saved_in_half_precision_gives_the_same_labels(tmp_path, images, save, dtype):
    model, processor = save(tmp_path / "model")
    expected = probabilities(model, processor, images)
    model.to(dtype).save_pretrained(tmp_path / "half")
    processor.save_pretrained(tmp_path / "half")
    classifier = TorchClassifier(tmp_path / "half")
    found = classifier(images)
    assert (found.dtype, classifier.network.dtype) == (np.float32, torch.float32)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_without_a_network_a_hub_id_is_refused_in_one_line(tmp_path):
    script = """
from involvit.prediction.torch_classifier import TorchClassifier
try: TorchClassifier("someone/model")
except ValueError as error: print(error)
"""
    unset = ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    environment = {name: value for name, value in os.environ.items() if name.upper() not in unset}
    # Port 9, of no service, refuses; the library would try six times and say so.
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    message = (
        r"'someone/model' is not a folder here, and cannot be loaded from the Hub \(ConnectError: .*refused\)\. .*\n"
    )
    assert re.fullmatch(message, result.stdout)


def test_norms_are_folded_for_speed(saved):
    left, before = (
        sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
        for network in (TorchClassifier(saved[0]).network, saved[1])
    )
    assert left < before / 2


def test_a_model_of_other_kind_and_other_labels_works(tmp_path, images):
    model, processor = save_resnet(tmp_path, labels=("calm", "moved", "neither"))
    classifier = TorchClassifier(tmp_path)
    assert (classifier.labels, classifier.image_size) == (("calm", "moved", "neither"), 40)
    np.testing.assert_allclose(classifier(images), probabilities(model, processor, images), atol=1e-5)


def test_a_model_as_timm_saves_it_gives_what_timm_computes(tmp_path, images):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2).eval()
    save_for_hf(model, tmp_path, model_config={"label_names": ["calm", "moved"]}, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model_args"]  # transformers 5.24 takes no num_classes there, which timm 1.0.31 writes
    (tmp_path / "config.json").write_text(json.dumps(config))
    classifier = TorchClassifier(tmp_path)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.no_grad():
        expected = model(torch.stack([transform(Image.fromarray(image)) for image in images])).softmax(dim=1).numpy()
    assert (classifier.labels, classifier.image_size) == (("calm", "moved"), 160)
    np.testing.assert_allclose(classifier(images), expected, atol=1e-5)


def test_the_name_tells_weights_apart(saved, tmp_path):
    save_involvit(tmp_path / "ours", seed=1)
    save_involvit(tmp_path / "copy", seed=0)
    names = [TorchClassifier(folder).name for folder in (saved[0], tmp_path / "ours", tmp_path / "copy")]
    assert names[0].startswith("ours@")
    assert names[0] != names[1]
    assert names[0].split("@")[1] == names[2].split("@")[1]


def test_weights_that_are_missing_are_refused(tmp_path):
    save_involvit(tmp_path)
    add_to_json(tmp_path / "config.json", rednet_depths=[1, 2])
    with pytest.raises(ValueError, match=r"its weights lack .*rednet\.layer2\.1\."):
        TorchClassifier(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rednet_stem_channels": 64},
            r"weights that do not fit its config\.json: .*layer1\.0\.conv1\.weight has the shape \[",
        ),
        ({"image_size": "32"}, "image_size"),
    ],
)
def test_a_configuration_that_does_not_fit_says_what_does_not(tmp_path, settings, message):
    save_involvit(tmp_path)
    add_to_json(tmp_path / "config.json", **settings)
    with pytest.raises(ValueError, match=message) as caught:
        TorchClassifier(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0": "no", str(10**30): "yes"}, "has a class number 1000000000000000000000000000000 of 2; count them from 0"),
        ({"-1": "no", "0": "yes"}, "has a class number -1 of 2; count"),  # and would give each the other's name
        ({"0": "no", "9" * 5000: "yes"}, "cannot be loaded as an image classification model: Exceeds the limit"),
    ],
)
def test_classes_are_counted_from_0(tmp_path, labels, message):
    save_resnet(tmp_path / "m")
    add_to_json(tmp_path / "m" / "config.json", id2label=labels)
    with pytest.raises(ValueError, match=f"m {message}"):
        TorchClassifier(tmp_path / "m")


def test_more_classes_than_can_be_are_refused_at_once(tmp_path):
    save_involvit(tmp_path / "m")
    add_to_json(tmp_path / "m" / "config.json", num_labels=10**30)
    with pytest.raises(ValueError, match="m cannot be loaded as an image classification model: num_labels is 1000"):
        TorchClassifier(tmp_path / "m")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_byte_order_mark_is_told_by_name(saved, tmp_path, name, encoding):
    path = shutil.copytree(saved[0], tmp_path / "m") / name
    path.write_text(path.read_text(), encoding=encoding)
    with pytest.raises(ValueError, match=f"m cannot be loaded: .*m/{name} begins with a byte order mark; save it as"):
        TorchClassifier(tmp_path / "m")


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder; name a folder that"):
        TorchClassifier(tmp_path / "nowhere")
    with pytest.raises(
        ValueError, match="'someone/model' is not a folder here, and cannot be loaded from the Hub"
    ) as caught:
        TorchClassifier("someone/model")
    assert "name the folder of a copy" in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file; name the model's folder"):
        TorchClassifier(tmp_path / "file")
    save_resnet(tmp_path / "unprocessed")
    (tmp_path / "unprocessed" / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"unprocessed holds no preprocessor_config\.json; save its image processor"):
        TorchClassifier(tmp_path / "unprocessed")
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot be loaded as an image classification model") as caught:
        TorchClassifier(tmp_path)
    assert "\n" not in str(caught.value)


def test_code_of_a_model_runs_only_where_it_is_trusted(tmp_path, trap):
    sprung, line = trap
    folder = tmp_path / "strange"
    save_resnet(folder)
    (folder / "strange.py").write_text(line)
    auto_map = {"AutoConfig": "strange.Config", "AutoModelForImageClassification": "strange.Model"}
    add_to_json(folder / "config.json", model_type="strange", auto_map=auto_map)
    with pytest.raises(ValueError, match="strange brings code of its own, which is not run here; name a") as caught:
        TorchClassifier(folder, trust_remote_code=False)
    assert "\n" not in str(caught.value)
    assert not sprung.exists()
    with pytest.raises(ValueError, match="no attribute 'Config'"):
        TorchClassifier(folder)
    assert sprung.exists()


def test_code_of_an_image_processor_runs_only_where_it_is_trusted(tmp_path, trap):
    sprung, line = trap
    folder = tmp_path / "strange"
    save_resnet(folder)
    (folder / "strange.py").write_text(line)
    auto_map = {"AutoImageProcessor": "strange.Processor"}
    add_to_json(folder / "preprocessor_config.json", image_processor_type="StrangeProcessor", auto_map=auto_map)
    add_to_json(folder / "config.json", model_type="resnet")
    with pytest.raises(ValueError, match="strange brings code of its own, which is not run here") as caught:
        TorchClassifier(folder, trust_remote_code=False)
    assert "\n" not in str(caught.value)
    assert not sprung.exists()


def test_what_the_library_has_itself_loads_without_the_code_beside_it(tmp_path, trap, images):
    sprung, line = trap
    model, processor = save_resnet(tmp_path / "theirs")
    (tmp_path / "theirs" / "strange.py").write_text(line)
    auto_map = {"AutoConfig": "strange.Config", "AutoModelForImageClassification": "strange.Model"}
    add_to_json(tmp_path / "theirs" / "config.json", auto_map=auto_map)
    result = TorchClassifier(tmp_path / "theirs", trust_remote_code=False)(images)
    np.testing.assert_allclose(result, probabilities(model, processor, images), atol=1e-5)
    model, processor = save_involvit(tmp_path / "ours")
    assert "auto_map" in json.loads((tmp_path / "ours" / "config.json").read_text())
    for name in ("configuration_involvit.py", "modeling_involvit.py", "image_processing_involvit.py"):
        (tmp_path / "ours" / name).write_text(line)
    for trust_remote_code in (False, True):
        result = TorchClassifier(tmp_path / "ours", trust_remote_code)(images)
        np.testing.assert_allclose(result, probabilities(model, processor, images), atol=1e-5)
    assert not sprung.exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return self.file.touch, ()


@pytest.mark.parametrize("trust_remote_code", [False, True])
def test_code_in_pickled_weights_never_runs(tmp_path, trap, trust_remote_code):
    sprung, _ = trap
    model, _ = save_resnet(tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    path = tmp_path / "pickled" / "pytorch_model.bin"
    torch.save(model.state_dict(), path)
    TorchClassifier(tmp_path / "pickled", trust_remote_code)
    torch.save({**model.state_dict(), "extra": Trap(sprung)}, path)
    with pytest.raises(ValueError, match="cannot be loaded as an image classification model"):
        TorchClassifier(tmp_path / "pickled", trust_remote_code)
    assert not sprung.exists()
    torch.load(path, weights_only=False)
    assert sprung.exists()
