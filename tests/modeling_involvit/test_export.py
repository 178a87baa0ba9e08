"""`torch.export` and what builds on it: plain ATen operations, in files that need nothing of this project."""

import copy
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

from modeling_involvit import Involution2d, InvolViTConfig, InvolViTForImageClassification, involution

from .involution_reference import involution_by_unfold, random_inputs, relative_error, value_and_gradients
from .involvit_reference import TINY, assert_all_close, randomize

SMALL = {**TINY, "rednet_depths": (1, 1), "rednet_widths": (64, 128), "vit_num_layers": 1}
LOAD_AND_RUN = """
import sys
sys.modules.update(modeling_involvit=None, involvit=None)  # importing them is an error
import torch
from transformers import modeling_outputs
program, pixel_values, logits = sys.argv[1:]
answer = torch.export.load(program).module()(torch.load(pixel_values))
assert type(answer) is modeling_outputs.ImageClassifierOutput
torch.save(answer.logits, logits)
"""


class Operator(nn.Module):
    def __init__(self, stride=1):
        super().__init__()
        self.stride = stride

    def forward(self, x, weight):
        return involution(x, weight, self.stride)


def namespaces(program):
    """Whose operators a program calls."""
    return {node.target.namespace for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "size"), [(3, 1, (5, 8)), (7, 1, (4, 4)), (7, 2, (8, 7)), (3, 3, (7, 5)), (1, 2, (5, 6))]
)
def test_the_written_out_operator_has_the_operators_values_and_gradients(kernel_size, stride, size, strict):
    inputs = random_inputs(2, 12, *size, groups=3, kernel_size=kernel_size, stride=stride)
    program = torch.export.export(Operator(stride), inputs, strict=strict)
    assert namespaces(program) == {"aten"}
    written_out = program.module()
    ours = value_and_gradients(lambda x, weight, stride: written_out(x, weight), *inputs, stride)
    for reference in (involution, involution_by_unfold):
        for value, exact in zip(ours, value_and_gradients(reference, *inputs, stride), strict=True):
            torch.testing.assert_close(value, exact)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_batch_and_image_size_can_be_free(stride):
    layer = randomize(Involution2d(8, 3, stride, group_channels=4)).eval()
    axes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    program = torch.export.export(layer, (torch.randn(2, 8, 12, 18),), dynamic_shapes=(axes,))
    for shape in ((1, 8, 15, 24), (5, 8, 7, 8), (3, 8, 12, 18)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_summed_in_float32(dtype):
    x, weight = random_inputs(2, 32, 17, 16, groups=2, kernel_size=7, stride=2)
    half = x.to(dtype), weight.to(dtype)
    written_out = torch.export.export(Operator(2), half).module()
    ours = value_and_gradients(lambda x, weight, stride: written_out(x, weight), *half, 2)
    for value, exact in zip(ours, value_and_gradients(involution_by_unfold, x, weight, 2), strict=True):
        assert value.dtype == dtype
        assert relative_error(value, exact) <= 2e-2

    x, weight = torch.full((1, 1, 3, 3), 30000, dtype=dtype), torch.ones(1, 1, 3, 3, 3, 3, dtype=dtype)
    weight[:, :, 1:] = -1  # 30000 * (3 - 3) passes the largest float16 on its way
    weight[:, :, 2] = 0
    assert torch.export.export(Operator(), (x, weight)).module()(x, weight)[0, 0, 1, 1] == 0


def test_autocast_is_exported_as_it_runs():
    layer = randomize(Involution2d(8, 7, group_channels=4)).eval()
    x = torch.randn(2, 8, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = torch.export.export(layer, (x,)).module()(x)
        torch.testing.assert_close(out, layer(x), rtol=1e-2, atol=1e-2)
    assert out.dtype == torch.bfloat16


def test_a_program_without_device_or_of_arguments_that_do_not_fit():
    x, weight = torch.randn(1, 4, 5, 5, device="meta"), torch.randn(1, 2, 3, 3, 5, 5, device="meta")
    assert namespaces(torch.export.export(Operator(), (x, weight))) == {"aten"}
    with pytest.raises(ValueError, match=r"weight \[1, 2, 3, 3, 5, 5\]"):
        torch.export.export(Operator(), (torch.randn(1, 4, 5, 5), torch.randn(1, 2, 3, 3, 5, 6)))


def test_an_exported_layer_trains_as_the_layer_does():
    layer = randomize(Involution2d(8, 7, 2, group_channels=4)).train()
    x = torch.randn(3, 8, 9, 8)
    exported = torch.export.export(copy.deepcopy(layer), (x,)).module()
    for module in (layer, exported):
        module(x).square().sum().backward()
    reference, ours = ({name: p.grad for name, p in module.named_parameters()} for module in (layer, exported))
    assert_all_close(ours, reference, rtol=1e-4, atol=1e-4)
    assert_all_close(exported.state_dict(), layer.state_dict())


@pytest.fixture(scope="module")
def model():
    """A small fusion model in evaluation mode, each of its tensors random, without gradients."""
    torch.manual_seed(0)
    return randomize(InvolViTForImageClassification(InvolViTConfig(**SMALL))).eval().requires_grad_(False)


def test_a_saved_program_runs_where_this_project_is_not(model, tmp_path):
    pixel_values = torch.randn(3, 3, 64, 64)
    program = torch.export.export(model, (pixel_values[:2],), dynamic_shapes={"pixel_values": {0: Dim.DYNAMIC}})
    paths = [tmp_path / name for name in ("model.pt2", "pixel_values.pt", "logits.pt")]
    torch.export.save(program, paths[0])
    torch.save(pixel_values, paths[1])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", LOAD_AND_RUN, *map(str, paths)]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-4000:]
    torch.testing.assert_close(torch.load(paths[2]), model(pixel_values).logits, rtol=0, atol=1e-4)


def test_torchs_and_transformers_own_onnx_exports_run_in_onnxruntime(model, tmp_path):
    pixel_values = torch.randn(2, 3, 64, 64)
    shapes = {"pixel_values": {0: Dim.DYNAMIC}}
    torch.onnx.export(
        model, (pixel_values,), tmp_path / "torch.onnx", dynamo=True, dynamic_shapes=shapes, verbose=False
    )
    exporter = OnnxExporter()
    config = OnnxConfig(dynamic=True, dynamic_shapes=shapes)
    exporter.export(model, {"pixel_values": pixel_values}, config=config).save_pretrained(tmp_path / "transformers")
    for path in (tmp_path / "torch.onnx", tmp_path / "transformers" / "model.onnx"):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            images = torch.randn(batch, 3, 64, 64)
            logits = session.run(None, {"pixel_values": images.numpy()})[0]
            np.testing.assert_allclose(logits, model(images).logits.numpy(), atol=1e-4, rtol=0)
