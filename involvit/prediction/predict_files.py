"""`involvit predict`: the expressions in many files, printed or written to a table."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..console import one_line
from ..names import file_name, shown
from .images import find_files
from .predictor import ImageResult, Predictor
from .processes import processes, same_for_all
from .results import ResultsFile, check_results_path, result_rows

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130
SHOWN_CLASSES = 3


def predict_files(
    paths: Sequence[str], model: str | None, faces: bool, face_detector: Path | None, out: Path | None, **stream: Any
) -> int:
    """Predicts for all files, prints or writes one row per face, and returns the exit status."""
    if out is not None:
        check_results_path(out)
    files = find_files(paths)
    predictor = Predictor(model, faces, face_detector)
    failed = _print(predictor, files, stream) if out is None else _write(predictor, files, out, stream)
    if failed is None:
        return INTERRUPTED
    if failed:
        print(f"{failed} of {len(files)} files could not be read", file=sys.stderr)
    return SOME_FAILED if failed else DONE


def _print(predictor: Predictor, files: Sequence[Path], stream: dict[str, Any]) -> int:
    """Returns how many files could not be read."""
    if processes().num_processes > 1:
        raise ValueError("several processes write one table: name it by --out")
    failed = 0
    for results in _by_file(predictor, files, stream):
        for line in itertools.chain.from_iterable(map(_lines, results)):
            tqdm.write(line, file=sys.stdout)
        failed += results[-1].error is not None
    return failed


def _write(predictor: Predictor, files: Sequence[Path], out: Path, stream: dict[str, Any]) -> int | None:
    """Returns how many files could not be read, to the main process; None if interrupted."""
    group = processes()
    detector = "none" if predictor.detector is None else predictor.detector.name
    table = ResultsFile(out, predictor.classifier.labels, predictor.classifier.name, detector, group.process_index)
    done = same_for_all(table.start() if group.is_main_process else None)
    names = [file_name(file) for file in files]
    left = [file for file, name in zip(files, names, strict=True) if name not in done]
    try:
        for results in _by_file(predictor, left, stream):
            table.append(file_name(results[0].source), [row for result in results for row in result_rows(result)])
        group.wait_for_everyone()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would not end it sooner
        if group.is_main_process:
            table.write(names, keep_journals=group.num_processes > 1)
            print(
                f"interrupted; what is done is in {shown(out)}, and the same command continues from there",
                file=sys.stderr,
            )
        return None
    if not group.is_main_process:
        return 0
    failed = len(table.write(names))
    before = f", {len(files) - len(left)} of them from before" if len(left) < len(files) else ""
    print(f"{shown(out)}: {len(files) - failed} files{before}")
    return failed


def _by_file(predictor: Predictor, files: Sequence[Path], stream: dict[str, Any]) -> Iterator[list[ImageResult]]:
    """Yields all results of one file at a time, and shows on stderr how many of this process's files are done."""
    group = processes()
    total = len(range(group.process_index, len(files), group.num_processes))
    with tqdm(total=total, unit="file", disable=None if group.is_main_process else True) as bar:
        for _, results in itertools.groupby(predictor.stream(files, **stream), key=lambda result: result.index):
            yield list(results)
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
