"""`involvit export --format web`: what the folder holds, and what is refused. tests/browser shows how it works."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from scipy.special import softmax

from involvit import cli
from involvit.colors import CLASS_COLORS
from involvit.prediction.face_detection import FER_LANDMARKS
from involvit.prediction.onnx_classifier import OnnxClassifier
from involvit.publishing import web_export
from involvit.publishing.int8_weights import store_weights_in_int8
from involvit.publishing.onnx_export import export_onnx
from involvit.publishing.web_export import BUILDS, CDN, export_web
from modeling_involvit import LABELS, InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

from ...modeling_involvit.involvit_reference import TINY, randomize

CARD = """---
license: cc-by-4.0
---
# A model

## Intended use and limits

**Not** for <script>alert(1)</script>.

- [more](https://example.org)

## Citation

None.
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a small model with a card."""
    folder = tmp_path_factory.mktemp("models") / "small"
    network = randomize(InvolViTForImageClassification(InvolViTConfig(**TINY, branches="rednet"))).eval()
    network.save_pretrained(folder)
    InvolViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A folder that passes for onnxruntime-web's, without its build for WebGPU."""
    folder = tmp_path_factory.mktemp("dist")
    for name in BUILDS["wasm"]:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """A file with YuNet's input and one output, and nothing that checks it further."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 640, 640]) for name in ("input", "cls_8")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["cls_8"])], "yunet", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), tmp_path / "y.onnx")
    monkeypatch.setattr(web_export, "YuNetDetector", lambda path: None)
    return tmp_path / "y.onnx"


@pytest.fixture(scope="module")
def float32(model, tmp_path_factory):
    """The file of that model."""
    return export_onnx(model, tmp_path_factory.mktemp("float32") / "model.onnx")


@pytest.fixture
def quick(float32, monkeypatch):
    """Takes that file for the export of any model."""
    monkeypatch.setattr(web_export, "export_onnx", lambda model, out: shutil.copy(float32, out))


@pytest.fixture(scope="module")
def site(model, runtime, tmp_path_factory):
    """The page of that model, without a detector: none is in the cache, and the suite is offline."""
    return export_web(model, tmp_path_factory.mktemp("sites") / "site", runtime=runtime)


class Page(HTMLParser):
    """What a page loads, and its policy."""

    def __init__(self, path):
        super().__init__()
        self.loaded, self.policy, self.tags = [], {}, []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag in ("script", "link", "img"):
            self.loaded.append(attributes.get("src") or attributes.get("href"))
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(rule.strip().split(" ", 1) for rule in attributes["content"].split(";"))


def test_the_folder_holds_all_that_the_page_needs(site, runtime):
    settings = json.loads((site / "settings.json").read_text())
    page = Page(site / "index.html")
    names = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert set(page.loaded) - {"data:,"} <= names
    for script in site.glob("*.js"):  # and what each imports
        assert {one.removeprefix("./") for one in re.findall(r'from "(.+?)"', script.read_text())} <= names
    assert settings["model"]["file"] in names and not [name for name in names if name.endswith(".jinja")]
    for name, integrity in settings["runtime"]["builds"]["wasm"]:
        content = (site / settings["runtime"]["url"] / name).read_bytes()
        assert content == (runtime / name).read_bytes()
        assert integrity == f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"
    assert list(settings["runtime"]["builds"]) == ["wasm"]  # no more was given


def test_labels_size_and_colours_are_those_of_the_model(site, model):
    settings = json.loads((site / "settings.json").read_text())
    of_file = OnnxClassifier(site / "model.onnx")
    assert settings["model"]["labels"] == list(of_file.labels) == list(LABELS)
    assert (settings["model"]["image_size"], settings["model"]["resample"]) == (64, "bilinear")
    assert settings["model"]["id"] == of_file.name
    assert settings["colors"] == CLASS_COLORS and settings["faces"] is None


def test_the_page_may_connect_to_nothing_but_its_own_files_and_the_runtime(site, model, detector, quick, tmp_path):
    assert Page(site / "index.html").policy["connect-src"] == "'self'"
    from_cdn = Page(export_web(model, tmp_path / "cdn", detector) / "index.html").policy
    assert from_cdn["connect-src"] == f"'self' {CDN}"
    assert from_cdn["default-src"] == "'none'" and from_cdn["script-src"] == "'self' 'wasm-unsafe-eval' blob:"
    assert "unsafe-inline" not in str(from_cdn)
    settings = json.loads((tmp_path / "cdn" / "settings.json").read_text())
    assert settings["runtime"]["url"] == CDN
    assert dict(settings["runtime"]["builds"]["webgpu"]) == BUILDS["webgpu"]
    assert settings["faces"]["landmarks"] == FER_LANDMARKS.tolist()
    shape = onnx.load(tmp_path / "cdn" / "faces.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in shape] == [1, 3, 0, 0]  # any size


def test_the_page_shows_the_limits_of_the_card_and_runs_none_of_its_html(site):
    text = (site / "index.html").read_text("utf-8")
    assert "<strong>Not</strong> for &lt;script&gt;alert(1)" in text
    assert '<a href="https://example.org">more</a>' in text
    assert "None." not in text and "(cc-by-4.0)" in text
    assert Page(site / "index.html").tags.count("script") == 1


def test_weights_in_int8_are_smaller_and_answer_nearly_the_same(site, float32):
    pixels = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    ours, theirs = (
        softmax(onnxruntime.InferenceSession(one).run(["logits"], {"pixel_values": pixels})[0], axis=1)
        for one in (site / "model.onnx", float32)
    )
    assert np.abs(ours - theirs).max() < 0.02
    types = {weight.data_type for weight in onnx.load(site / "model.onnx").graph.initializer if len(weight.dims) > 2}
    assert TensorProto.INT8 in types
    assert (site / "model.onnx").stat().st_size < 0.65 * float32.stat().st_size  # a small model's graph is as large


def test_int8_weights_are_rounded_to_half_a_step_of_their_channel():
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((64, 32)).astype(np.float32) * np.geomspace(0.01, 10, 32, dtype=np.float32)
    weight[:, 5] = 0
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 64), ("y", 32))
    ]
    initializer = onnx.numpy_helper.from_array(weight, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "product", ends[:1], ends[1:], [initializer]
    )
    product = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    store_weights_in_int8(product)
    onnx.checker.check_model(product, full_check=True)
    session = onnxruntime.InferenceSession(product.SerializeToString())
    (stored,) = session.run(["y"], {"x": np.eye(64, dtype=np.float32)})
    assert (np.abs(stored - weight) <= np.abs(weight).max(axis=0) / 127 * 0.501).all()


def test_a_site_is_replaced_as_a_whole_and_nothing_else_is(model, runtime, detector, quick, tmp_path, monkeypatch):
    site = export_web(model, tmp_path / "site", detector, runtime)
    assert (site / "faces.onnx").exists()
    assert not (export_web(model, site, runtime=runtime) / "faces.onnx").exists()
    before = sorted(path.name for path in site.iterdir())
    monkeypatch.setattr(web_export, "_policy", lambda cdn: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_web(model, site, runtime=runtime)
    assert sorted(path.name for path in site.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "y.onnx"]
    (site / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        export_web(model, site, runtime=runtime)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the folder for the page with --out"),
        (["--out", "OUT", "--quantize", "int8"], "--quantize is not for --format web"),
        (["--out", "OUT", "--runtime", "nowhere"], "ort.wasm.bundle.min.mjs is missing; give dist/ of the npm package"),
        (["--out", "OUT", "--face_detector", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["--out", "FILE"], "is a file; name a folder"),
        (["--format", "onnx", "--runtime", "x"], "--runtime is not for --format onnx"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, message, model, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    places = {"OUT": str(tmp_path / "site"), "FILE": str(tmp_path / "file")}
    assert cli.main(["export", str(model), "--format", "web", *(places.get(word, word) for word in words)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ") and message in complaint and complaint.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_filter_that_the_page_does_not_know_is_refused(model, tmp_path):
    processor = json.loads((model / "preprocessor_config.json").read_text()) | {"resample": 0}
    for path in model.iterdir():
        (tmp_path / "nearest").mkdir(exist_ok=True)
        (tmp_path / "nearest" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "nearest" / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ValueError, match="resizes by 'nearest'; the page knows bilinear"):
        export_web(tmp_path / "nearest", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_the_script_is_at_most_500_lines_of_code():
    lines = 0
    for path in (Path(web_export.__file__).parent / "web").glob("*.js"):
        code = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)
        lines += sum(bool(line.strip()) and not line.strip().startswith("//") for line in code.splitlines())
    assert 0 < lines <= 500
