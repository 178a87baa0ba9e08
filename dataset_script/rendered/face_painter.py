"""Paints a parametric face by filled polygons on a lit head."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .appearance import Appearance, dull_color
from .canvas import Canvas, circle
from .face_geometry import SIDES, Eye, Face
from .shot import Shot


def paint(face: Face, person: Appearance, shot: Shot, size: int) -> Image.Image:
    """Paints a portrait of `size` x `size` pixels, RGB, the same bytes for the same arguments."""
    canvas = Canvas(size * max(1, round(352 / size)), shot)  # drawn larger and made smaller, for smooth edges
    _paint_backdrop(canvas, shot)
    _paint_behind(canvas, face, person)
    head = canvas.hull(face.head)
    canvas.fill(head, person.skin)
    _paint_skin(canvas, face, person)
    _paint_nose(canvas, face, person, shot)
    _paint_beard(canvas, face, person)
    _paint_mouth(canvas, face, person)
    for eye in face.eyes:
        _paint_eye(canvas, eye, person, shot)
    for brow in face.brows:
        canvas.stroke(brow, face.brow_widths, person.hair * 0.75, 0.9, soft=0.012)
    _paint_hair(canvas, face, person)
    _light(canvas, head, shot)
    _paint_glasses(canvas, face, person)
    _paint_occluder(canvas, person, shot)
    return _expose(canvas, shot, size)


_SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _noise(rng: np.random.Generator, side: int, cells: int, stretch: float = 1.0) -> NDArray[np.float32]:
    """Smooth noise of about `cells` bumps across the canvas, [side, side], within about -1 to 1."""
    rows = max(2, round(cells / stretch))
    return cv2.resize(rng.uniform(-1, 1, (rows, cells)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)


def _paint_backdrop(canvas: Canvas, shot: Shot) -> None:
    rng = np.random.default_rng(shot.backdrop)
    top, bottom = dull_color(rng), dull_color(rng)
    ramp = np.linspace(0, 1, canvas.side)[:, None, None]
    canvas.pixels[:] = top * (1 - ramp) + bottom * ramp
    for _ in range(rng.integers(0, 7)):
        centre, extent = rng.uniform(0, canvas.side, 2), rng.uniform(0.05, 0.35, 2) * canvas.side
        shape = circle(np.linspace(0, 6, 20)) if rng.random() < 0.5 else _SQUARE
        canvas.fill(centre + shape * extent, dull_color(rng), rng.uniform(0.4, 1), soft=rng.uniform(0, 0.12))
    canvas.pixels += 14 * _noise(rng, canvas.side, 9)[..., None]


def _paint_behind(canvas: Canvas, face: Face, person: Appearance) -> None:
    """Hair that hangs behind the head, neck, shoulders, ears."""
    if person.hair_style == "long":
        skull = face.skull * [1.13, 1.08, 1.05]
        hanging = [[-0.86, 1.25, -0.2], [0.86, 1.25, -0.2], [-0.92, 0.4, -0.3], [0.92, 0.4, -0.3]]
        canvas.fill(canvas.hull(np.concatenate([skull, hanging])), person.hair * 0.8, soft=0.02)
    if person.hair_style == "curly":
        points = face.skull[::3]
        for point in points[points[:, 1] < 0.25] * [1.16, 1.13, 1.1]:
            canvas.dot(point[None], 0.17, person.hair * 0.85, soft=0.02)
    if person.hair_style == "bun":
        canvas.dot(np.array([[0.0, -1.25, -0.45]]), 0.30, person.hair * 0.85, soft=0.02)
    chin = face.head[:, 1].max()
    neck = np.array([[-0.42, 0.4, -0.15], [0.42, 0.4, -0.15], [0.46, chin + 1.2, -0.35], [-0.46, chin + 1.2, -0.35]])
    canvas.fill(neck, person.skin * 0.72)
    x = np.linspace(-1.9, 1.9, 25)
    shoulders = np.stack([x, chin + 0.42 + 0.32 * np.abs(x) ** 1.5, np.full_like(x, -0.35)], axis=1)
    below = [[2.2, 4.5, -0.35], [-2.2, 4.5, -0.35]]
    canvas.fill(np.concatenate([shoulders, below]), person.clothes)
    canvas.stroke(shoulders[6:-6], 0.09, person.clothes * 0.7, 0.8, soft=0.01)
    if person.hair_style != "long":
        ear = circle(np.linspace(0, 2 * np.pi, 20, endpoint=False))[:, [0, 1, 0]] * [0.10, 0.21, 0.05]
        for side in SIDES:
            canvas.fill(ear + [side * 0.85, 0.04, -0.12], person.skin * 0.93)
            canvas.fill(ear * 0.55 + [side * 0.87, 0.03, -0.10], person.skin * 0.74, soft=0.02)


def _paint_skin(canvas: Canvas, face: Face, person: Appearance) -> None:
    shade = person.skin * [0.62, 0.52, 0.48]
    for eye in face.eyes:  # sockets
        socket = np.concatenate([eye.crease + [0, -0.05, 0], (eye.bag + [0, -0.01, 0])[::-1]])
        canvas.fill(socket, shade, 0.28, soft=0.05)
    blush = person.skin * 0.7 + np.array([190, 70, 60]) * 0.3
    for side, cheek in zip(SIDES, face.cheeks, strict=True):
        canvas.dot(cheek, 0.17, blush, 0.25, soft=0.09)
        if face.cheek_raise > 0.1:  # the raised cheek is lit above and shaded below
            canvas.dot(cheek + [side * 0.01, -0.03, 0.05], 0.09, person.skin * 1.12 + 12, 0.45 * face.cheek_raise, 0.06)
            under = circle(np.linspace(0.15, np.pi - 0.15, 12))[:, [0, 1, 0]] * [0.17, 0.13, 0]
            canvas.stroke(cheek + under, 0.05, shade, 0.40 * face.cheek_raise, soft=0.03)
    for curve, depth in face.wrinkles:
        depth = depth + 0.2 * person.age
        canvas.stroke(curve, 0.022 + 0.012 * depth, shade * 0.8, min(0.75, 0.85 * depth), soft=0.010)
        canvas.stroke(curve + [0.012, 0.022, 0], 0.02, person.skin * 1.15 + 10, 0.30 * depth, soft=0.012)
    canvas.stroke(face.chin_crease, 0.05, shade, 0.30, soft=0.025)


def _paint_nose(canvas: Canvas, face: Face, person: Appearance, shot: Shot) -> None:
    shade = person.skin * [0.66, 0.56, 0.52]
    for side, curve in zip(SIDES, face.nose_sides, strict=True):  # the one away from the light is darker
        canvas.stroke(curve, 0.07, shade, 0.55 * np.clip(0.5 - 0.8 * side * shot.light[0], 0.15, 1), soft=0.03)
        canvas.stroke(curve[-4:], 0.028, shade * 0.8, 0.7, soft=0.008)
    bridge = np.linspace([0, -0.22, 0.80], face.nose_tip[0] - [0, 0.03, 0], 8)
    canvas.stroke(bridge, 0.05, person.skin * 1.1 + 16, 0.35, soft=0.025)
    canvas.dot(face.nose_tip, 0.05, person.skin * 1.12 + 18, 0.45, soft=0.03)
    canvas.stroke(face.nose_base, 0.035, shade * 0.75, 0.75, soft=0.010)
    for nostril in face.nostrils:
        canvas.fill(nostril, person.skin * 0.22, 0.85, soft=0.006)


def _paint_beard(canvas: Canvas, face: Face, person: Appearance) -> None:
    color = person.hair * 0.85
    if person.beard:
        canvas.fill(face.beard, color, person.beard, soft=0.03)
    if person.moustache:
        edge = face.upper_lip[: len(face.upper_lip) // 2]
        shape = np.concatenate([edge * [0.9, 1, 1] + [0, -0.10, 0], edge[::-1] + [0, -0.005, 0]])
        canvas.fill(shape, color, person.moustache, soft=0.015)


def _paint_mouth(canvas: Canvas, face: Face, person: Appearance) -> None:
    lips = person.lips
    canvas.fill(face.mouth, (58, 16, 20))
    half = len(face.mouth) // 2
    gap = float((face.mouth[half:][::-1] - face.mouth[:half])[:, 1].max())
    if gap > 0.12:
        centre = face.mouth.mean(axis=0)[None] + [0, 0.28 * gap, 0]
        tongue = canvas.disc(canvas.project(centre)[0], 0.3 * gap + 0.05)
        canvas.fill(tongue, (176, 84, 84), 0.85, soft=0.02, within=face.mouth)
    if gap > 0.03:
        canvas.fill(face.upper_teeth, (238, 234, 222), min(1.0, (gap - 0.02) / 0.03))
    if gap > 0.09:
        canvas.fill(face.lower_teeth, (214, 208, 196), 0.75)
    if gap > 0.03:
        canvas.stroke(face.mouth[:half], 0.022, (70, 22, 24), 0.6, soft=0.006)
    canvas.fill(face.lower_lip, lips * 1.06, 0.92, soft=0.006)
    canvas.fill(face.upper_lip, lips * 0.86, 0.92, soft=0.006)
    middle = len(face.lower_lip) // 4
    shine = face.lower_lip[middle - 6 : middle + 7] + [0, 0.03, 0.02]
    canvas.stroke(shine, 0.025, lips * 1.1 + 40, 0.35, soft=0.012)
    if gap <= 0.03:
        canvas.stroke(face.lip_line, 0.020, lips * 0.32, 0.95)
    for corner in (face.lip_line[:1], face.lip_line[-1:]):
        canvas.dot(corner, 0.018, lips * 0.35, 0.8, soft=0.008)
    under = face.lower_lip[len(face.lower_lip) // 2 :][::-1][5:-5] + [0, 0.03, 0]
    canvas.stroke(under, 0.04, person.skin * [0.6, 0.5, 0.46], 0.35, soft=0.018)


def _paint_eye(canvas: Canvas, eye: Eye, person: Appearance, shot: Shot) -> None:
    shade = person.skin * [0.55, 0.45, 0.42]
    opening = np.concatenate([eye.upper_lid, eye.lower_lid[::-1]])
    canvas.fill(opening, (236, 232, 228))
    centre = canvas.project(eye.iris + [0.055 * shot.gaze[0], 0.03 * shot.gaze[1], 0.03])[0]
    glint = centre + 0.38 * eye.iris_radius * canvas.unit * np.array([shot.light[0], -0.9])
    for radius, color in ((1, person.eyes * 0.5), (0.86, person.eyes), (0.45, (10, 10, 12))):
        canvas.fill(canvas.disc(centre, radius * eye.iris_radius), color, within=opening)
    canvas.fill(canvas.disc(glint, 0.22 * eye.iris_radius), (250, 250, 250), within=opening)
    canvas.stroke(eye.upper_lid + [0, 0.02, 0], 0.03, (60, 50, 50), 0.35, soft=0.012)  # the lid's shadow
    canvas.stroke(eye.upper_lid, 0.032, person.hair * 0.3, 0.95)
    canvas.stroke(eye.lower_lid, 0.014, shade * 0.8, 0.8, soft=0.004)
    canvas.stroke(eye.crease, 0.018, shade, 0.65, soft=0.008)
    canvas.stroke(eye.bag, 0.022, shade, 0.25 + 0.35 * person.age, soft=0.012)


def _paint_hair(canvas: Canvas, face: Face, person: Appearance) -> None:
    """Hair on the head and over the forehead."""
    if person.hair_style == "bald":
        return
    skull = face.skull * [1.07, 1.07, 1.05]
    free = [face.front]
    if person.hair_style == "long":
        skull = np.concatenate([skull, [[-0.90, 0.3, 0], [-0.84, 1.3, 0], [0.90, 0.3, 0], [0.84, 1.3, 0]]])
    else:  # ends at the ears
        free.append(np.array([[-3, 0.02, -0.2], [3, 0.02, -0.2], [3, 4, -0.2], [-3, 4, -0.2]]))
    window, coverage = canvas.mask(canvas.hull(skull), soft=0.012, without=free)
    strands = 1 + 0.22 * _noise(canvas.grain, canvas.side, 70, stretch=6)[..., None]
    canvas.blend(window, coverage, person.hair * strands[window])

    top = face.front[2:-4]
    t = np.linspace(0, 1, 24)
    line = np.stack([np.interp(t, np.linspace(0, 1, len(top)), axis) for axis in top.T], axis=1)
    if person.hair_style == "side":
        depth = 0.20 * np.clip(1.4 * t, 0, 1) * np.clip(2.5 * (1 - t), 0, 1)
    else:
        depth = person.fringe * np.sin(np.pi * t) ** 0.3 * (1 + 0.15 * np.sin(23 * t))
    if depth.any():
        hem = line + np.stack([0 * t, depth, 0.06 + 0 * t], axis=1)
        window, coverage = canvas.mask(np.concatenate([line + [0, -0.04, 0.02], hem[::-1]]), soft=0.012)
        canvas.blend(window, coverage, 0.95 * person.hair * strands[window])


def _light(canvas: Canvas, head: NDArray, shot: Shot) -> None:
    """Shades the head as an ellipsoid under a lamp and ambient light, and roughens the skin."""
    window, coverage = canvas.mask(head, soft=0.01)
    upright = _turn(shot.roll)
    turned = head @ upright
    centre, radius = (turned.max(axis=0) + turned.min(axis=0)) / 2, 1.04 * np.ptp(turned, axis=0) / 2
    y, x = np.mgrid[window].astype(np.float32)
    u, v = np.moveaxis((np.stack([x, y], axis=-1) @ upright.astype(np.float32) - centre) / radius, -1, 0)
    depth = np.sqrt(np.clip(1 - u**2 - v**2, 0.02, 1))
    lamp_u, lamp_v = shot.light[:2] @ upright
    lamp = np.clip(u * lamp_u + v * lamp_v + depth * shot.light[2], 0, 1)
    lit = shot.ambient + 1.3 * (1 - shot.ambient) * lamp
    lit *= 1 + 0.015 * _noise(canvas.grain, canvas.side, 60)[window]
    canvas.pixels[window] *= (1 + (lit - 1) * coverage)[..., None]


def _paint_glasses(canvas: Canvas, face: Face, person: Appearance) -> None:
    if person.glasses == "none":
        return
    width, color = (0.045, (24, 22, 24)) if person.glasses == "thick" else (0.022, (120, 104, 70))
    x, y = circle(np.linspace(0, 2 * np.pi, 33)).T
    rim = np.stack([np.sign(x) * np.abs(x) ** 0.6, y, 0 * y], axis=1)
    for eye in face.eyes:
        frame = eye.iris + [eye.side * 0.02, 0.04, 0.12] + rim * [0.265, 0.20, 0]
        canvas.fill(frame, (235, 240, 245), 0.07)
        canvas.stroke(frame, np.full(len(frame), width), color)
        hinge = eye.iris[0] + [eye.side * 0.285, 0.0, 0.12]
        if (canvas.rotation @ [eye.side, 0, 0])[2] > -0.1:  # the other one is behind the face
            canvas.stroke(np.linspace(hinge, [eye.side * 0.86, -0.02, -0.1], 9), np.full(9, width), color)
    left, right = (eye.iris[0] + [-eye.side * 0.245, 0.02, 0.12] for eye in face.eyes)
    canvas.stroke(np.linspace(left, right, 9), np.full(9, width), color)


def _paint_occluder(canvas: Canvas, person: Appearance, shot: Shot) -> None:
    x, y, angle = shot.occluder_place
    turn = _turn(angle)
    centre = canvas.project(np.array([[x, y, 0.9]]))[0]
    if shot.occluder == "fingers":
        for finger in range(4):
            line = np.stack([np.linspace(-0.1 * abs(finger - 1.3), 1.6, 12), np.full(12, 0.17 * finger - 0.25)], axis=1)
            tip = line[0] + 0.08 * circle(np.linspace(np.pi / 2, 3 * np.pi / 2, 9))
            outline = np.concatenate([tip, line + [0, -0.08], (line + [0, 0.08])[::-1]])
            pixels = centre + np.sign(x) * outline @ turn.T * canvas.unit
            canvas.fill(pixels, person.skin * 0.55, soft=0.01)
            canvas.fill(pixels + (centre - pixels) * 0.02, person.skin * 0.95, soft=0.012)
    elif shot.occluder == "cup":
        color = dull_color(canvas.grain)
        canvas.fill(canvas.disc(centre, 0.30), color * 0.7, soft=0.01)
        canvas.fill(canvas.disc(centre, 0.26), color, soft=0.02)
    elif shot.occluder == "sheet":
        corners = _SQUARE * [0.30, 0.24] @ turn.T
        canvas.fill(centre + corners * canvas.unit, canvas.grain.uniform(150, 245, 3), soft=0.005)


def _expose(canvas: Canvas, shot: Shot, size: int) -> Image.Image:
    """Tint, blur, the wanted size, sensor noise."""
    pixels = canvas.pixels * shot.tint.astype(np.float32)
    if shot.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), shot.blur * canvas.side)
    if canvas.side != size:
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    pixels += shot.noise * canvas.grain.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
