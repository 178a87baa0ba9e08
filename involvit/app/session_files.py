"""Files of the visitors of an app: each session's in a folder of its own, deleted when the session ends."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import defaultdict
from pathlib import Path

# A session that asked for nothing for so long is taken to have ended: programs that call the app may leave silently.
MAX_IDLE_S = 3600.0


class SessionFiles:
    """Remembers which files belong to which session. Threads may share it.

    Args:
        root: An existing folder. Below it each session gets a folder whose name nobody can guess.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._folders: dict[str, Path] = {}
        self._uploads: defaultdict[str, set[Path]] = defaultdict(set)
        self._last_use: dict[str, float] = {}

    def new_folder(self, session: str) -> Path:
        """Makes an empty folder for what the session gets; it lives as long as the session.

        Args:
            session: What identifies the session.

        Returns:
            The folder.
        """
        with self._lock:
            self._use(session)
            if session not in self._folders:
                self._folders[session] = self._root / secrets.token_urlsafe(16)
            folder = self._folders[session] / secrets.token_urlsafe(8)
            folder.mkdir(parents=True)
            return folder

    def adopt(self, session: str, upload: str | Path) -> None:
        """Deletes an uploaded file when the session ends; if several sessions sent it, when the last of them ends."""
        with self._lock:
            self._use(session)
            self._uploads[session].add(Path(upload))

    def forget(self, session: str) -> None:
        """Deletes all files of a session; one that is not known has none."""
        with self._lock:
            self._forget(session)

    def _use(self, session: str) -> None:
        now = time.monotonic()
        self._last_use[session] = now
        for other in [other for other, last in self._last_use.items() if now - last > MAX_IDLE_S]:
            self._forget(other)

    def _forget(self, session: str) -> None:
        self._last_use.pop(session, None)
        if folder := self._folders.pop(session, None):
            shutil.rmtree(folder, ignore_errors=True)
        uploads = self._uploads.pop(session, set())
        for upload in uploads.difference(*self._uploads.values()):
            upload.unlink(missing_ok=True)
