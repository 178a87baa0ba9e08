import importlib.metadata
import json
import shutil
import sys
from contextlib import nullcontext

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from transformers import (
    CLIPImageProcessor,
    EfficientNetImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from dataset_script.rendered.rendered_faces import rendered_faces
from involvit.prediction.onnx_classifier import OnnxClassifier
from involvit.prediction.torch_classifier import TorchClassifier, load_network
from involvit.publishing import onnx_export
from involvit.publishing.onnx_export import export_onnx
from modeling_involvit import LABELS, InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from ...modeling_involvit.involution_reference import MODULE
from ...modeling_involvit.involvit_reference import TINY, randomize

SMALL = {**TINY, "rednet_depths": (1, 1), "rednet_widths": (64, 128), "vit_num_layers": 1}
CONTENT = {"labels", "image_size", "image_mean", "image_std", "resample", "name", "license", "version"}


@pytest.fixture(scope="module")
def involvit(tmp_path_factory):
    """A folder of a small fusion model, each of its tensors random, and the model."""
    folder = tmp_path_factory.mktemp("models") / "small-involvit"
    model = randomize(InvolViTForImageClassification(InvolViTConfig(**SMALL))).eval()
    with torch.no_grad():
        model.classifier.weight *= 3  # logits of a few units, as a trained model's
    model.save_pretrained(folder)
    InvolViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A model\n")
    return folder, model


@pytest.fixture(scope="module")
def exported(involvit, tmp_path_factory):
    """That model in float32."""
    return export_onnx(involvit[0], tmp_path_factory.mktemp("float32") / "model.onnx")


@pytest.fixture(scope="module")
def quantized(involvit, tmp_path_factory):
    """That model in int8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "CALIBRATION_IMAGES", 28)
        return export_onnx(involvit[0], tmp_path_factory.mktemp("int8") / "model.onnx", "int8")


def run(path, pixel_values):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"pixel_values": pixel_values.numpy()})[0]


def logits_of(model, pixel_values):
    with torch.inference_mode():
        return model(pixel_values).logits.numpy()


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_logits_equal_torchs_at_any_batch_size(involvit, exported, batch):
    pixel_values = torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(batch))
    expected = logits_of(involvit[1], pixel_values)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(run(exported, pixel_values), expected, atol=1e-4, rtol=0)


def test_the_file_is_standard_onnx_with_named_axes_and_nothing_of_this_machine(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", onnx_export.OPSET)]
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"pixel_values": ["batch", 3, 64, 64], "logits": ["batch", 7]}
    assert b".py" not in exported.read_bytes()


def test_norms_and_standardised_weights_are_folded(exported):
    graph = onnx.load(exported).graph
    weights = {tensor.name for tensor in graph.initializer}
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Conv":
            assert node.input[1] in weights
        if node.op_type == "BatchNormalization":
            assert made_by[node.input[0]] != "Conv"


def test_the_file_and_the_classifier_are_folded_and_compute_what_the_model_does(involvit, exported):
    folder, model = involvit
    pixel_values = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    expected = logits_of(model, pixel_values)
    classifier = TorchClassifier(folder)
    assert classifier.network.is_folded
    for logits in (run(exported, pixel_values), logits_of(classifier.network, pixel_values)):
        np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    copied = onnx_export._folded(model)
    assert copied.is_folded and not hasattr(model, "is_folded")  # by which the file is checked


def test_metadata_is_json_of_the_configuration(exported):
    properties = onnx.load(exported).metadata_props
    metadata = {entry.key: json.loads(entry.value) for entry in properties}
    assert metadata == {
        "labels": list(LABELS),
        "image_size": 64,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": "bilinear",
        "name": "small-involvit",
        "license": "cc-by-4.0",
        "version": importlib.metadata.version("involvit"),
    }


def test_the_onnx_classifier_gives_the_models_probabilities(involvit, exported):
    folder, model = involvit
    images = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(3)]
    pixel_values = InvolViTImageProcessor.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"]
    expected = softmax(logits_of(model, pixel_values), axis=1)
    np.testing.assert_allclose(OnnxClassifier(exported)(images), expected, atol=1e-4)


def test_int8_computes_in_8_bits_and_stays_close(involvit, exported, quantized):
    faces = [face.image for face in rendered_faces(42, 96, seed=1)]  # other persons than those it was calibrated with
    faces = InvolViTImageProcessor.from_pretrained(involvit[0])(faces, return_tensors="pt")["pixel_values"]
    expected, probabilities = (softmax(run(path, faces), axis=1) for path in (exported, quantized))
    assert np.abs(probabilities - expected).mean() < 0.02
    assert quantized.stat().st_size < 0.5 * exported.stat().st_size
    model = onnx.load(quantized)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", onnx_export.OPSET)]
    assert {entry.key for entry in model.metadata_props} == CONTENT


def test_int8_leaves_attention_and_classifier_in_float32(quantized):
    graph = onnx.load(quantized).graph
    made_by = {name: node for node in graph.node for name in node.output}
    read_by = {name: node.op_type for node in graph.node for name in node.input}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    in_float = [
        node for node in products if not all(made_by[name].op_type == "DequantizeLinear" for name in node.input[:2])
    ]
    kinds = [read_by.get(node.output[0], "logits") for node in in_float]
    # two products a layer: queries by keys goes to the softmax, probabilities by values comes from it
    attention = [node for node in in_float if node.op_type == "MatMul"]
    assert len(attention) == 2 * SMALL["vit_num_layers"]
    assert kinds.count("Softmax") == SMALL["vit_num_layers"]
    assert [node.output[0] for node in in_float if node.op_type == "Gemm"] == ["logits"]
    involutions = 1 + sum(SMALL["rednet_depths"])
    assert len(products) - len(in_float) == 4 * SMALL["vit_num_layers"] + involutions


def test_other_architectures_are_exported_too(tmp_path):
    torch.manual_seed(0)
    labels = {0: "calm", 1: "cross", 2: "content"}
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path / "vit")
    processor = ViTImageProcessor(size={"height": 32, "width": 32}, resample=3)
    processor.save_pretrained(tmp_path / "vit")
    classifier = OnnxClassifier(export_onnx(tmp_path / "vit", tmp_path / "vit.onnx"))
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(3)]
    expected = softmax(logits_of(model, processor(images, return_tensors="pt")["pixel_values"]), axis=1)
    np.testing.assert_allclose(classifier(images), expected, atol=1e-4)
    assert classifier.labels == ("calm", "cross", "content")

    ViTImageProcessor(size={"height": 32, "width": 40}).save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match="other things than resizing to a square"):
        export_onnx(tmp_path / "vit", tmp_path / "oblong.onnx")
    assert not (tmp_path / "oblong.onnx").exists()

    normalises_twice = EfficientNetImageProcessor(size={"height": 32, "width": 32}, include_top=True)
    normalises_twice.save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match=r"EfficientNetImageProcessor.* does other things .* pixels differ by"):
        export_onnx(tmp_path / "vit", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize(
    ("network", "config"),
    [
        (SwinForImageClassification, SwinConfig(image_size=32, embed_dim=16, depths=[1], num_heads=[2], window_size=4)),
        (ResNetForImageClassification, ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
    ],
)
def test_attention_of_other_kinds_and_none_are_exported(network, config, tmp_path):
    torch.manual_seed(0)
    model = network(config).eval()
    model.save_pretrained(tmp_path / "m")
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "m")
    classifier = OnnxClassifier(export_onnx(tmp_path / "m", tmp_path / "m.onnx"))
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(3)]
    expected = softmax(logits_of(model, processor(images, return_tensors="pt")["pixel_values"]), axis=1)
    np.testing.assert_allclose(classifier(images), expected, atol=1e-4)


def test_a_model_of_the_working_folder_keeps_its_name_and_a_card_that_cannot_be_read_is_none(
    involvit, tmp_path, monkeypatch
):
    folder = shutil.copytree(involvit[0], tmp_path / "mine")
    monkeypatch.chdir(folder)
    for card in (b"---\ntitle: My model: the best\n---\n", "café".encode("cp1252")):
        (folder / "README.md").write_bytes(card)
        network, processor = load_network(".")
        metadata = onnx_export._metadata(".", network, processor)
        assert metadata["name"] == "mine"
        assert "license" not in metadata


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_rescale": False}, "pixels differ by"),
        ({"rescale_factor": 1 / 127.5}, "pixels differ by"),
        ({"do_center_crop": True, "crop_size": {"height": 24, "width": 24}}, "it gives 24 x 24 pixels, not its size"),
        ({"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}, None),  # which changes nothing
    ],
)
def test_preprocessing_is_compared_by_its_pixels(settings, message):
    processor = CLIPImageProcessor(size={"height": 32, "width": 32}, **{"do_center_crop": False, **settings})
    metadata = {
        "labels": ["calm", "cross"],
        "image_size": 32,
        "image_mean": processor.image_mean,
        "image_std": processor.image_std,
        "resample": "bicubic",
    }
    with nullcontext() if message is None else pytest.raises(ValueError, match=message):
        onnx_export._check_preprocessing("m", processor, metadata)


def test_calibration_faces_are_spread_over_the_classes_of_a_source(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "CALIBRATION_IMAGES", 6)
    seen = []

    def processor(images, return_tensors):
        seen.extend(image[0, 0] for image in images)
        return {"pixel_values": np.zeros((len(images), 3, 8, 8), np.float32)}

    for index, label in enumerate(("Angry", "Happy", "Sad")):
        for number in range(10):
            path = tmp_path / "faces" / label / f"Person{number}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 50 * index + number).save(path)
    batches = onnx_export._calibration_batches(tmp_path / "faces", processor, 8)
    assert [len(batch) for batch in batches] == [6]
    assert {int(pixel[0]) // 50 for pixel in seen} == {0, 1, 2}
    assert all(len(pixel) == 3 for pixel in seen)


def test_a_graph_that_disagrees_is_not_written(tmp_path, monkeypatch):
    folder = tmp_path / "rednet"
    config = InvolViTConfig(
        image_size=32, branches="rednet", rednet_depths=(1,), rednet_widths=(64,), rednet_stem_channels=32
    )
    randomize(InvolViTForImageClassification(config)).save_pretrained(folder)
    InvolViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    monkeypatch.setattr(MODULE, "_written_out", lambda x, weight, stride: x[:, :, ::stride, ::stride])
    with pytest.raises(ValueError, match="differ from torch's by"):
        export_onnx(folder, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["rednet"]


def test_an_int8_graph_that_answers_otherwise_is_refused(exported):
    float32 = onnx.load(exported)
    other = onnx.load(exported)
    for tensor in other.graph.initializer:
        if tensor.name.endswith("classifier.weight"):
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(-values, tensor.name))
    batches = [np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)]
    onnx_export._check_quantized("model", float32, float32, batches)
    with pytest.raises(ValueError, match="of the probability from class to class"):
        onnx_export._check_quantized("model", other, float32, batches)


@pytest.mark.parametrize(
    ("model", "out", "options", "error", "message"),
    [
        ("MODEL", "model.bin", {}, ValueError, "name a file that ends in .onnx"),
        ("MODEL", "nowhere/model.onnx", {}, FileNotFoundError, "nowhere: no such folder; create it"),
        ("MODEL", "model.onnx", {"quantize": "int4"}, ValueError, "quantize is 'int4'; it is 'int8' or None"),
        ("MODEL", "model.onnx", {"calibration_data": "faces"}, ValueError, "calibration_data is for int8 only"),
        (
            "MODEL",
            "model.onnx",
            {"quantize": "int8", "calibration_data": "nowhere"},
            FileNotFoundError,
            "'nowhere' does not exist",
        ),
        ("./nowhere", "model.onnx", {}, FileNotFoundError, "./nowhere: no such folder"),
        ("EMPTY", "model.onnx", {}, ValueError, r"empty holds no config\.json, so it is no model; name one"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(involvit, tmp_path, model, out, options, error, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    model = {"MODEL": involvit[0], "EMPTY": empty}.get(model, model)
    with pytest.raises(error, match=message) as caught:
        export_onnx(model, tmp_path / out, **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_library_is_named_with_what_installs_it(involvit, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf"exporting needs {name}: pip install 'involvit\[onnx\]'"):
        export_onnx(involvit[0], tmp_path / "model.onnx")


def test_a_failed_write_leaves_the_old_file(involvit, exported, tmp_path, monkeypatch):
    out = tmp_path / "model.onnx"
    out.write_bytes(b"old")

    def full_disk(model, path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(onnx, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        onnx_export._write(onnx.load(exported), {}, out)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.onnx": b"old"}
