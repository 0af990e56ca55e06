"""Renderer: draws marks in order onto a transparent canvas.

Outlines are rasterised at three times the size and reduced (anti-aliasing). Light and folds vary slowly: they are
computed at a quarter of the resolution and enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demo.sample.drawing.fabrics import Fabric, paint
from demo.sample.drawing.geometry import Affine, Points
from demo.sample.drawing.noise import Field, blur, enlarge, smooth_noise
from demo.sample.drawing.parts import Glow, Line, Mark, Part, Spot

FINE = 3  # supersampling factor of outlines
COARSE = 4  # downsampling factor of light
ROUND = 0.03  # garment units over which an edge rounds off

Window = tuple[slice, slice]  # rows and columns of the picture


@dataclass(frozen=True)
class Light:
    """Direction of the light on the picture (x right, y down), and its hardness."""

    x: float = -0.5
    y: float = -0.86
    hardness: float = 1.0


class Canvas:
    """Picture with transparency: `colour` (h, w, 3) and `alpha` (h, w), both from 0 to 1."""

    def __init__(self, size: tuple[int, int], place: Affine, light: Light, generator: np.random.Generator) -> None:
        self.colour = np.zeros((size[1], size[0], 3), np.float32)
        self.alpha = np.zeros((size[1], size[0]), np.float32)
        self.place, self.light, self.generator = place, light, generator
        self.back = place.inverse()

    def draw(self, marks: Iterable[Mark], cloths: Mapping[str, Fabric]) -> None:
        """Draw the marks in order, each over those before."""
        for mark in marks:
            match mark:
                case Part():
                    self._part(mark, cloths[mark.cloth])
                case Line():
                    self._line(mark, cloths.get(mark.cloth or ""))
                case Spot():
                    self._spot(mark, cloths[mark.cloth])
                case Glow():
                    self._glow(mark)

    def _part(self, part: Part, fabric: Fabric) -> None:
        points = self.place(part.outline)
        window = self._window(points, margin=6)
        if window is None:
            return
        mask = self._filled(points, window)
        if part.lift:
            self._cast_shadow(mask, window, part.lift)
        u, v = self._cloth_coordinates(window, part.grain)
        if part.folds:
            self._crumple(u, v, part.folds)
        colour = paint(fabric, u, v, 1 / self.place.scale, self.generator)
        shading, gloss = self._shading(mask, part, fabric.gloss)
        colour *= (shading * np.float32(part.shade))[..., None]
        if gloss is not None:
            colour += gloss[..., None]
        self._lay(colour, mask, window)

    def _line(self, line: Line, fabric: Fabric | None) -> None:
        points = self.place(line.path)
        width = line.width * self.place.scale
        window = self._window(points, margin=3 + math.ceil(width))
        if window is None:
            return
        mask = self._stroked(points, window, width)
        if fabric is None:
            self.colour[window] *= (1 - mask * np.float32(1 - line.shade))[..., None]
            return
        self._cast_shadow(mask, window, 0.5)
        tint = np.array(fabric.colours[0], np.float32) * np.float32(line.shade)
        self._lay(np.broadcast_to(tint, (*mask.shape, 3)), mask, window)

    def _spot(self, spot: Spot, fabric: Fabric) -> None:
        """Draw a small dome with a light upper edge and a dark middle."""
        centre = self.place(np.array([spot.centre]))
        radius = max(1.2, spot.radius * self.place.scale)
        window = self._window(centre, margin=math.ceil(radius) + 4)
        if window is None:
            return
        y, x = self._grid(window)
        x, y = (x - np.float32(centre[0, 0])) / np.float32(radius), (y - np.float32(centre[0, 1])) / np.float32(radius)
        distance = np.hypot(x, y)
        mask = np.clip((1 - distance) * np.float32(radius) + 0.5, 0, 1).astype(np.float32)
        self._cast_shadow(mask, window, 0.9)
        shade = 1 + np.float32(0.22) * (x * self.light.x + y * self.light.y) - np.float32(0.35) * (distance < 0.3)
        tint = np.array(fabric.colours[0], np.float32)
        self._lay(tint * shade[..., None].astype(np.float32), mask, window)

    def _glow(self, glow: Glow) -> None:
        centre = self.place(np.array([glow.centre]))[0]
        across, down = glow.radii[0] * self.place.scale, glow.radii[1] * self.place.scale
        window = self._window(centre[None], margin=math.ceil(2 * max(across, down)))
        if window is None:
            return
        y, x = self._grid(window)
        squared = ((x - np.float32(centre[0])) / np.float32(across)) ** 2 + (
            (y - np.float32(centre[1])) / np.float32(down)
        ) ** 2
        share = (np.float32(glow.strength) * np.exp(-squared) * self.alpha[window])[..., None]
        self.colour[window] += share * (np.float32(glow.strength > 0) - self.colour[window])

    # --- geometry ---------------------------------------------------------------------------------------------------

    def _window(self, points: Points, margin: int) -> Window | None:
        """Return the part of the picture that the points touch, None if they are outside."""
        height, width = self.alpha.shape
        left, top = (max(0, math.floor(low) - margin) for low in points.min(axis=0))
        right, bottom = (math.ceil(high) + margin for high in points.max(axis=0))
        right, bottom = min(width, right), min(height, bottom)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    @staticmethod
    def _grid(window: Window) -> tuple[Field, Field]:
        rows, columns = window
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5)
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + np.float32(0.5)
        return y, x

    def _cloth_coordinates(self, window: Window, grain: float) -> tuple[Field, Field]:
        """Return garment units across and along the thread at each pixel of the window."""
        c, s = math.cos(math.radians(grain)), math.sin(math.radians(grain))
        turn = np.array([[c, s], [-s, c]]) @ self.back.matrix
        shift = np.array([[c, s], [-s, c]]) @ self.back.offset
        y, x = self._grid(window)
        u = np.float32(turn[0, 0]) * x + np.float32(turn[0, 1]) * y + np.float32(shift[0])
        v = np.float32(turn[1, 0]) * x + np.float32(turn[1, 1]) * y + np.float32(shift[1])
        return u, v

    # --- coverage ---------------------------------------------------------------------------------------------------

    def _filled(self, points: Points, window: Window) -> Field:
        large, corners = self._large(points, window)
        ImageDraw.Draw(large).polygon(corners, fill=255)
        return _reduced(large)

    def _stroked(self, points: Points, window: Window, width: float) -> Field:
        """Return the coverage of a stroke; one thinner than a pixel is paler, not broken."""
        large, corners = self._large(points, window)
        ink = round(255 * min(1.0, max(0.3, width)))
        ImageDraw.Draw(large).line(corners, fill=ink, width=max(FINE, round(width * FINE)), joint="curve")
        return _reduced(large)

    @staticmethod
    def _large(points: Points, window: Window) -> tuple[Image.Image, list[tuple[float, float]]]:
        rows, columns = window
        large = Image.new("L", ((columns.stop - columns.start) * FINE, (rows.stop - rows.start) * FINE))
        corners = (points - np.array([columns.start, rows.start])) * FINE - 0.5  # Pillow counts from pixels' middles
        return large, [(float(x), float(y)) for x, y in corners]

    # --- light ------------------------------------------------------------------------------------------------------

    def _shading(self, mask: Field, part: Part, gloss: float) -> tuple[Field, Field | None]:
        """Return the brightness around 1, and the highlights of a glossy cloth or None."""
        coarse = mask[::COARSE, ::COARSE]
        radius = max(1, round(ROUND * self.place.scale / COARSE / 2))
        height = blur(coarse, radius)
        slope = self._facing(height) * np.float32(part.relief * 0.42 * radius)
        dim = np.float32(0.16 * part.relief) * (1 - height)
        creases = self._creases(coarse.shape) * np.float32(part.folds)
        light = slope + creases
        shading = enlarge(np.clip(1.03 + light - dim, 0.35, 1.3).astype(np.float32), mask.shape)
        if not gloss:
            return shading, None
        shine = np.clip(light - np.float32(0.03), 0, 1) * np.float32(2.2 * gloss)
        return shading, enlarge(shine.astype(np.float32), mask.shape)

    def _facing(self, height: Field) -> Field:
        """Return how much each point of a height field faces the light."""
        if min(height.shape) < 2:
            return np.zeros_like(height)
        down, right = np.gradient(height)
        return np.asarray(-(right * self.light.x + down * self.light.y), dtype=np.float32) * np.float32(
            self.light.hardness
        )

    def _creases(self, shape: tuple[int, int]) -> Field:
        """Return broad waves and a few sharper folds as brightness around 0."""
        cell = 0.11 * self.place.scale / COARSE
        rows, columns = math.ceil(shape[0] / cell), math.ceil(shape[1] / cell)
        broad = smooth_noise(self.generator, shape, (rows // 2 + 2, columns + 2))
        ridges = 1 - np.abs(smooth_noise(self.generator, shape, (rows + 2, columns + 3)))
        return self._facing(broad * np.float32(0.06 * cell)) + self._facing(ridges.astype(np.float32)) * np.float32(
            0.05 * cell
        )

    def _crumple(self, u: Field, v: Field, folds: float) -> None:
        """Displace the cloth coordinates a little, as on cloth that is not flat."""
        cell = 0.16 * self.place.scale
        cells = (math.ceil(u.shape[0] / cell) + 1, math.ceil(u.shape[1] / cell) + 1)
        reach = np.float32(0.0035 * folds)
        u += reach * smooth_noise(self.generator, u.shape, cells)
        v += reach * smooth_noise(self.generator, u.shape, cells)

    def _cast_shadow(self, mask: Field, window: Window, lift: float) -> None:
        """Darken the surroundings of a raised part."""
        reach = max(1.0, 0.007 * self.place.scale)
        image = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(reach))
        soft = np.asarray(image, dtype=np.float32) * np.float32(0.4 * lift / 255)
        self.colour[window] *= (1 - soft)[..., None]

    def _lay(self, colour: Field, mask: Field, window: Window) -> None:
        cover = mask[..., None]
        self.colour[window] += cover * (colour - self.colour[window])
        np.maximum(self.alpha[window], mask, out=self.alpha[window])


def _reduced(large: Image.Image) -> Field:
    return np.asarray(large.reduce(FINE), dtype=np.float32) * np.float32(1 / 255)
