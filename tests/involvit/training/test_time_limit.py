"""Runs by time, on a clock that the test moves."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from involvit.training import time_limit
from involvit.training.recipe import Recipe
from involvit.training.time_limit import TimeLimit, schedule_by_time

from .training_runs import FailedRunError, torchrun


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless its `now`, in seconds, is moved."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(time_limit, "time", clock)
    return clock


@pytest.fixture
def ticking_clock(clock):
    """A clock that moves by a second whenever it is read."""
    ticks = itertools.count(1000)
    clock.monotonic = lambda: float(next(ticks))
    return clock


def begun(minutes, before=0.0, last_images=0):
    limit = TimeLimit(minutes, Accelerator(cpu=True))
    limit.begin(before, last_images)
    return limit


def test_the_rate_warms_up_by_steps_and_falls_with_the_share_of_the_time(clock):
    limit = begun(1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = schedule_by_time(optimizer, Recipe("out", warmup_steps=2, lr_power=2.0), limit)
    rates = []
    for now in (1000, 1006, 1030, 1057, 1061):
        clock.now = float(now)
        limit.update()
        optimizer.step()
        schedule.step()
        rates += schedule.get_last_lr()
    assert rates == pytest.approx([0.1 * f for f in (0.5, 0.9**2, 0.5**2, 0.05**2, 0)])
    assert limit.is_over


def test_the_last_evaluation_and_the_report_have_their_time_set_aside(clock):
    limit = begun(1, last_images=100)
    clock.now += 30
    limit.saw_step(40, images=100)  # compiled something
    limit.saw_step(2, images=10)
    limit.update()
    assert limit.share == pytest.approx(30 / (60 - 100 * 0.2))
    limit.saw_evaluation(5, images=50)
    limit.update()
    assert limit.share == pytest.approx(30 / (60 - 100 * 0.1))
    clock.now += 20
    limit.update()
    assert limit.is_over


def test_what_the_run_took_before_counts(clock):
    assert begun(1, before=45).share == pytest.approx(0.75)
    assert begun(1, before=61).is_over


def test_without_a_limit_the_time_never_ends(clock):
    limit = begun(None)
    clock.now += 1e9
    limit.update()
    assert not limit.is_over


def test_a_run_fills_its_minutes_whatever_its_epochs_and_ends_at_a_rate_of_zero(run, tmp_path, ticking_clock):
    report, _ = run(tmp_path / "out", max_minutes=0.5, num_epochs=1, warmup_steps=2)
    history = report["history"]
    assert [entry["step"] for entry in history[:-1]] == list(range(6, 6 * len(history), 6))  # whole epochs
    assert 24 <= history[-1]["step"] <= 29  # read once a step and at each checkpoint, half a minute in all
    rates = [entry["learning_rate"] for entry in history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0 < rates[-2]
    assert report["run"]["recipe"]["max_minutes"] == 0.5


def test_a_run_that_goes_on_has_the_minutes_that_are_left(run, tmp_path, ticking_clock):
    out, steps, read = tmp_path / "out", [], ticking_clock.monotonic

    def read_until_the_tenth():
        steps.append(read())
        if len(steps) == 10:
            raise KeyboardInterrupt
        return steps[-1]

    ticking_clock.monotonic = read_until_the_tenth
    with pytest.raises(FailedRunError):
        run(out, max_minutes=0.5, checkpoint_steps=2)
    ticking_clock.monotonic = read
    (checkpoint,) = (out / "checkpoints").iterdir()
    used = json.loads((checkpoint / "progress.json").read_text())["used_seconds"]
    assert 4 <= used <= 10
    report, _ = run(out, max_minutes=0.5, checkpoint_steps=1000, resume=True)
    assert report["history"][-1]["learning_rate"] == 0
    (checkpoint,) = (out / "checkpoints").iterdir()
    assert json.loads((checkpoint / "progress.json").read_text())["used_seconds"] == pytest.approx(30, abs=2)
    with pytest.raises(FailedRunError, match="holds a run with another max_minutes"):
        (out / "report.json").unlink()
        run(out, max_minutes=2, resume=True)


def test_a_time_that_is_over_before_the_first_step_is_refused_and_leaves_nothing(run, tmp_path, ticking_clock):
    with pytest.raises(FailedRunError, match=r"\Aerror: max_minutes 0.01 is too short: loading .* took 1 s.*\n\Z"):
        run(tmp_path / "out", max_minutes=0.01)
    assert not (tmp_path / "out").exists()


@pytest.mark.engines
def test_processes_stop_at_the_same_step(faces, tmp_path):
    report = torchrun(faces, tmp_path / "out", processes=2, max_minutes=0.1)
    assert report["run"]["processes"] == 2
    assert report["history"][-1]["learning_rate"] == 0
