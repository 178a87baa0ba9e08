"""Debian's Firefox, headless, driven by the protocol that it speaks itself: Marionette, JSON over TCP."""

import base64
import json
import socket
import subprocess
import time
from contextlib import contextmanager
from itertools import count

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of a reference to an element, by the WebDriver standard


class Firefox:
    """One window of a running Firefox."""

    def __init__(self, connection):
        self._stream, self._numbers = connection.makefile("rwb"), count(1)
        self._read()  # it introduces itself
        self("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self("WebDriver:SetTimeouts", script=60_000, pageLoad=60_000, implicit=60_000)

    def __call__(self, command, **parameters):
        """Sends a command and returns its result."""
        message = json.dumps([0, next(self._numbers), command, parameters]).encode()
        self._stream.write(b"%d:%b" % (len(message), message))
        self._stream.flush()
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def _read(self):
        size = b""
        while (byte := self._stream.read(1)) != b":":
            size += byte
        return json.loads(self._stream.read(int(size)))

    def find(self, selector):
        """Waits for an element and returns its number."""
        return self("WebDriver:FindElement", using="css selector", value=selector)["value"][ELEMENT]

    def text(self, selector):
        return self("WebDriver:GetElementText", id=self.find(selector))["value"]

    def type(self, selector, text):
        self("WebDriver:ElementSendKeys", id=self.find(selector), text=text)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self("WebDriver:TakeScreenshot", full=True)["value"]))


@contextmanager
def running_firefox(program, profile, port):
    """Starts Firefox with a new profile and gives a `Firefox`."""
    (profile / "user.js").write_text(f'user_pref("marionette.port", {port});')
    words = [program, "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=120)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "Firefox does not start"
                time.sleep(0.3)
        with connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        process.wait(60)
