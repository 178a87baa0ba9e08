"""A trained model as one ONNX file that runs without torch: any batch size, in float32 or in int8.

- all operators are standard ones: `modeling_involvit` writes its own out wherever it is exported
- BatchNorm and weight standardisation are folded into the weights (`fold_for_inference`)
- the metadata carries labels and preprocessing
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image
from scipy.special import softmax
from torch import Tensor, nn
from transformers.utils import ModelOutput

from dataset_script.fer_dataset import RENDERED, load_fer_dataset
from dataset_script.labels import LABELS
from dataset_script.rendered.rendered_faces import LARGEST, SMALLEST, rendered_faces
from modeling_involvit import fold_for_inference

from ..cards import readable_card
from ..console import causes
from ..files import expand_user, whole_file
from ..pixels import to_rgb
from ..prediction.onnx_classifier import METADATA, pixel_values_of
from ..prediction.torch_classifier import load_network

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
TOLERANCE = 1e-4  # between the logits of torch and onnxruntime in float32, as a share of the largest where above 1
GREY_LEVELS = 3  # between pixels as torch and as Pillow resize them, of 255; one is usual
INT8_TOLERANCE = 0.1  # of the probability; 0.01 is usual
CALIBRATION_IMAGES = 20 * len(LABELS)

# What computes, and what only moves its 8-bit results about. Additions, normalisations, attention and the classifier
# stay in float32: quantising them as well was no faster.
_INT8_OPERATORS = ("Conv", "MatMul", "Relu", "Pad", "Gather", "Transpose", "Reshape", "Squeeze", "Unsqueeze")


def export_onnx(
    model: str | Path,
    out: str | Path,
    quantize: Literal["int8"] | None = None,
    calibration_data: str | Path | None = None,
) -> Path:
    """Writes a model as an ONNX file of opset 20.

    Its input is `pixel_values`, float32 [batch, 3, image_size, image_size], its output `logits`, float32
    [batch, labels]. Its logits are checked to be torch's, and int8's probabilities to be close to float32's. The
    metadata holds, each as JSON, `labels`, `image_size`, `image_mean`, `image_std`, `resample` (`"bilinear"`, ...),
    `name`, `license` (where the model's card states one) and `version` (of this package).

    Args:
        model: Folder or Hub id of an InvolViT or another image classification model of transformers whose image
            processor resizes to a square and normalises.
        out: File to write, ending in `.onnx`; it is replaced if it exists.
        quantize: `"int8"` for 8-bit weights and activations (static, per channel); None for float32.
        calibration_data: Faces by which int8 chooses the ranges of the activations, whatever `load_fer_dataset` reads;
            by default rendered ones.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: If the model, the data or the folder of `out` is not there.
        ModuleNotFoundError: If onnx, onnxruntime or onnxscript is not installed.
        ValueError: For anything else that cannot be used; the message says what to do.
    """
    out = expand_user(out)
    if out.suffix.lower() != ".onnx" or out.is_dir():
        raise ValueError(f"{out}: name a file that ends in .onnx")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent}: no such folder; create it, or name a file in another one")
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize is {quantize!r}; it is 'int8' or None")
    if calibration_data is not None and quantize is None:
        raise ValueError("calibration_data is for int8 only; leave it out, or quantize")
    if missing := [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(f"exporting needs {' and '.join(missing)}: pip install 'involvit[onnx]'")

    network, processor = load_network(str(model))
    network = network.eval()
    metadata = _metadata(model, network, processor)
    _check_preprocessing(model, processor, metadata)
    image_size = metadata["image_size"]
    calibration = None if quantize is None else _calibration_batches(calibration_data, processor, image_size)
    exported = _to_onnx(model, network, image_size)
    if calibration is not None:
        exported, float32 = _quantized(exported, calibration), exported
        _check_quantized(model, exported, float32, calibration)
    _write(exported, metadata, out)
    return out


def _metadata(model: str | Path, network: nn.Module, processor: Any) -> dict[str, Any]:
    """Collects what the file tells of the model; refuses an image processor that does not resize to a square."""
    size = getattr(processor, "size", None) or {}
    if not (size.get("height") and size["height"] == size.get("width") and processor.do_resize):
        raise ValueError(
            f"{model}: its {type(processor).__name__} does other things than resizing to a square, which the ONNX file "
            f"cannot express; set it so, or export another model"
        )
    folder = expand_user(model)
    card = readable_card(folder / "README.md")
    licence = card and card.data.get("license")
    return {
        "labels": [label for _, label in sorted(network.config.id2label.items())],
        "image_size": size["height"],
        "image_mean": list(processor.image_mean) if processor.do_normalize else [0.0] * 3,
        "image_std": list(processor.image_std) if processor.do_normalize else [1.0] * 3,
        "resample": Image.Resampling(int(processor.resample)).name.lower(),
        "name": folder.resolve().name,
        **({} if licence is None else {"license": licence}),
        "version": importlib.metadata.version("involvit"),
    }


def _check_preprocessing(model: str | Path, processor: Any, metadata: dict[str, Any]) -> None:
    """Refuses an image processor that does more than the metadata say, such as swapping colours or cropping."""
    generator = np.random.default_rng(0)
    images = [generator.integers(256, size=(*size, 3), dtype=np.uint8) for size in ((40, 50), (300, 200))]
    given = processor(images, return_tensors="pt", input_data_format="channels_last")["pixel_values"].numpy()
    said = pixel_values_of(images, *(metadata[key] for key in METADATA[1:]))
    if given.shape != said.shape:
        differs = f"it gives {given.shape[2]} x {given.shape[3]} pixels, not its size"
    else:
        grey_levels = 255 * np.reshape(metadata["image_std"], (3, 1, 1)) * np.abs(given - said)
        if grey_levels.max() < GREY_LEVELS:
            return
        differs = f"pixels differ by up to {grey_levels.max():.0f} of 255"
    raise ValueError(
        f"{model}: its {type(processor).__name__} does other things than resizing and normalising, which the ONNX file "
        f"cannot express: {differs}; set it so, or export another model"
    )


class _Logits(nn.Module):
    """Takes from what a network of transformers answers the only tensor that goes into the file."""

    def forward(self, answer: ModelOutput) -> Tensor:
        return answer.logits


def _to_onnx(model: str | Path, network: nn.Module, image_size: int) -> ModelProto:
    """Traces, translates and optimises the network, and checks the result against it."""
    import onnx_ir.passes.common
    from onnxscript import optimizer

    of_logits = nn.Sequential(OrderedDict(network=_folded(network), logits=_Logits())).eval()
    example, dynamic_batch = torch.zeros(2, 3, image_size, image_size), ({0: torch.export.Dim.DYNAMIC},)
    try:
        with torch.no_grad():
            program = torch.export.export(of_logits, (example,), dynamic_shapes=dynamic_batch)
        translated = torch.onnx.export(
            program,
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            input_names=["pixel_values"],
            output_names=["logits"],
            opset_version=OPSET,
            verbose=False,
        )
    except Exception as error:  # the exporter wraps whatever an operator raises
        root = list(causes(error))[-1]
        reason = str(root).strip().partition("\n")[0] or type(root).__name__
        raise ValueError(f"{model}: {type(network).__name__} cannot be translated to ONNX: {reason}") from error
    # With no limit on size all that follows from the weights alone becomes a weight, such as a standardised one.
    optimizer.optimize(translated.model, input_size_limit=2**40, output_size_limit=2**40)
    onnx_ir.passes.common.ClearMetadataAndDocStringPass()(translated.model)  # stack traces with this machine's paths
    exported = translated.model_proto
    _check(model, exported, network, image_size)
    return exported


def _folded(network: nn.Module) -> nn.Module:
    """Returns a folded copy of an InvolViT network, as the Predictor computes by; others with plain attention."""
    if network.config.model_type != "involvit":
        network.set_attn_implementation("eager")  # torch.export stumbles over Swin's with other ones
        return network
    folded = copy.deepcopy(network)
    fold_for_inference(folded)
    return folded


def _run(exported: ModelProto, batches: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Returns the logits [B, labels] of each batch [B, 3, H, W] in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(["logits"], {"pixel_values": pixel_values})[0] for pixel_values in batches]


def _check(model: str | Path, exported: ModelProto, network: nn.Module, image_size: int) -> None:
    """Refuses a graph whose logits are not the network's."""
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(batch, 3, image_size, image_size, generator=generator) for batch in (1, 3)]
    for pixel_values, logits in zip(batches, _run(exported, [batch.numpy() for batch in batches]), strict=True):
        with torch.inference_mode():
            expected = network(pixel_values).logits.numpy()
        difference = np.abs(logits - expected).max() / max(1, np.abs(expected).max())
        if not difference < TOLERANCE:
            raise ValueError(
                f"{model}: the logits of onnxruntime differ from torch's by {difference:.2g}; "
                f"{type(network).__name__} cannot be exported with these versions of torch and onnxscript"
            )


