"""Simulated phone photos: a garment at home, in perspective, under uneven light, blurred and compressed."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from demo.sample.drawing.geometry import Points
from demo.sample.drawing.noise import Field, enlarge, seeded_generator, seeded_random, smooth_noise, white_noise
from demo.sample.drawing.parts import Stance
from demo.sample.drawing.render import Light
from demo.sample.items import SampleItem
from demo.sample.scene import Pose, composite, render_garment, to_image

WHITE_BALANCES = ((1.1, 1.0, 0.84), (1.05, 1.0, 0.93), (0.93, 0.99, 1.09), (1.02, 1.0, 0.97), (0.97, 1.02, 1.0))
SCENE_SCALE = 0.75  # the scene is drawn smaller than the photo: saves time, and a phone photo is blurred anyway


def phone_photo(item: SampleItem, seed: int = 0, size: tuple[int, int] = (768, 1024)) -> Image.Image:
    """Return an RGB photo of the garment on a floor, bed, wall or rug: rotated, relit and compressed."""
    rng = seeded_random("phone", item.external_id, seed)
    generator = seeded_generator("phone", item.external_id, seed)
    small = (round(size[0] * SCENE_SCALE), round(size[1] * SCENE_SCALE))
    canvas = render_garment(item.look, _pose(rng), small, "phone garment", item.external_id, seed)
    ground = rng.choice(GROUNDS)(small, rng, generator)
    scene = to_image(composite(canvas, ground))
    projected = scene.transform(
        size, Image.Transform.PERSPECTIVE, _perspective(small, size, rng), Image.Resampling.BICUBIC
    )
    lens = projected.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
    return _compressed(_exposed(lens, rng, generator), rng.randint(68, 84))


def _pose(rng: random.Random) -> Pose:
    """Draw a careless pose at random."""
    stance = Stance(rng.uniform(0, 22), rng.uniform(-8, 18), rng.uniform(0, 4))
    light = Light(rng.choice((-0.9, 0.9)), rng.uniform(-0.6, 0.3), rng.uniform(1.0, 1.4))
    shift = (rng.uniform(-0.06, 0.06), rng.uniform(-0.05, 0.05))
    return Pose(
        stance,
        rng.choice((-1, 1)) * rng.uniform(8, 24),
        rng.uniform(0.8, 0.95),
        shift,
        rng.uniform(-0.06, 0.06),
        light,
    )


def _perspective(source: tuple[int, int], size: tuple[int, int], rng: random.Random) -> list[float]:
    """Return coefficients of a random perspective; the corners of the photo show points inside the scene."""
    width, height = source
    inset = [(rng.uniform(0.01, 0.09) * width, rng.uniform(0.01, 0.09) * height) for _ in range(4)]
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    scene_corners = [
        (x + sx * dx, y + sy * dy) for (x, y), (sx, sy), (dx, dy) in zip(corners, signs, inset, strict=True)
    ]
    photo_corners = ((0, 0), (size[0], 0), size, (0, size[1]))
    return [float(value) for value in _homography(np.array(photo_corners, float), np.array(scene_corners, float))]


def _homography(photo: Points, scene: Points) -> Points:
    """Return the eight coefficients of the homography that maps four points of the photo to four of the scene."""
    rows = []
    for (x, y), (u, v) in zip(photo, scene, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.asarray(np.linalg.solve(np.array(rows), scene.reshape(8)))


def _exposed(picture: Image.Image, rng: random.Random, generator: np.random.Generator) -> Image.Image:
    """Apply white balance, exposure, uneven light, vignetting and sensor noise."""
    width, height = picture.size
    pixels = np.asarray(picture, dtype=np.float32) * np.float32(1 / 255)
    room = 1 + np.float32(0.1) * smooth_noise(generator, (height, width), (2, 2))
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    light = np.clip(room, 0.7, 1.25) * (1 - np.float32(0.11) * (x**2 + y**2)) * np.float32(rng.uniform(0.82, 1.12))
    pixels = pixels * light[..., None] * np.array(rng.choice(WHITE_BALANCES), np.float32)
    grain = white_noise(generator, (height, width))[..., None] * np.float32(rng.uniform(0.012, 0.028))
    return to_image(np.asarray(pixels + grain, dtype=np.float32))


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    """Compress as JPEG and decode again."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


# --- Grounds: (size, rng, generator) -> (h, w, 3), 0 to 1 ----------------------------------------------

Ground = Callable[[tuple[int, int], random.Random, np.random.Generator], Field]


def _rotated_grid(size: tuple[int, int], angle: float) -> tuple[Field, Field]:
    """Return coordinates in picture widths, rotated by an angle in degrees."""
    y = np.arange(size[1], dtype=np.float32)[:, None] / np.float32(size[0])
    x = np.arange(size[0], dtype=np.float32)[None, :] / np.float32(size[0])
    c, s = np.float32(math.cos(math.radians(angle))), np.float32(math.sin(math.radians(angle)))
    return c * x + s * y, c * y - s * x


def _tinted(light: Field, colour: tuple[float, float, float]) -> Field:
    return np.asarray(light[..., None] * np.array(colour, np.float32), dtype=np.float32)


def _wrap(x: Field) -> Field:
    """Return the signed distance to the nearest integer."""
    return np.asarray(x - np.round(x), dtype=np.float32)


