"""`involvit predict`: the expressions in many files and shards of images, printed or written to a table."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..console import one_line
from ..names import file_name, shown
from .images import find_files
from .predictor import ImageResult, Predictor
from .processes import processes, same_for_all
from .results import ResultsFile, check_results_path, hold_table, result_rows, without_table
from .shards import Shard, count_images, is_shard, place_of

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130
SHOWN_CLASSES = 3


def predict_files(
    paths: Sequence[str], model: str | None, faces: bool, face_detector: Path | None, out: Path | None, **stream: Any
) -> int:
    """Predicts for all files, prints or writes one row per face, and returns the exit status."""
    if out is not None:
        check_results_path(out)
    denied: list[OSError] = []
    files = find_files(paths, denied.append)
    if out is not None and not (files := without_table(files, out)):
        raise ValueError(f"{out} is the table to write, not one to read; name images, videos or folders of them")
    shards = {file: count_images(file) for file in files if is_shard(file)}
    empty = [file for file, number in shards.items() if number == 0]
    files = [file for file in files if shards.get(file) != 0]
    if not files:
        raise ValueError(f"{empty[0]}: there are no images in it; name a file that has some")
    if out is None and processes().num_processes > 1:
        raise ValueError("several processes write one table: name it by --out")
    is_main = processes().is_main_process
    sources = _Sources(files, shards)
    with hold_table(out) if out is not None and is_main else nullcontext():
        predictor = Predictor(model, faces, face_detector)
        counts = _print(predictor, sources, stream) if out is None else _write(predictor, sources, out, stream)
    if counts is None:
        return INTERRUPTED
    tried, failed = counts
    if failed:
        print(f"{failed} of {tried} {sources.unit}s could not be read", file=sys.stderr)
    if empty and is_main:
        print(f"left out shards without images ({len(empty)}, such as {shown(empty[0])})", file=sys.stderr)
    for error in denied if is_main else ():
        print(f"{shown(error.filename)} was left out: {error.strerror}", file=sys.stderr)
    return SOME_FAILED if failed or denied else DONE


@dataclass(frozen=True)
class _Sources:
    """What is to be read: files, and which of them are shards with how many images, None if no one knows."""

    files: list[Path]
    shards: dict[Path, int | None]

    @property
    def unit(self) -> str:
        return "image" if self.shards else "file"

    @property
    def number(self) -> int | None:
        numbers = [self.shards.get(file, 1) for file in self.files]
        return None if None in numbers else sum(numbers)

    def left(self, done: Collection[str]) -> list[Path | Shard]:
        left = [file for file in self.files if file_name(file) not in done]
        return [Shard(file, done) if file in self.shards else file for file in left]


def _print(predictor: Predictor, sources: _Sources, stream: dict[str, Any]) -> tuple[int, int]:
    """Returns how many files or images were read, or tried to, and how many could not be."""
    tried = failed = 0
    for results in _by_file(predictor.stream(sources.left(()), **stream), sources.number, sources.unit):
        for line in itertools.chain.from_iterable(map(_lines, results)):
            tqdm.write(line, file=sys.stdout)
        tried += 1
        failed += results[-1].error is not None
    return tried, failed


def _write(predictor: Predictor, sources: _Sources, out: Path, stream: dict[str, Any]) -> tuple[int, int] | None:
    """Returns, to the main process, what `_print` returns, of earlier runs too; None if interrupted."""
    group = processes()
    detector = "none" if predictor.detector is None else predictor.detector.name
    table = ResultsFile(out, predictor.classifier.labels, predictor.classifier.name, detector, group.process_index)
    done = same_for_all(table.start() if group.is_main_process else None)
    names = {file_name(file): number for number, file in enumerate(sources.files)}
    before = sum(place_of(name, names)[0] >= 0 for name in done)
    left = None if sources.number is None else sources.number - before
    try:
        for results in _by_file(predictor.stream(sources.left(done), **stream), left, sources.unit):
            table.append(file_name(results[0].source), [row for result in results for row in result_rows(result)])
        group.wait_for_everyone()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would not end it sooner
        if group.is_main_process:
            table.write([*names], keep_journals=group.num_processes > 1)
            print(
                f"interrupted; what is done is in {shown(out)}, and the same command continues from there",
                file=sys.stderr,
            )
        return None
    if not group.is_main_process:
        return 0, 0
    written = table.write([*names], all_tried=True)
    tried, failed = written.images, len(written.unreadable)
    print(f"{shown(out)}: {tried - failed} {sources.unit}s" + (f", {before} of them from before" if before else ""))
    return tried, failed


def _by_file(results: Iterable[ImageResult], number: int | None, unit: str) -> Iterator[list[ImageResult]]:
    """Yields all results of one file, or image in a shard, at a time, and shows on stderr how many are done.

    Args:
        results: Of this process.
        number: How many files and images there are for all processes, if it is known.
        unit: What they are called.
    """
    group = processes()
    total = None if number is None else len(range(group.process_index, number, group.num_processes))
    with tqdm(total=total, unit=unit, disable=None if group.is_main_process else True) as bar:
        for _, of_one in itertools.groupby(results, key=lambda result: (result.index, result.source)):
            yield list(of_one)
            bar.update()


def _lines(result: ImageResult) -> Iterator[str]:
    """Yields what is printed of an image or frame, one line per face."""
    place = shown(result.source) + ("" if result.frame is None else f" at {result.time_s:.2f} s")
    if result.error is not None:
        message = one_line(str(result.error).replace(str(result.source), place))
        yield message if message.startswith(place) else f"{place}: {message}"
    elif not result.faces:
        yield f"{place}: no face"
    for face in result.faces:
        box = "" if face.box is None else " face {2:.0f} x {3:.0f} at {0:.0f}, {1:.0f}:".format(*face.box)
        likely = sorted(face.probabilities.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
        yield f"{place}:{box} " + ", ".join(f"{shown(label)} {probability:.0%}" for label, probability in likely)
