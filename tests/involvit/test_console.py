"""How commands end, in this process or, for what belongs to a process, in one of their own."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from involvit.console import Parser, path, positive, run_command, show_warnings_briefly

ROOT = Path(__file__).parents[2]
WORKER_ERROR = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "loop.py", line 1, in <module>
ValueError: face.png cannot be read"""


def raises(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("no such\nthing"), 2, "error: no such thing"),
        (FileNotFoundError(2, "No such file", "x.png"), 2, "error: [Errno 2] No such file: 'x.png'"),
        (ValueError(WORKER_ERROR), 2, "error: ValueError: face.png cannot be read"),
        (RuntimeError("out of memory"), 1, "error: RuntimeError: out of memory (INVOLVIT_DEBUG=1 shows where)"),
        (KeyError("x"), 1, "error: KeyError: 'x' (INVOLVIT_DEBUG=1 shows where)"),
        (AssertionError(), 1, "error: AssertionError (INVOLVIT_DEBUG=1 shows where)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_whatever_ends_a_command_is_one_line(error, status, line, capsys):
    assert run_command(raises(error)) == status
    assert capsys.readouterr().err == f"{line}\n"


def test_a_path_may_begin_at_home_and_is_not_empty(capsys):
    parser = Parser(prog="it")
    parser.add_argument("--out", type=path)
    assert parser.parse_args(["--out=~/x"]).out == Path.home() / "x"
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--out", ""])
    assert "argument --out: the name is empty; name a file or folder" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--out", "https://example.org/x.csv"])
    assert "argument --out: https://example.org/x.csv is a URL, and those are not read" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x")])
def test_a_variable_asks_for_the_traceback(error, monkeypatch):
    monkeypatch.setenv("INVOLVIT_DEBUG", "1")
    with pytest.raises(type(error)):
        run_command(raises(error))


def run(code, **options):
    code = f"import sys; from involvit.console import run_command; sys.exit(run_command(lambda: {code}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_the_terminal_has_no_sign_for_is_escaped(encoding):
    process = run("print('\\u7b11.png: Happy')", env={**os.environ, "PYTHONIOENCODING": encoding})
    out, err = process.communicate()
    assert (process.returncode, out.strip(), err) == (0, rb"\u7b11.png: Happy", b"")


def test_nothing_is_said_when_the_reader_of_the_output_has_seen_enough():
    process = run("[print('x' * 1000) for _ in range(10**4)] and 0")
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_output_may_be_closed():
    code = "import sys; from involvit.console import run_command; sys.exit(run_command(lambda: print('x') or 0))"
    command = f'"{sys.executable}" -c "{code}" >&- 2>&-'
    assert subprocess.run(command, cwd=ROOT, shell=True).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("code", ["print('x') or 0", "[print('x' * 1000) for _ in range(10**4)] and 0"])
def test_an_output_that_cannot_be_written_is_named(code, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    code = f"import sys; from involvit.console import run_command; sys.exit(run_command(lambda: {code}))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    line = b"error: the output (stdout) cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, line)


@pytest.mark.parametrize("has_cause", [True, False])
def test_a_cache_that_cannot_be_used_is_named(tmp_path, monkeypatch, capsys, has_cause):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home" / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    advice = "; set {}, now {}, to a folder that you can write to"
    of_home, of_datasets = (
        advice.format(name, tmp_path / path)
        for name, path in (("HF_HOME", "home/hf"), ("HF_DATASETS_CACHE", "datasets"))
    )
    cases = [("home", of_home), ("home/hf/hub/x.lock", of_home), ("datasets/y", of_datasets), ("home/other", "")]
    for name, expected in cases:
        error = PermissionError(13, "Permission denied", str(tmp_path / name))
        said = f"error: {error}{expected}\n"
        if has_cause:
            error, error.__cause__ = ValueError(str(error)), error
        assert run_command(raises(error)) == 2
        assert capsys.readouterr().err == said


CONFIGURED = """
class config:
    LIB_THREADS = int(__import__("os").environ["LIB_THREADS"])
def count():
    if config.LIB_THREADS < 1:
        raise ValueError("Number of threads specified must be > 0.")
count()
"""
CONNECT = """
def connect():
    path = os.environ.get("LIB_CERTIFICATES")
    raise FileNotFoundError(2, "No such file or directory")
connect()
"""


@pytest.mark.parametrize(
    ("variable", "value", "library", "line"),
    [
        ("LIB_TIMEOUT", "10s", 'int(os.environ["LIB_TIMEOUT"])', "invalid literal for int() with base 10: '10s'"),
        ("LIB_TIMEOUT", "", 'int(os.environ["LIB_TIMEOUT"])', "invalid literal for int() with base 10: ''"),
        ("LIB_KIND", "foo", '{}[os.environ["LIB_" + "KIND"].upper()]', "'FOO'"),
        ("LIB_THREADS", "0", CONFIGURED, "Number of threads specified must be > 0."),
        ("LIB_CERTIFICATES", "/nowhere", CONNECT, "[Errno 2] No such file or directory"),
    ],
)
def test_a_variable_that_a_library_cannot_use_is_named(tmp_path, monkeypatch, capsys, variable, value, library, line):
    (tmp_path / "some_library.py").write_text(f"import os\n{library}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(variable, value)
    assert run_command(lambda: __import__("some_library")) == 2
    assert capsys.readouterr().err == f"error: {line}; correct or unset the environment variable {variable}\n"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("libtorch_python.so: failed to map segment from shared object", "there is too little memory for it: allow"),
        ("neither via reload nor after a failed `import torch`.", 'python -c "import torch" says why it failed'),
    ],
)
def test_too_little_memory_for_a_library_is_told(text, advice, capsys):
    assert run_command(raises(ImportError(text, name="torch._C"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {text}; {advice}")
    assert "too little memory" in line


def test_what_a_user_wrote_is_not_blamed_on_a_variable(monkeypatch, capsys):
    monkeypatch.setenv("MINE", "faces")
    assert run_command(eval("lambda: int('faces')", {"__name__": "involvit.some_command"})) == 2
    assert capsys.readouterr().err == "error: invalid literal for int() with base 10: 'faces'\n"


@pytest.mark.parametrize("variable", ["HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"])
def test_a_variable_of_hugging_face_is_named(variable):
    process = run("__import__('huggingface_hub.constants')", env={**os.environ, variable: "10s"})
    assert process.communicate()[1].decode().endswith(f"unset the environment variable {variable}\n")
    assert process.returncode == 2


def test_a_warning_is_shown_by_its_first_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", None)
    show_warnings_briefly()
    text = "'NUMBA_NUM_THREADS' could not be parsed.\nTraceback (most recent call last):\n  File"
    shown = warnings.formatwarning(RuntimeWarning(text), RuntimeWarning, "config.py", 187)
    assert shown == "warning: 'NUMBA_NUM_THREADS' could not be parsed.\n"


def test_a_mistake_in_the_words_is_one_line(capsys):
    parser = Parser(prog="involvit")
    parser.add_argument("--jobs", type=positive)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--jobs", "0"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: argument --jobs: '0' is not a whole number of at least 1 (see involvit --help)\n"
    )


def test_a_working_folder_that_is_gone_is_told(tmp_path, capsys, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run_command(lambda: len(str(Path.cwd()))) == 2
    assert capsys.readouterr().err == "error: the folder that this was started in is gone; change to another\n"


def test_an_error_whose_causes_lead_back_to_it_ends_too(capsys):
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert run_command(raises(first)) == 2
    assert capsys.readouterr().err == "error: first\n"
