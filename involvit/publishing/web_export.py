"""A trained model as a folder of files that any web server can serve: the visitor's browser runs it, nothing is sent.

`web/` holds the page. Beside it lie the model with its weights in int8, YuNet, and `settings.json` with what the page
must know of them. onnxruntime-web runs both: from its CDN, or from a folder of the site. Either way the page runs only
what has the hash that the settings name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from markupsafe import Markup

from ..cards import readable_card
from ..colors import class_colors
from ..files import check_output_folder, expand_user, whole_folder
from ..hub_answer import fault_of_hub
from ..prediction.face_detection import (
    FER_LANDMARKS,
    YUNET_FILE,
    YUNET_MAX_OVERLAP,
    YUNET_MIN_SCORE,
    YUNET_REPO,
    YUNET_VIEWS,
    NoYuNetError,
    YuNetDetector,
    cached_yunet,
)
from ..prediction.torch_classifier import HUB_TIMEOUT_S
from .int8_weights import store_weights_in_int8
from .onnx_export import export_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

RUNTIME_VERSION = "1.30.0"
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{RUNTIME_VERSION}/dist/"
BUILDS = {
    "wasm": {
        "ort.wasm.bundle.min.mjs": "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
        "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
    },
    "webgpu": {
        "ort.webgpu.bundle.min.mjs": "sha384-1ntMeyj+z5diX6vBR5h+zlJBPc4iNvhCxE6nlammh8daBYcLBZkzrwDkuJjhwI+f",
        "ort-wasm-simd-threaded.asyncify.wasm": (
            "sha384-EPVDLTxuO663dkZO/pcKJF6vOyyfq/5z9FY1oksN0UWFX2ABH4wDDZQHeNoUleWR"
        ),
    },
}
"""Of each build of onnxruntime-web, script and program with their hashes; the CDN serves npm's files as they are."""
RESAMPLE = ("bilinear", "bicubic", "lanczos")  # what the page's resize.js knows
LARGE_BYTES = 6_000_000

_PAGE = Path(__file__).with_name("web")
_TEMPLATE = "index.html.jinja"
_OWN = {path.name for path in _PAGE.iterdir()} | {"index.html", "model.onnx", "faces.onnx", "settings.json", "runtime"}

logger = logging.getLogger(__name__)


