"""The app under load: python -m benchmarks.app_load [--clients 4] [--seconds 60] [--face_detector FILE]

Starts app.py on loopback and lets some clients use it, each as fast as it is answered: a photo with one face, and every
second time its explanation too. The photo is uploaded each time; the pictures of the answer are not fetched, which this
client would do one after the other. First one client alone, then all at once. Prints requests, failures and response
times, and the memory of the app's process at the start and at the end; writes results/app_load_cpu.md. The exit status
says whether anything failed.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from gradio_client import Client, handle_file
from PIL import Image
from skimage.data import astronaut
from tqdm.auto import tqdm

from benchmarks.timing import RESULTS, describe_machine, markdown_table

APP = Path(__file__).parents[1] / "app.py"
START_S = 240
WARM_UP_S = 10  # memory is compared from here on, when pools and caches are filled
ALONE_S = 20


@contextmanager
def running_app(face_detector: str | None = None) -> Iterator[tuple[str, psutil.Process]]:
    """Starts the app in a process of its own, on a free port, and yields its address and process.

    Raises:
        RuntimeError: If it does not come up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, APP, *(["--face_detector", face_detector] if face_detector else [])]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port)}
    process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        else:
            raise RuntimeError(f"the app ended with {process.returncode} or did not answer for {START_S} s")
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait()


class Load:
    """What the clients measured: seconds of each answer, by endpoint, and the failures."""

    def __init__(self, url: str, photo: Path, bar: tqdm) -> None:
        self._url, self._photo, self._bar = url, photo, bar
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []

    def use(self, number_of_clients: int, seconds: float) -> None:
        """Lets clients use the app at once for some time."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._use, args=(end,)) for _ in range(number_of_clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _use(self, end: float) -> None:
        client = Client(self._url, verbose=False, download_files=False)
        while time.monotonic() < end:
            self._ask(client, "/photo")
            self._ask(client, "/photo with /explain")

    def _ask(self, client: Client, what: str) -> None:
        start = time.monotonic()
        try:
            photo = handle_file(str(self._photo))
            client.predict(photo, False, api_name="/photo")
            if what != "/photo":
                client.predict(photo, False, 1, api_name="/explain")
        except Exception as error:  # whatever it is, it is counted
            self.failures.append(f"{type(error).__name__}: {error}")
        self.seconds[what].append(time.monotonic() - start)
        self._bar.update()


def main() -> int:
    """Measures, prints and writes the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=4, help="(default: 4)")
    parser.add_argument("--seconds", type=float, default=60, help="for all clients at once (default: 60)")
    parser.add_argument("--face_detector", help="YuNet's .onnx file")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(unit="answers", disable=None) as bar,
        running_app(options.face_detector) as (url, process),
    ):
        photo = Path(folder) / "astronaut.jpg"
        Image.fromarray(astronaut()).save(photo)
        alone, together = Load(url, photo, bar), Load(url, photo, bar)
        alone.use(1, ALONE_S)
        together.use(options.clients, WARM_UP_S)
        together.seconds.clear()
        start = process.memory_info().rss / 2**20
        together.use(options.clients, options.seconds)
        end = process.memory_info().rss / 2**20
    rows = [
        [clients, what, len(times), *(1000 * np.percentile(times, share) for share in (50, 95))]
        for clients, load in ((1, alone), (options.clients, together))
        for what, times in load.seconds.items()
    ]
    failures = alone.failures + together.failures
    header = ["clients", "endpoint", "answers", "p50 ms", "p95 ms"]
    text = (
        f"{describe_machine(torch.device('cpu'))}; a photo of 512 x 512 px with one face, "
        f"{options.seconds:.0f} s for all clients\n\n{markdown_table(header, rows)}\n\n"
        f"{len(failures)} failures; memory of the app {start:.0f} MiB at the start, {end:.0f} MiB at the end "
        f"({end / start - 1:+.1%}).\n"
    )
    print(text)
    for failure in sorted(set(failures)):
        print(failure, file=sys.stderr)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "app_load_cpu.md").write_text(text)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
