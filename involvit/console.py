"""What the command lines have in common: one line for an error, exit statuses, output that every terminal takes."""

from __future__ import annotations

import argparse
import linecache
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .files import URL_ADVICE, expand_user, is_url
from .names import shown

DONE, FAULT, MISTAKE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
_PACKAGES = {"dataset_script", "involvit", "modeling_involvit"}  # whose complaints say what to do themselves


class Parser(argparse.ArgumentParser):
    """Ends on a mistake with one line."""

    def error(self, message: str) -> NoReturn:
        """Prints the line and ends the program."""
        self.exit(MISTAKE, f"error: {one_line(message)} (see {self.prog} --help)\n")


def positive(text: str) -> int:
    """Reads a whole number of at least 1, as a type of argparse."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def path(text: str) -> Path:
    """Reads the path of a file or folder, as a type of argparse; `~` is the home folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; name a file or folder")
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{text} {URL_ADVICE}")
    return expand_user(text)


def one_line(error: object) -> str:
    """Returns the text of an error on one line, see `shown`; of one of a loader's worker, without its traceback."""
    text = str(error).strip()
    return shown(" ".join((text.splitlines()[-1] if "Traceback (most" in text else text).split()))


def show_warnings_briefly() -> None:
    """Has Python show the first line of a warning, and not where in a library it arose; INVOLVIT_DEBUG keeps all."""
    if not os.environ.get("INVOLVIT_DEBUG"):
        warnings.formatwarning = lambda message, *_, **__: f"warning: {shown(f'{message} '.splitlines()[0].strip())}\n"


def run_command(command: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Runs a command, and says in one line on stderr why it ended early.

    With the environment variable INVOLVIT_DEBUG set, an error shows its traceback.

    Args:
        command: Returns the exit status.
        interrupted: What to say after Ctrl-C.

    Returns:
        The command's status, or 1 after a fault of the program, 2 after an error that the user can mend (ValueError,
        OSError, ImportError), 130 after Ctrl-C, 141 if the reader of the output, such as `head`, has closed it.
    """
    # Closed ones are None. Those of terminals may have no sign for what is in a file name.
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return PIPE_CLOSED
    except Exception as error:
        if os.environ.get("INVOLVIT_DEBUG"):
            raise
        if isinstance(error, FileNotFoundError) and error.filename is None and not _has_working_folder():
            print("error: the folder that this was started in is gone; change to another", file=sys.stderr)
            return MISTAKE
        if isinstance(error, OSError) and error.errno and error.filename is None and not _takes_output():
            print(f"error: the output (stdout) cannot be written: {error.strerror}", file=sys.stderr)
            return MISTAKE
        text, advice = one_line(error), _cache_advice(error) or environment_advice(error) or _memory_advice(error)
        if isinstance(error, ValueError | OSError | ImportError) or advice:
            print(f"error: {text}{advice}", file=sys.stderr)
            return MISTAKE
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
        print(f"error: {text} (INVOLVIT_DEBUG=1 shows where)", file=sys.stderr)
        return FAULT


def _give_up_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end


def _takes_output() -> bool:
    """Returns whether what is printed can be written; if not, it is given up."""
    try:
        print(flush=True)
    except OSError:
        _give_up_output()
        return False
    return True


def _cache_advice(error: BaseException | None) -> str:
    """Returns what to do where Hugging Face's libraries cannot use the folder of their cache."""
    about_files = (link for link in causes(error) if isinstance(link, OSError) and isinstance(link.filename, str))
    error = next(about_files, None)
    if error is None or isinstance(error, FileNotFoundError):
        return ""
    try:
        from huggingface_hub.constants import HF_HOME
    except ValueError:  # which may come of a variable that it cannot read
        return ""

    path = Path(error.filename).absolute()
    settings = {name: value for name, value in os.environ.items() if name.startswith("HF_") and name.endswith("_CACHE")}
    for name, value in {**settings, "HF_HOME": HF_HOME}.items():
        cache = Path(value).absolute()
        if path.is_relative_to(cache) or cache.is_relative_to(path):
            return f"; set {name}, now {shown(cache)}, to a folder that you can write to"
    return ""


def environment_advice(error: BaseException | None) -> str:
    """Returns what to do where a library could not use an environment variable: it seldom says which one.

    It is one that the failing lines read, or else one whose value the library's complaint quotes.
    """
    names: list[str] = []
    for link in causes(error):
        frames = list(traceback.walk_tb(link.__traceback__))
        if frames and frames[-1][0].f_globals.get("__name__", "").partition(".")[0] not in _PACKAGES:
            lines = (line for line in _failing_lines(frames) if re.search(r"env|(config|constants)\.[A-Z]", line))
            read = set(re.findall(r"\w+", "".join(lines)))
            # An error of the system quotes the file that it is about.
            text = "" if isinstance(link, OSError) else str(link).casefold()
            names += [name for name in os.environ if name in read] or [
                name for name, value in os.environ.items() if _is_quoted(value, text)
            ]
    return f"; correct or unset the environment variable {' or '.join(dict.fromkeys(names))}" if names else ""


def _memory_advice(error: BaseException) -> str:
    """Returns what to do where a library did not fit into memory: the system's linker does not say so.

    Where another library has caught that, torch only says that it was asked for twice.
    """
    text = " ".join(map(str, causes(error)))
    if "failed to map segment" in text:
        return "; there is too little memory for it: allow more (ulimit -v, or the container's limit)"
    if "after a failed `import torch`" in text:
        return '; python -c "import torch" says why it failed, for which too little memory is enough'
    return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and what led to it, as a traceback would show them; such a chain can lead back to itself."""
    seen = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _failing_lines(frames: Sequence[tuple[FrameType, int]]) -> Iterator[str]:
    """Gives the line at which each frame stopped; of the two innermost functions all before it too."""
    for outwards, (frame, number) in enumerate(reversed(frames)):
        code = frame.f_code
        first = code.co_firstlineno if outwards < 2 and code.co_name != "<module>" else number
        yield from (linecache.getline(code.co_filename, line) for line in range(first, number + 1))


def _is_quoted(value: str, text: str) -> bool:
    """Returns whether a text quotes a value: no number or path, as those of the shell's own variables are."""
    is_own = not value or value.isdecimal() or os.sep in value or value in sys.argv
    return not is_own and any(f"{mark}{value.casefold()}{mark}" in text for mark in "'\"`")


def _has_working_folder() -> bool:
    try:
        return Path.cwd().is_dir()
    except FileNotFoundError:
        return False
