"""One labelled image on its way from a source into the data set, and who or what is on it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from .labels import is_class_name

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
UNLABELLED = -1

_PART_OF = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "publictest"), VALIDATION),
    **dict.fromkeys(("test", "testing", "privatetest", "eval", "evaluation", "holdout", "heldout"), TEST),
}
_WORD = re.compile(r"[Hh](?:old|eld)[^A-Za-z]?[Oo]ut|[^\W\d_]*")
_BESIDE_PART = re.compile(r"(set|split|part|data|images?|imgs?|faces?|aligned|cropped|new)+$")

# The file name up to its trailing numbers: Airheads_000519240_00000005 -> Airheads, Al_Gore_0002 -> Al_Gore. A name
# that only says what kind of file it is, such as FER2013's Training_10118481, tells nobody apart.
GROUP_PATTERN = (
    r"(?!(?i:train|training|val|validation|test|publictest|privatetest|image|img|frame|face|photo)[_-])"
    r"(.+?)(?:[_-]\d+)+"
)
# A word of a file name, the first with the number before it: 3_happy is a class too. Joy_Bryant is a person.
_NAME_WORD = re.compile(r"(^Joy[_-][A-Z][a-z]+|(?:^\d+[_-])?[^_-]+)(?:[_-]+|$)")


@dataclass(frozen=True)
class Face:
    """An image that a source offers."""

    part: str  # one of PARTS
    path: str  # its name inside the source
    label: int  # index into LABELS, or -1 where the source gives none (test part only)
    read: Callable[[], bytes]  # returns the encoded image; a ValueError says why it cannot
    group: str | None = None  # film or person; None leaves it to the file name
    votes: tuple[float, ...] | None = None  # what share of several people chose each of LABELS; sums to 1
    vote_counts: tuple[int, ...] | None = None  # how many people gave each of votes.ANSWERS


def part_of(name: str) -> str | None:
    """Returns the part a folder, split or `Usage` name stands for, or None.

    The first word decides: `"Train_Aligned_Faces"` and `"TrainSet"` are `"train"`, `"PublicTest"` is `"validation"`.
    """
    word = re.sub(r"[\W\d_]", "", _WORD.match(name)[0].lower())
    return _PART_OF.get(word) or _PART_OF.get(_BESIDE_PART.sub("", word))


def part_in_class(name: str) -> str | None:
    """Returns the part a folder below that of a class stands for, or None.

    There are folders of persons there, such as `Val_Kilmer` or `Dev Patel`: no other words may follow.
    """
    others = re.findall(r"[^\W\d_]+", name[_WORD.match(name).end() :].lower())
    return part_of(name) if all(_BESIDE_PART.fullmatch(word) or part_of(word) for word in others) else None


def compile_group_pattern(pattern: str | None) -> re.Pattern[str]:
    """Returns the pattern that finds the film or person in a file name.

    Args:
        pattern: Regular expression with exactly one group, matched against the whole name without folders and suffix.
            The default takes what stands before the trailing numbers.

    Raises:
        ValueError: If it is no regular expression or has not exactly one group.
    """
    try:
        compiled = re.compile(GROUP_PATTERN if pattern is None else pattern)
    except re.error as error:
        raise ValueError(f"group_pattern {pattern!r} is not a regular expression: {error}.") from error
    if compiled.groups != 1:
        raise ValueError(
            f"group_pattern {pattern!r} has {compiled.groups} groups; it needs one, around the film or person: "
            r"'(.+?)_\d+'."
        )
    return compiled


def group_of(path: str, pattern: re.Pattern[str]) -> str:
    """Returns the film or person a file shows, by its name; a name that does not match, or has a class for its film or
    person (`happy_01`), is a group of its own.

    The default pattern sees no classes: `anna_happy_0` and `anna_sad_0` both show `anna`.
    """
    name = PurePosixPath(path).stem
    if pattern.pattern == GROUP_PATTERN:
        name = _NAME_WORD.sub(lambda word: "" if is_class_name(word[1]) else word[0], name)
    match = pattern.fullmatch(name)
    return match[1] if match and match[1] and not is_class_name(match[1]) else path


def encode_png(image: Image.Image) -> bytes:
    """Returns the image as the bytes of a PNG file.

    Run-length coding: for noisy pixels as small as the default strategy of zlib, in a third of its time.
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_type=Image.RLE)
    return buffer.getvalue()
