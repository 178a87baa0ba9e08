"""Faces outlined in a picture, each in the colour of its expression and with a tag."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import ImageColor

from ..colors import class_colors
from ..names import shown
from .predictor import FacePrediction

# Height of a tag's letters: a share of the face's width, and of the image's long side at least and at most.
LETTERS_OF_FACE = 0.16
LETTERS_OF_IMAGE = (0.014, 0.028)
MIN_LETTERS = 11  # pixels; smaller ones cannot be read
FONT_WEIGHT = 600
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def draw_faces(image: np.ndarray, faces: Sequence[FacePrediction], texts: Sequence[str] | None = None) -> np.ndarray:
    """Outlines faces and tags them. Lines and letters grow with the image; a tag stays inside it.

    Args:
        image: RGB, uint8 [H, W, 3]; it is not changed.
        faces: Faces in this image. One without a box is the whole image.
        texts: The tag of each face; by default its number from 1, label and score, as in "1 Happy 93%".

    Raises:
        ValueError: If there is not one text for each face.
    """
    if texts is None:
        texts = [f"{number} {shown(face.label)} {face.score:.0%}" for number, face in enumerate(faces, 1)]
    drawn = image.copy()
    height, width = image.shape[:2]
    colors = [ImageColor.getrgb(class_colors(face.probabilities)[face.label]) for face in faces]
    boxes = [face.box or (0, 0, width, height) for face in faces]
    line = max(2, round(max(height, width) / 400))
    edge = line // 2 + 1
    corners = []
    for (x, y, w, h), color in zip(boxes, colors, strict=True):
        limits = np.maximum(edge, [width - 1 - edge, height - 1 - edge])
        first, last = np.clip(np.round([[x, y], [x + w, y + h]]), edge, limits).astype(int).tolist()
        # A dark edge sets the line off against a picture of its own colour.
        cv2.rectangle(drawn, first, last, BLACK, line + 2, cv2.LINE_AA)
        cv2.rectangle(drawn, first, last, color, line, cv2.LINE_AA)
        corners.append((first[0] - line, first[1] - line))
    font = cv2.FontFace("sans")  # keeps state, so that threads must not share it
    limits = np.multiply(LETTERS_OF_IMAGE, max(height, width))
    for box, corner, color, text in zip(boxes, corners, colors, texts, strict=True):
        size = max(MIN_LETTERS, round(np.clip(LETTERS_OF_FACE * box[2], *limits)))
        _draw_tag(drawn, corner, color, text, size, font)
    return drawn


def _draw_tag(
    image: np.ndarray, corner: tuple[int, int], color: tuple[int, int, int], text: str, size: int, font: cv2.FontFace
) -> None:
    """Writes on a filled rectangle above a corner (x, y), or below it where there is no room above."""
    height, width = image.shape[:2]
    text_width = _text_width(text, font, size)
    if text_width + size > width:  # half a letter of room on both sides
        size = max(1, int(size * width / (text_width + size)))
        text_width = _text_width(text, font, size)
    tag_width, tag_height = min(width, text_width + size), min(height, round(1.5 * size))
    x = min(max(0, corner[0]), width - tag_width)
    y = corner[1] - tag_height
    if y < 0:
        y = min(max(0, corner[1]), height - tag_height)
    cv2.rectangle(image, (x, y), (x + tag_width - 1, y + tag_height - 1), color, cv2.FILLED)
    # Above this lightness (L* of CIE 1976) black has more contrast, in WCAG 2; there both have 4.6:1.
    lightness = cv2.cvtColor(np.float32([[color]]) / 255, cv2.COLOR_RGB2LAB)[0, 0, 0]
    baseline = y + round(0.5 * tag_height + 0.36 * size)  # capitals are 0.7 of the size high
    letters = BLACK if lightness > 49.4 else WHITE
    cv2.putText(image, text, (x + size // 2, baseline), letters, font, size, FONT_WEIGHT)


def _text_width(text: str, font: cv2.FontFace, size: int) -> int:
    return cv2.getTextSize((0, 0), text, (0, 0), font, size, FONT_WEIGHT)[2]
