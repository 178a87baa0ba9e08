"""Files of the visitors of an app: each session's in a folder of its own, deleted when the session ends."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

# A session that asked for nothing for so long is taken to have ended: programs that call the app may leave silently.
MAX_IDLE_S = 3600.0


@dataclass
class _Session:
    folder: Path
    uploads: set[Path] = field(default_factory=set)
    last_use: float = 0.0


class SessionFiles:
    """Remembers for threads whose files are whose, in folders below `root` with names that nobody can guess."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._sessions: dict[str, _Session] = {}

    def new_folder(self, session: str) -> Path:
        """Makes an empty folder for what the session gets; it lives as long as the session."""
        with self._lock:
            folder = self._used(session).folder / secrets.token_urlsafe(8)
            folder.mkdir(parents=True)
            return folder

    def adopt(self, session: str, upload: str | Path) -> None:
        """Deletes an uploaded file when the session ends; if several sessions sent it, when the last of them ends."""
        with self._lock:
            self._used(session).uploads.add(Path(upload))

    def forget(self, session: str) -> None:
        """Deletes all files of a session; one that is not known has none."""
        with self._lock:
            if gone := self._sessions.pop(session, None):
                shutil.rmtree(gone.folder, ignore_errors=True)
                for upload in gone.uploads.difference(*(other.uploads for other in self._sessions.values())):
                    with suppress(OSError):  # a program may have named a folder
                        upload.unlink()

    def _used(self, session: str) -> _Session:
        """Returns a session that asks for something now, and forgets those that are idle."""
        now = time.monotonic()
        used = self._sessions.setdefault(session, _Session(self._root / secrets.token_urlsafe(16)))
        used.last_use = now
        for idle in [name for name, other in self._sessions.items() if now - other.last_use > MAX_IDLE_S]:
            self.forget(idle)
        return used
