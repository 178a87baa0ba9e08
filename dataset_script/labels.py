"""The seven expression classes, their order, and the other names data sets give them."""

from __future__ import annotations

from collections.abc import Sequence

LABELS: tuple[str, ...] = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
"""Class names in id order: `LABELS[0]` is class 0. FER2013's csv numbers its classes the same way."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "Angry": ("anger", "angriness"),
    "Disgust": ("disgusted",),
    "Fear": ("fearful", "afraid", "scared"),
    "Happy": ("happiness", "joy", "joyful"),
    "Sad": ("sadness",),
    "Surprise": ("surprised", "suprise", "suprised"),  # misspelt like that in more than one published data set
    "Neutral": ("neutrality",),
}
_CANONICAL = {alias: label for label, aliases in _SYNONYMS.items() for alias in (label.lower(), *aliases)}


def _key(name: str) -> str:
    return name.strip().lower().lstrip("0123456789").lstrip("_-. ")


def is_class_name(name: str) -> bool:
    """Returns whether `canonical_label` knows the name."""
    return _key(name) in _CANONICAL


def canonical_label(name: str) -> str:
    """Returns the class of `LABELS` that a class name means.

    Args:
        name: A class name in any case: one of `LABELS` or a common synonym (`"happiness"`, `"ANGER"`, `"surprised"`).
            Spaces around it are ignored, and so is a number before it (`"3_Happy"`, `"0-angry"`).

    Raises:
        ValueError: If the name is none of the known ones.
    """
    if not is_class_name(name):
        raise ValueError(f"{name!r} is not an expression class; the classes are {', '.join(LABELS)}.")
    return _CANONICAL[_key(name)]


def class_places(names: Sequence[str]) -> list[int] | None:
    """Returns the place of each of `LABELS` among class names of any order and spelling, such as those of a model.

    None unless they are these seven, each once.
    """
    known = [canonical_label(name) if is_class_name(name) else name for name in names]
    return [known.index(label) for label in LABELS] if sorted(known) == sorted(LABELS) else None
