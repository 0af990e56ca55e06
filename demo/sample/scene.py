"""Renderer of catalogue photos: a garment in a pose, with light, backdrop and shadow."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from demo.sample.drawing.geometry import Affine
from demo.sample.drawing.noise import Field, blur, enlarge, seeded_generator, seeded_random, white_noise
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
    """How one photo is taken: arrangement of the garment, rotation, size, position and light."""

    stance: Stance
    angle: float  # degrees, clockwise
    fill: float  # share of the frame that the garment takes
    shift: tuple[float, float]  # share of the frame
    shear: float
    light: Light


def draw_photo(item: SampleItem, view: int = 0, size: tuple[int, int] = (300, 400)) -> Image.Image:
    """Draw photo number `view` of an item as RGB: 0 is the product photo, others differ in pose, light and backdrop."""
    rng = seeded_random("photo", item.external_id, view)
    pose = shop_pose(rng) if view == 0 else studio_pose(rng)
    tone = rng.choice(SHOP_TONES if view == 0 else STUDIO_TONES)
    canvas = render_garment(item.look, pose, size, "photo", item.external_id, view)
    background = backdrop(size, tone, rng, ("backdrop", item.external_id, view))
    exposure = 1.0 if view == 0 else rng.uniform(0.88, 1.06)
    return to_image(composite(canvas, background) * np.float32(exposure))


def shop_pose(rng: random.Random) -> Pose:
    """Return the pose of a product photo: flat and straight."""
    return Pose(Stance(), rng.uniform(-1, 1), 0.9, (0.0, 0.0), 0.0, Light())


def studio_pose(rng: random.Random) -> Pose:
    """Return a random pose and light of another photo session."""
    side = rng.choice((-1, 1))
    stance = Stance(rng.uniform(-3, 18), rng.uniform(-8, 16), rng.uniform(-1, 4), folded=rng.random() < 0.25)
    light = Light(rng.choice((-0.8, 0.8)), rng.uniform(-0.7, -0.3), rng.uniform(1.0, 1.25))
    shift = (rng.uniform(-0.035, 0.035), rng.uniform(-0.03, 0.03))
    return Pose(stance, side * rng.uniform(4, 12), rng.uniform(0.74, 0.84), shift, rng.uniform(-0.05, 0.05), light)


def render_garment(look: Look, pose: Pose, size: tuple[int, int], *seed: object) -> Canvas:
    """Draw the garment alone on a transparent canvas."""
    marks = BY_NAME[look.kind].build(Cut(look.measures, look.options, pose.stance))
    canvas = Canvas(size, _placed(marks, pose, size), pose.light, seeded_generator(*seed))
    canvas.draw(marks, look.cloths)
    return canvas


def _placed(marks: list[Mark], pose: Pose, size: tuple[int, int]) -> Affine:
    """Return the transform that rotates the garment, then scales and moves its bounding box into the frame."""
    points = np.concatenate(
        [mark.outline if isinstance(mark, Part) else mark.path for mark in marks if isinstance(mark, Part | Line)]
    )
    turned = Affine.placing((0, 0), angle=pose.angle, scale=1.0, shear=pose.shear, to=(0, 0))
    low, high = turned(points).min(axis=0), turned(points).max(axis=0)
    scale = pose.fill * float((np.array(size) / (high - low)).min())
    goal = (np.array([0.5, 0.5]) + np.array(pose.shift)) * np.array(size)
    return Affine(turned.matrix * scale, goal - (low + high) / 2 * scale)


def backdrop(
    size: tuple[int, int], tone: tuple[float, float, float], rng: random.Random, seed: tuple[object, ...]
) -> Field:
    """Return a paper backdrop (h, w, 3) that is lighter towards the lamp, with a little noise."""
    width, height = size
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    slope = np.float32(rng.uniform(-0.03, 0.03)) * x - np.float32(rng.uniform(0.0, 0.035)) * y
    light = 1.01 + slope - np.float32(0.035) * (x**2 + y**2)
    light += np.float32(0.004) * white_noise(seeded_generator(*seed), (height, width))
    return np.asarray(light[..., None] * np.array(tone, np.float32), dtype=np.float32)


def composite(canvas: Canvas, background: Field) -> Field:
    """Lay the garment and its shadow over a background."""
    visible = (1 - canvas.alpha) * (1 - shadow(canvas))
    picture = background * visible[..., None]
    picture += canvas.colour
    return picture


def shadow(canvas: Canvas) -> Field:
    """Return the shadow, 0 to 1: a soft one away from the light and a tight one all around."""
    coarse = np.pad(canvas.alpha, ((0, -canvas.alpha.shape[0] % COARSE), (0, -canvas.alpha.shape[1] % COARSE)))[
        ::COARSE, ::COARSE
    ]
    reach = max(1.0, 0.012 * canvas.alpha.shape[0] / COARSE)
    away = (round(-canvas.light.y * reach * 1.6), round(-canvas.light.x * reach * 1.6))
    far = blur(np.roll(coarse, away, axis=(0, 1)), round(2.2 * reach))
    near = blur(coarse, max(1, round(reach * 0.8)))
    return enlarge(np.clip(0.3 * far + 0.22 * near, 0, 0.6).astype(np.float32), canvas.alpha.shape)


def to_image(picture: Field) -> Image.Image:
    """Convert floats from 0 to 1 to an RGB image."""
    scaled = picture * np.float32(255)
    scaled += np.float32(0.5)
    return Image.fromarray(np.clip(scaled, 0, 255, out=scaled).astype(np.uint8))
