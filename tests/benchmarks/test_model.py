"""The GPU mode of the models' benchmark, carried out on the CPU with small models and without its clock."""

import pytest
import torch

from benchmarks import model
from modeling_involvit import RedNet


@pytest.fixture(autouse=True)
def small_and_untimed(monkeypatch):
    def call(functions, rounds, seconds):
        for function in functions.values():
            function()
        return dict.fromkeys(functions, 0.5)

    monkeypatch.setattr(model, "time_in_turn", call)
    monkeypatch.setattr(model, "build", lambda name, size: RedNet((1,), (64,), stem_channels=32, num_classes=7))


def test_each_model_type_and_layout_has_a_row():
    flags = ["--models", "RedNet-50", "--size", "32", "--batch", "2", "--types", "float32", "bfloat16"]
    rows = model.gpu_rows(model.parse(flags), torch.device("cpu"))
    assert rows == [
        ["RedNet-50", layout, kind, 2, 4.0, None, 4.0]
        for layout in ("channels last", "contiguous")
        for kind in ("float32", "bfloat16")
    ]


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    def fail_above_two(network, images, kind):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return [1.0, 2.0, 3.0]

    monkeypatch.setattr(model, "measure_on_gpu", fail_above_two)
    flags = ["--models", "RedNet-50", "--size", "32", "--batch", "8", "--types", "float32", "--layouts", "contiguous"]
    (row,) = model.gpu_rows(model.parse(flags), torch.device("cpu"))
    assert row == ["RedNet-50", "contiguous", "float32", 2, 1.0, 2.0, 3.0]


def test_a_step_trains_and_float16_scales_its_loss():
    network = RedNet((1,), (64,), stem_channels=32, num_classes=7)
    before = network.fc.weight.detach().clone()
    optimizer = torch.optim.AdamW(network.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    model.training_step(network, torch.randn(2, 3, 32, 32), optimizer, scaler=scaler)
    assert not torch.equal(network.fc.weight, before)
    assert scaler.get_scale() == 16
