"""What accelerate would do silently: train alone in each of several processes, or leave out an engine."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from involvit.training.accelerator import build_accelerator
from involvit.training.engines import set_up_engine
from involvit.training.recipe import Recipe

from .training_runs import ROOT, FailedRunError

PLACE = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
TORCHRUN = {**PLACE, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "x"}


@pytest.fixture
def as_torchrun(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **options: None)  # it would wait for the other


def test_two_processes_that_would_each_train_alone_are_refused_with_the_line_that_works(as_torchrun, run, tmp_path):
    with pytest.raises(FailedRunError, match=r"\Aerror: 2 processes .*\n\Z") as failure:
        run(tmp_path / "out")
    assert "ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 train.py" in failure.value.printed
    assert failure.value.status == 2
    assert not (tmp_path / "out").exists()


def test_the_other_process_ends_without_a_word(as_torchrun, run, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(FailedRunError) as failure:
        run(tmp_path / "out")
    assert (failure.value.status, failure.value.printed) == (2, "")


def test_an_engine_that_accelerate_leaves_out_on_cpus_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(FailedRunError, match=r"\Aerror: accelerate leaves FSDP out on CPUs; .*\n\Z"):
        run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_accelerate_config_says_of_accumulation_does_not_scale_the_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = build_accelerator(Recipe(output_dir=str(tmp_path), report_to="none", mixed_precision="no"))
    assert isinstance(accelerator, Accelerator)
    assert accelerator.gradient_accumulation_steps == 1


def deepspeed(**config):
    plugin = SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 3}, **config})
    return SimpleNamespace(distributed_type=DistributedType.DEEPSPEED, state=SimpleNamespace(deepspeed_plugin=plugin))


@pytest.mark.parametrize(("max_grad_norm", "clipping"), [(0.5, 0.5), (None, 0.0)])
def test_deepspeed_is_told_the_recipe_and_that_a_whole_model_is_saved(max_grad_norm, clipping):
    accelerator = deepspeed(gradient_clipping=1.0, gradient_accumulation_steps=4, train_batch_size="auto")
    set_up_engine(accelerator, Recipe(output_dir="out", batch_size=6, max_grad_norm=max_grad_norm))
    assert accelerator.state.deepspeed_plugin.deepspeed_config == {
        "train_micro_batch_size_per_gpu": 6,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": clipping,
        "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
    }


@pytest.mark.parametrize("section", ["optimizer", "scheduler"])
def test_a_deepspeed_configuration_that_decides_what_the_recipe_does_is_refused(section):
    with pytest.raises(ValueError, match=f"has a section {section}; take it out"):
        set_up_engine(deepspeed(**{section: {}}), Recipe(output_dir="out"))


def test_every_file_of_settings_stands_in_the_page_on_scaling():
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert [path.name for path in (ROOT / "configs" / "accelerate").iterdir() if path.name not in page] == []