def export_web(
    model: str | Path,
    out: str | Path,
    face_detector: str | Path | None = None,
    runtime: str | Path | None = None,
) -> Path:
    """Writes a folder with a page that shows a model at work, for any server of static files.

    It is complete when it appears. A site that this function wrote before is replaced.

    Args:
        model: Folder or Hub id, as for `export_onnx`.
        out: Folder to write.
        face_detector: YuNet's file; by default that of the Hub or its cache. Where there is none, a line in the log
            says so, and visitors mark the face themselves.
        runtime: Folder with onnxruntime-web, such as `dist/` of its npm package, which is copied to the site; by
            default the page loads it from its CDN.

    Returns:
        `out`.

    Raises:
        FileExistsError: If `out` holds other files.
        FileNotFoundError: If the model, the detector or a file of the runtime is not there.
        ModuleNotFoundError: If a package is missing.
        ValueError: For anything else that cannot be used; the message says what to do.
    """
    out = expand_user(out)
    check_output_folder(out, overwrite=True, own=_OWN)
    runtime_files = None if runtime is None else _runtime_files(expand_user(runtime))
    try:
        detector = face_detector or cached_yunet()
    except NoYuNetError as reason:
        detector = None
        logger.warning(
            f"visitors must mark faces themselves, because {reason}; get {YUNET_FILE} of the Hub's {YUNET_REPO} and "
            "pass its path with --face_detector"
        )
    else:
        YuNetDetector(detector)  # refuses other files
    with whole_folder(out, overwrite=True, own=_OWN) as site:
        metadata = _export_model(model, site / "model.onnx")
        limits = _limits(model)
        settings: dict[str, Any] = {
            "model": metadata,
            "colors": class_colors(metadata["labels"]),
            "faces": None if detector is None else _export_detector(Path(detector), site / "faces.onnx"),
            "runtime": {"url": CDN, "builds": {name: [*build.items()] for name, build in BUILDS.items()}},
        }
        if runtime_files is not None:
            (site / "runtime").mkdir()
            for name, content in chain.from_iterable(build.items() for build in runtime_files.values()):
                (site / "runtime" / name).write_bytes(content)
            hashed = {
                name: [(file, _integrity(content)) for file, content in build.items()]
                for name, build in runtime_files.items()
            }
            settings["runtime"] = {"url": "runtime/", "builds": hashed}
        (site / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        for file in _PAGE.iterdir():
            if file.name != _TEMPLATE:
                (site / file.name).write_bytes(file.read_bytes())
        page = jinja2.Template((_PAGE / _TEMPLATE).read_text(encoding="utf-8"), autoescape=True).render(
            policy=_policy(None if runtime_files else CDN), limits=limits, **{"license": None, **metadata}
        )
        (site / "index.html").write_text(page, encoding="utf-8")
    return out


def _policy(cdn: str | None) -> str:
    """Returns the page's content security policy: no connection but to its own files and the runtime's on the CDN."""
    # The runtime's script is run from memory, once its hash was checked: `blob:`.
    rules = {
        "default-src": "'none'",
        "script-src": "'self' 'wasm-unsafe-eval' blob:",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "media-src": "blob:",
        "connect-src": "'self'" if cdn is None else f"'self' {cdn}",
        "form-action": "'none'",
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def _export_model(model: str | Path, path: Path) -> dict[str, Any]:
    """Writes the model and returns what the file says of itself, and how `involvit predict` names it."""
    import onnx

    exported = onnx.load(export_onnx(model, path))
    metadata = {one.key: json.loads(one.value) for one in exported.metadata_props}
    if metadata["resample"] not in RESAMPLE:
        advice = f"the page knows {', '.join(RESAMPLE)}: set its image processor so"
        raise ValueError(f"{model} resizes by {metadata['resample']!r}; {advice}")
    store_weights_in_int8(exported)
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)
    content = path.read_bytes()
    if len(content) > LARGE_BYTES:
        logger.warning(f"{model} has {len(content) / 1e6:.0f} MB in int8, which visitors load at the start")
    digest = hashlib.sha256(content).hexdigest()[:8]
    return {**metadata, "model": metadata["name"], "file": path.name, "id": f"{path.name}@{digest}"}


def _export_detector(source: Path, path: Path) -> dict[str, Any]:
    """Writes YuNet for images of any size and returns how it is used; its file is for 640 x 640, as OpenCV reads it."""
    import onnx

    detector: ModelProto = onnx.load(source)
    for axis, name in ((2, "height"), (3, "width")):
        detector.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in detector.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"places_{output.name}"
    del detector.graph.value_info[:]
    onnx.checker.check_model(detector, full_check=True)
    onnx.save(detector, path)
    return {
        "file": path.name,
        "landmarks": FER_LANDMARKS.tolist(),
        "min_score": YUNET_MIN_SCORE,
        "max_overlap": YUNET_MAX_OVERLAP,
        "views": YUNET_VIEWS,
    }


def _runtime_files(folder: Path) -> dict[str, dict[str, bytes]]:
    """Reads the builds of onnxruntime-web; that for WebGPU may be missing."""
    for name in BUILDS["wasm"]:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; give dist/ of the npm package onnxruntime-web")
    return {
        name: {file: (folder / file).read_bytes() for file in build}
        for name, build in BUILDS.items()
        if all((folder / file).is_file() for file in build)
    }


def _integrity(content: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


def _limits(model: str | Path) -> Markup | None:
    """Returns the card's section on intended use and limits as HTML, in which the card's own HTML is text."""
    from markdown_it import MarkdownIt

    card = expand_user(model) / "README.md"
    try:
        if not card.parent.is_dir():
            no_hub = fault_of_hub(str(model), "README.md", HUB_TIMEOUT_S)
            card = hf_hub_download(str(model), "README.md", local_files_only=no_hub is not None)
    except (OSError, ValueError, HfHubHTTPError):  # no file there
        return None
    text = getattr(readable_card(card), "text", "")
    section = re.search(r"^## Intended use.*\n((?:.*\n)*?)(?=## |<!--|\Z)", f"{text}\n", flags=re.MULTILINE)
    return section and Markup(MarkdownIt("js-default").render(section[1]))
