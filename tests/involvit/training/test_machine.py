from types import SimpleNamespace

import datasets
import joblib
import pytest
import torch

from involvit.training import loaders, machine
from involvit.training.accelerator import build_accelerator
from involvit.training.loaders import build_loaders
from involvit.training.machine import chosen_precision, has_bfloat16, loading_processes, share_of_cores
from involvit.training.recipe import Recipe, parse_recipe
from modeling_involvit import InvolViTImageProcessor

from .training_runs import FailedRunError


def capabilities(monkeypatch, **found):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)


@pytest.fixture(autouse=True)
def as_by_accelerate_launch_without_flags(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")


@pytest.mark.parametrize(("cores", "on_cpu", "on_gpu"), [(1, 0, 1), (2, 0, 1), (4, 1, 3), (16, 4, 15)])
def test_a_gpu_has_all_cores_but_one_load_and_a_cpu_one_in_four(cores, on_cpu, on_gpu):
    assert loading_processes("auto", cores, "cpu") == on_cpu
    assert loading_processes("auto", cores, "cuda") == on_gpu
    assert loading_processes(3, cores, "cuda") == 3


def test_processes_of_a_machine_share_its_cores_and_a_number_of_threads_is_a_share(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (share_of_cores(None), share_of_cores(6)) == (4, 6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "32")
    assert share_of_cores(None) == 1


@pytest.mark.parametrize(("fields", "threads"), [({}, 6), ({"num_workers": 3}, 8), ({"num_threads": 5}, 5)], ids=str)
def test_threads_leave_the_cores_that_load_images_alone(monkeypatch, tmp_path, fields, threads):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    before = torch.get_num_threads()
    try:
        build_accelerator(Recipe(str(tmp_path), report_to="none", mixed_precision="no", **fields))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_loaders_have_the_chosen_number_of_processes(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    rows = datasets.Dataset.from_dict({"image": [0] * 3, "label": [0] * 3})
    faces = {"train": rows, "validation": rows}
    train, rest = build_loaders(Recipe("out"), faces, InvolViTImageProcessor(size=32), torch.Generator())
    assert (train.num_workers, rest["validation"].num_workers) == (2, 2)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_where_shared_memory_is_small_auto_starts_fewer_processes(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 64)
    faces = {"train": datasets.Dataset.from_dict({"image": [0] * 3, "label": [0] * 3})}
    for batches, expected in ((100, 16), (28, 7), (3, 0)):  # two batches each, and as much left to others
        room = SimpleNamespace(free=batches * 32 * 3 * 32 * 32 * 4)
        monkeypatch.setattr(loaders.shutil, "disk_usage", lambda path, room=room: room)
        train, _ = build_loaders(Recipe("out"), faces, InvolViTImageProcessor(size=32), torch.Generator())
        assert train.num_workers == expected


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_auto_is_bf16_where_the_processor_has_instructions_for_it(monkeypatch, name):
    capabilities(monkeypatch, avx512_f=True, **{name: True})
    assert has_bfloat16("cpu")
    assert chosen_precision("auto", "cpu") == "bf16"
    assert chosen_precision("no", "cpu") == "no"
    assert chosen_precision("bf16", "cpu") == "bf16"


def test_without_them_auto_is_float32_and_bf16_refused(monkeypatch):
    capabilities(monkeypatch, avx2=True, avx512_f=True, avx512_bf16=False)
    assert chosen_precision("auto", "cpu") == "no"
    with pytest.raises(ValueError, match=r"this processor has no instructions for bfloat16.*choose no, or auto"):
        chosen_precision("bf16", "cpu")


def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert chosen_precision("auto", "cuda") == "no"
    with pytest.raises(ValueError, match=r"this GPU has no instructions.*choose fp16 or no"):
        chosen_precision("bf16", "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert chosen_precision("auto", "cuda") == "bf16"


def test_auto_is_what_accelerate_launch_was_asked_for(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert chosen_precision("auto", "cuda") == "fp16"
    assert chosen_precision("no", "cuda") == "no"


def test_deepspeed_which_would_keep_weights_in_bf16_is_left_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert chosen_precision("auto", "cuda") == "no"
    assert chosen_precision("bf16", "cuda") == "bf16"


def test_a_run_records_the_precision_that_was_chosen_and_goes_on_in_no_other(run, tmp_path, monkeypatch):
    capabilities(monkeypatch)
    report, _ = run(tmp_path / "out", mixed_precision="auto", num_workers="auto", max_steps=1)
    assert report["run"]["mixed_precision"] == "no"
    assert parse_recipe([f"--config={tmp_path / 'out' / 'recipe.yaml'}"]).mixed_precision == "no"
    (tmp_path / "out" / "report.json").unlink()
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: True)
    with pytest.raises(FailedRunError, match="holds a run with another mixed_precision"):
        run(tmp_path / "out", mixed_precision="auto", max_steps=1, resume=True)
    run(tmp_path / "out", mixed_precision="no", max_steps=1, resume=True)


def test_bf16_where_there_are_no_instructions_ends_in_one_line(run, tmp_path, monkeypatch):
    capabilities(monkeypatch)
    with pytest.raises(FailedRunError, match=r"\Aerror: mixed_precision bf16: this processor has no .*\n\Z"):
        run(tmp_path / "out", mixed_precision="bf16")
    assert not (tmp_path / "out").exists()
