"""A canvas that curves of the head, in three dimensions, are projected and painted on."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .face_geometry import Curve
from .shot import Shot


def circle(angle: NDArray) -> NDArray[np.float64]:
    """[N] angles -> [N, 2] points of the unit circle."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


class Canvas:
    """An image that polygons given in head coordinates are painted on.

    Attributes:
        pixels: [side, side, 3], RGB, 0 to 255.
        unit: Pixels of one unit of the head's coordinates.
    """

    _SHIFT = 4  # fractional bits of the coordinates that OpenCV takes

    def __init__(self, side: int, shot: Shot) -> None:
        self.side, self.pixels = side, np.zeros((side, side, 3), dtype=np.float32)
        self.unit = shot.scale * side
        self.centre = (0.5 + np.array(shot.offset)) * side
        (sin_y, sin_p, sin_r), (cos_y, cos_p, cos_r) = (f([shot.yaw, shot.pitch, shot.roll]) for f in (np.sin, np.cos))
        yaw = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
        pitch = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
        roll = np.array([[cos_r, -sin_r, 0], [sin_r, cos_r, 0], [0, 0, 1]])
        self.rotation = roll @ pitch @ yaw
        self.grain = np.random.default_rng(shot.grain)

    def project(self, points: NDArray) -> NDArray[np.float64]:
        """[N, 3] in head coordinates -> [N, 2] in pixels, from a distance of eight units; what is in pixels stays."""
        if points.shape[1] == 2:
            return points
        turned = points @ self.rotation.T
        return turned[:, :2] * (8 / (8 - turned[:, 2:])) * self.unit + self.centre

    def hull(self, points: Curve) -> NDArray[np.float64]:
        """The convex outline of points, [N, 2] in pixels."""
        return cv2.convexHull(self.project(points).astype(np.float32))[:, 0].astype(np.float64)

    def mask(
        self, outline: NDArray, soft: float = 0.0, within: NDArray | None = None, without: Sequence[NDArray] = ()
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """Finds the part of the canvas that an outline touches.

        Args:
            outline: [N, 3] in head coordinates or [N, 2] in pixels, as all outlines here.
            soft: Standard deviation of its blurred edge in head units.
            within: An outline that it is cut to.
            without: Outlines that are cut out of it.

        Returns:
            The window of rows and columns, and the coverage there, 0 to 1.
        """
        outline, sigma = self.project(outline), soft * self.unit
        margin = int(3 * sigma) + 2
        low = np.clip(np.floor(outline.min(axis=0)).astype(int) - margin, 0, self.side)
        high = np.clip(np.ceil(outline.max(axis=0)).astype(int) + margin, low, self.side)

        def coverage_of(shape: NDArray) -> NDArray[np.float32]:
            coverage = np.zeros(tuple((high - low)[::-1]), np.uint8)
            if not coverage.size:
                return coverage.astype(np.float32)
            fixed = np.round((self.project(shape) - low) * 2**self._SHIFT).astype(np.int32)
            cv2.fillPoly(coverage, [fixed], 255, cv2.LINE_AA, self._SHIFT)
            coverage = coverage.astype(np.float32) / 255  # OpenCV blurs floats five times as fast as bytes
            return cv2.GaussianBlur(coverage, (0, 0), sigma) if sigma > 0.3 else coverage

        coverage = coverage_of(outline)
        if within is not None:
            coverage *= coverage_of(within)
        for hole in without:
            coverage *= 1 - coverage_of(hole)
        return (slice(low[1], high[1]), slice(low[0], high[0])), coverage

    def blend(self, window: tuple[slice, slice], coverage: NDArray, color: ArrayLike) -> None:
        """Lays one colour, or one per pixel, over a part of the canvas."""
        pixels = self.pixels[window]
        pixels += (np.asarray(color, np.float32) - pixels) * coverage[..., None].astype(np.float32)

    def fill(
        self, outline: NDArray, color: ArrayLike, opacity: float = 1.0, soft: float = 0.0, within: NDArray | None = None
    ) -> None:
        """Fills an outline, see `mask`."""
        window, coverage = self.mask(outline, soft, within)
        self.blend(window, coverage * opacity, color)

    def dot(self, centre: Curve, radius: float, color: ArrayLike, opacity: float = 1.0, soft: float = 0.0) -> None:
        """Fills a disc that faces the viewer around a point of the head."""
        self.fill(self.disc(self.project(centre)[0], radius), color, opacity, soft)

    def disc(self, centre: NDArray, radius: float) -> NDArray[np.float64]:
        """The outline of a disc, its centre in pixels, its radius in head units."""
        return centre + radius * self.unit * circle(np.linspace(0, 2 * np.pi, 28, endpoint=False))

    def stroke(self, curve: Curve, width: ArrayLike, color: ArrayLike, opacity: float = 1.0, soft: float = 0.0) -> None:
        """Draws along an open curve of the head, tapering at both ends where `width` is one number."""
        line = self.project(curve)
        if np.isscalar(width):
            width = width * np.sin(np.linspace(0.15, np.pi - 0.15, len(line))) ** 0.7
        tangent = np.gradient(line, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        reach = 0.5 * np.asarray(width)[:, None] * self.unit * normal
        self.fill(np.concatenate([line + reach, (line - reach)[::-1]]), color, opacity, soft)
