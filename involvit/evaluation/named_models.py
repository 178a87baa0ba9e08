"""The models that a report sets side by side, each under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..prediction.classifier import Classifier, default_model, load_classifier


def name_models(models: Sequence[str]) -> dict[str, str]:
    """Gives each model the shortest name that distinguishes it from the others.

    Args:
        models: Folders, Hub ids or `.onnx` files; or `NAME=MODEL` for a name of one's own, unless there is such a path.

    Returns:
        Name -> model. A folder's name is its last part, or more of its path where two folders end alike.

    Raises:
        ValueError: If a model or a name is given twice.
    """
    given = [("", text) if Path(text).exists() else text.rpartition("=")[::2] for text in models]
    paths = [Path(model).resolve() if Path(model).exists() else Path(model) for _, model in given]
    named: dict[str, str] = {}
    for place, ((own, model), path) in enumerate(zip(given, paths, strict=True)):
        if path in paths[:place]:
            raise ValueError(f"the model {model} is named twice; a comparison needs different models")
        endings = [path.parts[start:] for start in reversed(range(len(path.parts)))]
        others = [other.parts for other in paths if other != path]
        unique = (ending for ending in endings if all(parts[-len(ending) :] != ending for parts in others))
        name = own or str(Path(*next(unique, path.parts)))
        if name in named:
            raise ValueError(f"two models are named {name}; give each a name of its own: NAME=MODEL")
        named[name] = model
    return named


def load_models(models: Sequence[str] | None) -> dict[str, Classifier]:
    """Loads the models to compare, by default the one of the package; raises as `name_models`, `load_classifier` do."""
    named = name_models(models or [str(default_model())])
    return {name: load_classifier(model) for name, model in named.items()}