def _floorboards(size: tuple[int, int], rng: random.Random, generator: np.random.Generator) -> Field:
    """Planks of wood, each its own shade, with grain along them."""
    u, v = _rotated_grid(size, rng.uniform(-35, 35))
    plank = np.float32(rng.uniform(0.12, 0.2))
    row = np.floor(u / plank)
    joint = np.floor(v / np.float32(0.7) + row * np.float32(0.37))
    tone = np.float32(0.1) * np.sin(row * 12.99 + joint * 4.1)
    grain = np.sin(u * 260 + 5 * np.sin(v * 7 + row * 3) + 2 * np.sin(v * 23)) * np.float32(0.04)
    gap = (np.abs(_wrap(u / plank)) < 0.012) | (np.abs(v / 0.7 + row * 0.37 - joint) < 0.004)
    light = 0.85 + tone + grain + np.float32(0.03) * white_noise(generator, u.shape) - np.float32(0.4) * gap
    return _tinted(light, rng.choice(((0.72, 0.52, 0.34), (0.55, 0.38, 0.26), (0.8, 0.68, 0.52), (0.52, 0.5, 0.48))))


def _bed(size: tuple[int, int], rng: random.Random, generator: np.random.Generator) -> Field:
    """A crumpled sheet, sometimes with stripes."""
    across, _ = _rotated_grid(size, rng.uniform(-40, 40))
    coarse = (size[1] // 4, size[0] // 4)
    hills = smooth_noise(generator, coarse, (9, 7)) + np.abs(smooth_noise(generator, coarse, (14, 6))) / 2
    down, right = np.gradient(hills)
    slopes = np.asarray(np.clip((right + down) * 2, -0.25, 0.2), dtype=np.float32)
    light = 0.88 + enlarge(slopes, (size[1], size[0]))
    light -= np.float32(rng.choice((0.0, 0.1))) * (np.abs(_wrap(across * 9)) < 0.2)
    return _tinted(light, rng.choice(((0.93, 0.92, 0.9), (0.72, 0.79, 0.88), (0.9, 0.8, 0.78), (0.62, 0.66, 0.6))))


def _wall(size: tuple[int, int], rng: random.Random, generator: np.random.Generator) -> Field:
    """A plastered wall above a skirting board and a strip of floor."""
    shape = (size[1], size[0])
    plaster = (
        0.92
        + np.float32(0.02) * smooth_noise(generator, shape, (40, 30))
        + np.float32(0.015) * white_noise(generator, shape)
    )
    wall = _tinted(plaster, rng.choice(((0.92, 0.88, 0.78), (0.78, 0.84, 0.84), (0.88, 0.76, 0.7), (0.95, 0.95, 0.93))))
    board, floor = round(size[1] * rng.uniform(0.8, 0.88)), round(size[1] * 0.93)
    wall[board:] = np.float32(0.93)
    wall[board : board + 4] *= np.float32(0.6)
    wall[floor:] = _floorboards(size, rng, generator)[floor:]
    wall[floor : floor + 5] *= np.float32(0.5)
    return wall


def _rug(size: tuple[int, int], rng: random.Random, generator: np.random.Generator) -> Field:
    """A woven rug with a pattern of diamonds."""
    u, v = _rotated_grid(size, rng.uniform(-30, 30))
    first, second = rng.sample(
        ((0.6, 0.22, 0.2), (0.22, 0.28, 0.4), (0.84, 0.78, 0.66), (0.35, 0.42, 0.34), (0.7, 0.55, 0.35)), 2
    )
    across, along = u * 4, v * 4
    diamond = np.abs(_wrap(across)) + np.abs(_wrap(along))
    figure = ((diamond > 0.42) & (diamond < 0.58) | (diamond < 0.16)).astype(np.float32)[..., None]
    colour = np.array(first, np.float32) * (1 - figure) + np.array(second, np.float32) * figure
    weave = 0.95 + np.float32(0.09) * white_noise(generator, u.shape) + np.float32(0.05) * np.sin(v * 500)
    return np.asarray(colour * weave[..., None], dtype=np.float32)


def _tiles(size: tuple[int, int], rng: random.Random, generator: np.random.Generator) -> Field:
    """A tiled floor with pale joints."""
    u, v = _rotated_grid(size, rng.uniform(-30, 30))
    tile = np.float32(rng.uniform(0.2, 0.32))
    column, row = np.floor(u / tile), np.floor(v / tile)
    tone = np.float32(0.04) * np.sin(column * 7.3 + row * 3.9)
    cloud = np.float32(0.04) * smooth_noise(generator, u.shape, (12, 10))
    joint = np.maximum(np.abs(u / tile - column - 0.5), np.abs(v / tile - row - 0.5)) > 0.485
    light = 0.85 + tone + cloud + np.float32(0.02) * white_noise(generator, u.shape)
    light += np.float32(rng.choice((-0.3, 0.12))) * joint
    return _tinted(light, rng.choice(((0.7, 0.68, 0.66), (0.8, 0.66, 0.55), (0.88, 0.87, 0.84), (0.42, 0.45, 0.48))))


GROUNDS: tuple[Ground, ...] = (_floorboards, _bed, _wall, _rug, _tiles)
