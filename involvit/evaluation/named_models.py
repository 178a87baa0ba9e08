"""The models that a report sets side by side, each under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..prediction.classifier import Classifier, default_model, load_classifier


def name_models(models: Sequence[str]) -> dict[str, str]:
    """Gives each model the shortest name that distinguishes it from the others.

    Args:
        models: Folders, Hub ids or `.onnx` files; or `NAME=MODEL` for a name of one's own.

    Returns:
        Name -> model. A folder's name is its last part, or more of its path where two folders end alike.

    Raises:
        ValueError: If a model or a name is given twice.
    """
    given = [name_and_model.rpartition("=")[::2] for name_and_model in models]
    seen: dict[str, str] = {}
    for _, model in given:
        place = str(Path(model).resolve()) if Path(model).exists() else model
        if place in seen:
            raise ValueError(f"the model {model} is named twice; a comparison needs different models")
        seen[place] = model
    paths = [Path(model).resolve() if Path(model).exists() else Path(model) for _, model in given]
    names = []
    for (own, _), path in zip(given, paths, strict=True):
        others = [other for other in paths if other != path]
        lengths = range(1, len(path.parts) + 1)
        endings = ("/".join(path.parts[-length:]) for length in lengths)
        unique = (
            ending
            for length, ending in zip(lengths, endings, strict=True)
            if all(other.parts[-length:] != path.parts[-length:] for other in others)
        )
        names.append(own or next(unique, str(path)))
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two models are named {name}; give each a name of its own: NAME=MODEL")
    return dict(zip(names, (model for _, model in given), strict=True))


def load_models(models: Sequence[str] | None) -> dict[str, Classifier]:
    """Loads the models to compare, by default the one of the package.

    Raises:
        FileNotFoundError: If a folder or file is not there.
        ValueError: See `name_models` and `load_classifier`.
    """
    named = name_models(models or [str(default_model())])
    return {name: load_classifier(model) for name, model in named.items()}
