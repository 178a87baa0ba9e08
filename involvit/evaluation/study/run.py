"""Carries out a study by `involvit train`, as many runs at once as asked, and reports on all that are finished."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import joblib
import torch
from tqdm.auto import tqdm

from ...files import expand_user
from ...reports.writer import check_report_folder, write_report
from ...signals import interrupted_by_signals
from ...training.file_faults import read_fields
from ...training.loaders import load_faces
from ...training.recipe import Recipe, changed_fields, parse_recipe, write_recipe
from ...training.run_folder import RECORD, REPORT, hold_folder
from ...training.study_run import OF_STUDY
from .document import study_sections
from .measure import compare_variants, foreign_reports, measure_leak, read_runs, summarize
from .plan import BASELINE, Run, plan_runs, variant_flags

_SET_BY_STUDY = ("out", "output_dir", "resume", "push_to_hub", "data", "data_dir", "split", "n_folds", "fold")
_POLL_SECONDS = 0.2


def run_study(
    config: Path,
    data: str | None,
    out: Path,
    variants: Sequence[str],
    splits: Sequence[str],
    repeats: int,
    n_folds: int,
    jobs: int,
    settings: Sequence[str],
    command: str,
) -> int:
    """Runs what of a study is not finished yet, and writes the report on what is.

    A study in the same folder is continued: finished runs are kept, half-done ones resumed, and more repeats, splits
    or variants are added to those that are there.

    Args:
        config: The recipe that all variants derive from.
        data: Labelled faces as `load_fer_dataset` takes them; by default those of the recipe.
        out: Folder of the study: `runs/`, what is kept of each run, and `report/`.
        repeats: Number of seeds, counted up from the recipe's.
        n_folds: Folds of the k-fold splits; each seed takes them all.
        jobs: Runs at once; they share the cores, and where there are GPUs each has one of its own.
        settings: Fields of the recipe to change for all runs, as `FIELD=VALUE`.
        command: The command line, for the report.

    Returns:
        0, or 1 if runs failed.

    Raises:
        ValueError: If the recipe, its data or a setting cannot be used, or the folder holds a study of another recipe,
            a damaged report, or a study that another process carries out.
        OSError: If a file cannot be read or the folder cannot be written.
    """
    out = expand_user(out)
    runs = out / "runs"
    check_report_folder(out / "report", overwrite=True)
    recipe = _read_recipe(config, data, runs, n_folds, settings)
    flags = {variant: variant_flags(variant, recipe) for variant in variants}
    plan = plan_runs(variants, splits, range(recipe.seed, recipe.seed + repeats), n_folds)
    with hold_folder(runs):
        read_runs(runs)  # a damaged report is named before the work
        if foreign := [str(path.parent) for path in foreign_reports(runs)]:
            print(f"left out, as no runs of a study: {', '.join(foreign)}", file=sys.stderr)
        left = [run for run in plan if not _is_finished(runs / run.folder)]
        if left:
            for split in splits:  # finds a mistake in the data before the first run, not by each run anew
                load_faces(replace(recipe, split=split, fold=0, drop_duplicates=False))
            write_recipe(recipe, runs / RECORD)
        for run in set(plan) - set(left):  # a study that was killed has left their models
            _clean_up(run, runs / run.folder)
        failures = _run_all(left, flags, recipe, jobs, done=len(plan) - len(left))
        _write_report(config, recipe, out, command)
    if failures:
        print(f"error: {len(failures)} of {len(plan)} runs failed: {'; '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def _write_report(config: Path, recipe: Recipe, out: Path, command: str) -> None:
    runs = read_runs(out / "runs")
    if runs.empty:
        return
    frames = {"runs": runs, "summary": summarize(runs)}
    frames |= {"comparisons": compare_variants(runs), "leak": measure_leak(runs)}
    title, sections = f"Study of {config.stem} on {Path(recipe.data).name}", study_sections(**frames)
    results = {name: frame.to_dict("records") for name, frame in frames.items()}
    page = write_report(out / "report", title, command, sections, results, overwrite=True)
    print(f"{page}: {len(runs)} runs")


def _read_recipe(config: Path, data: str | None, runs: Path, n_folds: int, settings: Sequence[str]) -> Recipe:
    for setting in settings:
        name, equals, _ = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting} must have the form FIELD=VALUE")
        if name in _SET_BY_STUDY:
            raise ValueError(f"--set {name} is not for a study, which chooses {', '.join(_SET_BY_STUDY)} itself")
    words = [f"--config={config}", "--report_to=none", *(f"--{setting}" for setting in settings)]
    recipe = parse_recipe([*words, f"--output_dir={runs}", f"--n_folds={n_folds}", "--push_to_hub=false"])
    if recipe.model.get("branches", BASELINE) != BASELINE:
        raise ValueError(f"{config} is of one branch alone; a study derives its variants from a model with both")
    if data is not None:
        recipe = replace(recipe, data=str(Path(data).absolute()) if Path(data).exists() else data, data_dir=".")
    elif isinstance(recipe.data, dict):
        raise ValueError(f"{config} joins several data sets, each split in its own way; name one by --data")
    recipe = replace(recipe, data_dir=str(Path(recipe.data_dir).absolute()))

    record = runs / RECORD
    if record.exists() and (changed := changed_fields(recipe, record)):
        raise ValueError(
            f"{runs.parent} holds a study with another {', '.join(changed)}; continue with the values in {record}, or "
            f"choose another --out"
        )
    return recipe


def _is_finished(folder: Path) -> bool:
    return (folder / REPORT).exists()  # the last that a run writes of its results


def _run_all(runs: Sequence[Run], flags: dict[str, list[str]], recipe: Recipe, jobs: int, done: int) -> list[str]:
    """Runs all, `jobs` at once, and returns a line on each that failed."""
    waiting, failures = list(reversed(runs)), []
    running: dict[int, tuple[Run, subprocess.Popen[bytes]]] = {}  # by its place among those at once
    # A signal must not leave runs behind.
    with interrupted_by_signals(), tqdm(total=done + len(runs), initial=done, unit="run", disable=None) as bar:
        try:
            while waiting or running:
                for place in set(range(jobs)) - set(running):
                    if waiting:
                        run = waiting.pop()
                        running[place] = (run, _start(run, flags[run.variant], recipe, place, jobs))
                time.sleep(_POLL_SECONDS)
                bar.refresh()
                for place, (run, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[place]
                        process.stdin.close()
                        failures += _clean_up(run, Path(recipe.output_dir) / run.folder)
                        bar.update()
                        bar.set_postfix_str(str(run.folder))
        except BaseException:
            for _, process in running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT) if hasattr(os, "killpg") else process.terminate()  # Windows
            for _, process in running.values():
                process.wait()
            raise
    return failures


def _start(run: Run, flags: Sequence[str], recipe: Recipe, place: int, jobs: int) -> subprocess.Popen[bytes]:
    folder = Path(recipe.output_dir) / run.folder
    threads, environment, launch_flags = recipe.num_threads, {**os.environ, OF_STUDY: "1"}, []
    if jobs > 1:
        threads = threads or max(joblib.cpu_count() // jobs, 1)
        launch_flags = ["--num_processes=1"]
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = chosen.split(",") if chosen else [str(index) for index in range(torch.cuda.device_count())]
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
    if (folder / RECORD).exists():  # half done: other threads round differently, so it keeps those it has
        with contextlib.suppress(ValueError):  # a damaged one, which the run will name
            threads = read_fields(folder / RECORD, "").get("num_threads")
    command = run_command(run, flags, recipe, threads, launch_flags)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("wb") as log:  # beside: a run starts in an empty folder only
        # A session of its own: Ctrl-C reaches the study alone, which then ends launcher and training together.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def run_command(
    run: Run, flags: Sequence[str], recipe: Recipe, num_threads: int | None, launch_flags: Sequence[str]
) -> list[str]:
    """Returns the command line of one run, with `flags` for the training and `launch_flags` for `accelerate launch`."""
    runs = Path(recipe.output_dir)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *launch_flags, "-m", "involvit", "train"]
    words = [f"--config={runs / RECORD}", f"--output_dir={runs / run.folder}", "--resume=true", f"--split={run.split}"]
    words += [f"--seed={run.seed}", f"--fold={run.fold or 0}", f"--num_threads={json.dumps(num_threads)}"]
    return [*launch, *words, *flags]


def _clean_up(run: Run, folder: Path) -> list[str]:
    """Leaves of a finished run what the study needs; of one that failed, returns a line that says why."""
    if not _is_finished(folder):
        log = folder.with_suffix(".log")
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = (errors or lines or ["it ended without a word"])[-1]
        return [f"{run.folder}: {reason} ({log})"]
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (REPORT, RECORD):
            path.unlink()
    return []
