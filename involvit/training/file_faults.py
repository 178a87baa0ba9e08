"""What is wrong with the files of a run, said in one line that names them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from ..files import naming


def read_fields(path: Path, advice: str, needed: Collection[str] = ()) -> dict[str, Any]:
    """Reads a JSON or YAML file that a run wrote.

    Args:
        path: The file.
        advice: What to do if it is damaged.
        needed: Fields that it must have.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it cannot be read, holds no fields or lacks one.
    """
    read = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        content = read(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("it holds no fields")
        if missing := [name for name in needed if name not in content]:
            raise ValueError(f"it lacks {missing[0]}")
    except (IsADirectoryError, PermissionError) as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {advice}") from error
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is damaged ({error}); {advice}") from error
    return content


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Names the folder in what the system, safetensors and torch raise when it cannot be written to."""
    try:
        with naming(folder):
            yield
    except (SafetensorError, RuntimeError) as error:
        raise OSError(f"{folder} cannot be written ({error}); is its disk full?") from error
