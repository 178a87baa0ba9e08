"""Training by accelerate's engines and on several machines, each by its file in configs/accelerate (make test-engines).

The two processes run on the CPU over gloo. The reference is one process with the same effective batch.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from safetensors.torch import load_file

from .training_runs import ROOT, free_port, words

pytestmark = pytest.mark.engines

CONFIGS = ROOT / "configs" / "accelerate"
ON_CPU = {"ACCELERATE_USE_CPU": "true"}
ENGINES = ["fsdp2", "deepspeed_zero2", "deepspeed_zero3"]
# Without BatchNorm the evaluation agrees too; see test_loop.py.
CHANGES = {"model": {"branches": "vit", "classifier_dropout": 0.0}, "max_grad_norm": 0.5, "backbone_lr_scale": 0.5}


def start(arguments, environment=None, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(*processes):
    """Waits for processes, and fails with what they printed if one of them failed."""
    printed = [process.communicate(timeout=250)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(printed)
    return printed


def launch(name, *arguments):
    """Returns the words of `accelerate launch` by a file of configs/accelerate."""
    file = CONFIGS / f"{name}.yaml"
    words = ["accelerate.commands.accelerate_cli", "launch", "--quiet", f"--config_file={file}", "--num_processes=2"]
    return [*words, *arguments]


def by_engine(name, faces, output_dir, **changes):
    """Starts a run in two processes; accelerate takes the CPU for a GPU, without which it leaves engines out."""
    if name.startswith("deepspeed") and not find_spec("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    script = ROOT / "tests" / "involvit" / "training" / "engine_on_cpu.py"
    return start([*launch(name, "--main_process_port=0"), script, *words(faces, output_dir, **changes)])


def read(output_dir):
    return json.loads((output_dir / "report.json").read_text()), load_file(output_dir / "model.safetensors")


def assert_same_run(one, two, tolerance=1e-4):
    assert two["run"]["processes"] == 2
    assert two["run"]["parameters"] == one["run"]["parameters"]
    for mine, theirs in zip(one["history"], two["history"], strict=True):
        assert (mine["step"], mine["learning_rate"]) == (theirs["step"], theirs["learning_rate"])
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=tolerance)
        assert theirs["validation_loss"] == pytest.approx(mine["validation_loss"], rel=tolerance)
    # Of the saved model, read again
    assert two["metrics"]["negative_log_likelihood"] == pytest.approx(two["history"][-1]["validation_loss"], rel=1e-5)


@pytest.fixture(scope="module")
def one(faces, tmp_path_factory):
    """The run of one process, whose windows hold as many batches as those of two."""
    output_dir = tmp_path_factory.mktemp("reference") / "out"
    command = ["involvit", "train", *words(faces, output_dir, gradient_accumulation_steps=4, **CHANGES)]
    finish(start(command, ON_CPU))
    return *read(output_dir), output_dir


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_trains_like_one_process(name, one, faces, tmp_path):
    finish(by_engine(name, faces, tmp_path / "out", gradient_accumulation_steps=2, **CHANGES))
    report, weights = read(tmp_path / "out")
    assert_same_run(one[0], report)
    assert weights.keys() == one[1].keys()
    assert {(name, value.shape, value.dtype) for name, value in weights.items()} == {
        (name, value.shape, value.dtype) for name, value in one[1].items()
    }
    # A Hub repository like that of one process: an engine's class has a name and a file of its own
    mine, theirs = (folder / "config.json" for folder in (one[2], tmp_path / "out"))
    assert json.loads(theirs.read_text()) == json.loads(mine.read_text())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in one[2].iterdir()}


@pytest.mark.parametrize("name", ENGINES)
def test_a_run_by_an_engine_that_is_killed_continues_as_if_it_were_not(name, faces, tmp_path):
    # With BatchNorm, dropout, a frozen branch and the best epoch's weights.
    changes = {"num_epochs": 4, "checkpoint_steps": 2, "frozen": ["vit"], "select_best": "loss"}
    finish(by_engine(name, faces, tmp_path / "whole", **changes))
    output_dir = tmp_path / "killed"
    process = by_engine(name, faces, output_dir, **changes)
    in_second_epoch = output_dir / "checkpoints" / "step_00000004"  # 3 steps an epoch
    deadline = time.monotonic() + 200
    while not in_second_epoch.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    stop(process)
    assert list(output_dir.glob("checkpoints/step_*")), process.stdout.read()
    assert not (output_dir / "report.json").exists()
    finish(by_engine(name, faces, output_dir, resume=True, **changes))
    (whole, weights), (resumed, again) = read(tmp_path / "whole"), read(output_dir)
    for mine, theirs in zip(whole["history"], resumed["history"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)
    for key in weights:
        assert (weights[key].double() - again[key].double()).abs().max() < 1e-5, key


def stop(process):
    """Kills a launcher and those it started: torchrun gives each a session of its own."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    for pid in [process.pid, *map(int, children.stdout.split())]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_ddp_trains_like_one_process(one, faces, tmp_path):
    command = words(faces, tmp_path / "out", gradient_accumulation_steps=2, **CHANGES)
    finish(start([*launch("ddp", "--main_process_port=0"), "train.py", *command], ON_CPU))
    assert_same_run(one[0], read(tmp_path / "out")[0])


@pytest.mark.parametrize("launcher", ["accelerate", "torchrun"])
def test_two_machines_train_like_one_process(launcher, one, faces, tmp_path):
    command = ["train.py", *words(faces, tmp_path / "out", gradient_accumulation_steps=2, **CHANGES)]
    port = free_port()
    nodes = []
    for rank in (0, 1):
        if launcher == "accelerate":
            place = f"--machine_rank={rank}", "--main_process_ip=127.0.0.1", f"--main_process_port={port}"
            start_node = launch("multi_node", *place)
        else:
            start_node = ["torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", f"--node_rank={rank}"]
            start_node += ["--master_addr=127.0.0.1", f"--master_port={port}"]
        nodes.append(start([*start_node, *command], ON_CPU))
    printed = finish(*nodes)
    assert_same_run(one[0], read(tmp_path / "out")[0])
    assert ["Saved to" in text for text in printed] == [True, False]


def test_torchrun_on_a_cpu_machine_that_would_train_twice_is_refused(faces, tmp_path):
    command = ["train.py", *words(faces, tmp_path / "out")]
    process = start(
        ["torch.distributed.run", "--standalone", "--nproc_per_node=2", *command], {"CUDA_VISIBLE_DEVICES": ""}
    )
    printed = process.communicate(timeout=100)[0]
    assert process.returncode
    (line,) = [line for line in printed.splitlines() if line.startswith("error:")]
    assert "ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 train.py" in line
    assert not (tmp_path / "out").exists()
