"""Apps without a page: a folder with a visitor's photo, and a process that waits."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
APP = """
import sys, time
from pathlib import Path
from involvit.app.environment import FILES
from involvit.app.lifetime import files_end_with_app
Path(FILES.name, "photo.jpg").touch()
try:
    with files_end_with_app(Path(FILES.name)):
        Path("started").touch()
        time.sleep(60)
except KeyboardInterrupt:
    print("closing")
    time.sleep(0.5)
"""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")


@pytest.fixture
def app(tmp_path):
    @contextmanager
    def app(**options):
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        # What runs the tests may ignore the signal, as `nohup` does.
        options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
        process = subprocess.Popen([sys.executable, "-c", APP], cwd=tmp_path, env=environment, **options)
        try:
            while not (tmp_path / "started").exists():
                assert process.poll() is None
                time.sleep(0.02)
            (tmp_path / "started").unlink()
            yield process
        finally:
            process.kill()
            process.wait()

    return app


def folders(tmp_path):
    return set(tmp_path.glob("involvit_app_*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_photo_is_left_after_a_signal(app, tmp_path, number):
    with app() as process:
        assert len(folders(tmp_path)) == 1
        process.send_signal(number)
        assert process.wait(20) == 0
    assert not folders(tmp_path)


def test_no_photo_is_left_when_the_terminal_is_closed(app, tmp_path):
    master, terminal = os.openpty()
    with app(stdout=terminal, stderr=terminal, start_new_session=True) as process:
        os.close(terminal)
        os.close(master)
        for _ in range(3):  # the shell passes the signal on
            process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        assert process.wait(20) == 0
    assert not folders(tmp_path)


def test_an_app_that_was_told_to_outlive_its_terminal_does(app, tmp_path):
    with app(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None


def test_the_next_app_removes_what_a_killed_one_left_and_nothing_else(app, tmp_path):
    with app() as killed:
        killed.kill()
        killed.wait()
        (left,) = folders(tmp_path)
        (tmp_path / "involvit_app_of_somebody").mkdir()  # no lock says whose it is
        with app():
            running = folders(tmp_path)
            assert left not in running and len(running) == 2
            with app():
                assert running < folders(tmp_path)
                assert len(list(tmp_path.glob("*/photo.jpg"))) == 2
