"""Putting a garment in front of a camera: how it lies, where the light comes from and what is behind it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from demo.sample.drawing.geometry import Affine
from demo.sample.drawing.noise import Field, blur, dice, enlarge, grains, white_noise
from demo.sample.drawing.parts import Cut, Line, Mark, Part, Stance
from demo.sample.drawing.render import COARSE, Canvas, Light
from demo.sample.items import Look, SampleItem
from demo.sample.wardrobe import BY_NAME

SHOP_TONES = ((0.965, 0.965, 0.965), (0.94, 0.935, 0.925), (0.95, 0.955, 0.965))
STUDIO_TONES = (
    (0.8, 0.82, 0.84),
    (0.87, 0.82, 0.76),
    (0.78, 0.8, 0.76),
    (0.85, 0.8, 0.82),
    (0.74, 0.74, 0.75),
    (0.9, 0.88, 0.84),
)


@dataclass(frozen=True)
class Pose:
    """One photograph's worth of decisions."""

    stance: Stance
    angle: float  # degrees, clockwise
    fill: float  # share of the frame that the garment takes
    shift: tuple[float, float]  # share of the frame
    shear: float
    light: Light


def draw_photo(item: SampleItem, view: int = 0, size: tuple[int, int] = (300, 400)) -> Image.Image:
    """The item's photo number `view`, RGB: 0 is the shop's front picture, others show the same garment otherwise."""
    luck = dice("photo", item.external_id, view)
    pose = shop_pose(luck) if view == 0 else studio_pose(luck)
    tone = luck.choice(SHOP_TONES if view == 0 else STUDIO_TONES)
    canvas = photographed(item.look, pose, size, "photo", item.external_id, view)
    behind = backdrop(size, tone, luck, ("backdrop", item.external_id, view))
    exposure = 1.0 if view == 0 else luck.uniform(0.88, 1.06)
    return finished(over(canvas, behind) * np.float32(exposure))


def shop_pose(luck: random.Random) -> Pose:
    """Laid flat and tidy."""
    return Pose(Stance(), luck.uniform(-1, 1), 0.9, (0.0, 0.0), 0.0, Light())


def studio_pose(luck: random.Random) -> Pose:
    """Laid down again, by someone else and under another lamp."""
    side = luck.choice((-1, 1))
    stance = Stance(luck.uniform(-3, 18), luck.uniform(-8, 16), luck.uniform(-1, 4), folded=luck.random() < 0.25)
    light = Light(luck.choice((-0.8, 0.8)), luck.uniform(-0.7, -0.3), luck.uniform(1.0, 1.25))
    shift = (luck.uniform(-0.035, 0.035), luck.uniform(-0.03, 0.03))
    return Pose(stance, side * luck.uniform(4, 12), luck.uniform(0.74, 0.84), shift, luck.uniform(-0.05, 0.05), light)


def photographed(look: Look, pose: Pose, size: tuple[int, int], *seed: object) -> Canvas:
    """The garment alone, as large as the pose asks."""
    marks = BY_NAME[look.kind].build(Cut(look.measures, look.options, pose.stance))
    canvas = Canvas(size, _placed(marks, pose, size), pose.light, grains(*seed))
    canvas.draw(marks, look.cloths)
    return canvas


def _placed(marks: list[Mark], pose: Pose, size: tuple[int, int]) -> Affine:
    """Turn the garment, then scale and move it so that its box fits the frame."""
    points = np.concatenate(
        [mark.outline if isinstance(mark, Part) else mark.path for mark in marks if isinstance(mark, Part | Line)]
    )
    turned = Affine.placing((0, 0), angle=pose.angle, scale=1.0, shear=pose.shear, to=(0, 0))
    low, high = turned(points).min(axis=0), turned(points).max(axis=0)
    scale = pose.fill * float((np.array(size) / (high - low)).min())
    goal = (np.array([0.5, 0.5]) + np.array(pose.shift)) * np.array(size)
    return Affine(turned.matrix * scale, goal - (low + high) / 2 * scale)


def backdrop(
    size: tuple[int, int], tone: tuple[float, float, float], luck: random.Random, seed: tuple[object, ...]
) -> Field:
    """Seamless paper, (h, w, 3): lighter towards the lamp, with a trace of grain."""
    width, height = size
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    slope = np.float32(luck.uniform(-0.03, 0.03)) * x - np.float32(luck.uniform(0.0, 0.035)) * y
    light = 1.01 + slope - np.float32(0.035) * (x**2 + y**2)
    light += np.float32(0.004) * white_noise(grains(*seed), (height, width))
    return np.asarray(light[..., None] * np.array(tone, np.float32), dtype=np.float32)


def over(canvas: Canvas, behind: Field) -> Field:
    """The garment and its shadow in front of a background."""
    seen = (1 - canvas.alpha) * (1 - shadow(canvas))
    picture = behind * seen[..., None]
    picture += canvas.colour
    return picture


def shadow(canvas: Canvas) -> Field:
    """A soft shadow away from the light and a tight one all around, 0 to 1."""
    coarse = np.pad(canvas.alpha, ((0, -canvas.alpha.shape[0] % COARSE), (0, -canvas.alpha.shape[1] % COARSE)))[
        ::COARSE, ::COARSE
    ]
    reach = max(1.0, 0.012 * canvas.alpha.shape[0] / COARSE)
    away = (round(-canvas.light.y * reach * 1.6), round(-canvas.light.x * reach * 1.6))
    far = blur(np.roll(coarse, away, axis=(0, 1)), round(2.2 * reach))
    near = blur(coarse, max(1, round(reach * 0.8)))
    return enlarge(np.clip(0.3 * far + 0.22 * near, 0, 0.6).astype(np.float32), canvas.alpha.shape)


def finished(picture: Field) -> Image.Image:
    """From 0 to 1 in floats to an RGB image."""
    scaled = picture * np.float32(255)
    scaled += np.float32(0.5)
    return Image.fromarray(np.clip(scaled, 0, 255, out=scaled).astype(np.uint8))