def _check_quantized(model: str | Path, quantized: ModelProto, float32: ModelProto, batches: list[np.ndarray]) -> None:
    """Refuses a quantised graph that a range unfit for 256 levels has made another model."""
    in_int8, in_float32 = (softmax(np.concatenate(_run(it, batches)), axis=1) for it in (quantized, float32))
    moved = np.abs(in_int8 - in_float32).sum(axis=1).mean() / 2
    if not moved < INT8_TOLERANCE:
        raise ValueError(
            f"{model}: int8 moves {moved:.0%} of the probability from class to class on the calibration faces; "
            "give faces like those to classify as calibration_data, or export float32"
        )


def _calibration_batches(data: str | Path | None, processor: Any, image_size: int) -> list[np.ndarray]:
    """Draws or reads faces and returns batches of `pixel_values`, float32 [<= 28, 3, image_size, image_size]."""
    if data is None or str(data) == RENDERED:
        size = min(max(image_size, SMALLEST), LARGEST)
        images = [face.image for face in rendered_faces(CALIBRATION_IMAGES, size, seed=0)]
    else:
        faces = load_fer_dataset(data)["train"]
        # Ordered by class: a stride through all sees each.
        chosen = faces.select(range(0, len(faces), max(1, len(faces) // CALIBRATION_IMAGES)))
        images = [to_rgb(image) for image in islice(chosen["image"], CALIBRATION_IMAGES)]
    pixel_values = processor(images, return_tensors="np")["pixel_values"]
    return np.array_split(pixel_values, -(-len(images) // 28))


def _quantized(exported: ModelProto, calibration: list[np.ndarray]) -> ModelProto:
    """Quantises statically to QuantizeLinear/DequantizeLinear pairs, which onnxruntime fuses into 8-bit operators."""
    import onnx
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    batches = ({"pixel_values": batch} for batch in calibration)
    with TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(exported, prepared)
        with np.errstate(invalid="ignore"):  # that infinite padding
            quantize_static(
                prepared,
                quantized,
                SimpleNamespace(get_next=lambda: next(batches, None)),
                op_types_to_quantize=list(_INT8_OPERATORS),
                nodes_to_exclude=list(_float32_nodes(onnx.load(prepared))),
                per_channel=True,
                reduce_range=True,  # 7-bit weights: processors without VNNI add pairs of products in 16 bits
                activation_type=QuantType.QUInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},  # what reads them takes float32
            )
        # The preparation declares each domain that onnxruntime knows.
        return onnx_ir.to_proto(RemoveUnusedOpsetsPass()(onnx_ir.load(quantized)).model)


def _float32_nodes(model: ModelProto) -> Iterator[str]:
    """Yields the names of nodes of the quantised types that are left in float32.

    - attention's products of two activations; the involution's, whose second factor was gathered, are quantised
    - padding with minus infinity, as before a max-pool: it leaves no range to divide into 256 levels
    """
    from onnx.numpy_helper import to_array

    weights = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    infinite = {name for name, values in weights.items() if np.isinf(values).any()}
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "MatMul" and not any(name in weights for name in node.input):
            second = made_by[node.input[1]]
            if second.op_type != "Reshape" or made_by[second.input[0]].op_type != "Gather":  # not gathered
                yield node.name
        elif node.op_type == "Pad" and infinite.intersection(node.input):
            yield node.name


def _write(exported: ModelProto, metadata: dict[str, Any], out: Path) -> None:
    """Checks the graph and writes it with its metadata."""
    import onnx

    onnx.helper.set_model_props(exported, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(exported, full_check=True)
    with whole_file(out) as beside:
        onnx.save(exported, beside)
