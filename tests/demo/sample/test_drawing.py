"""Geometry, fabrics and rendering of the sample catalogue."""

import numpy as np
import pytest

from demo.sample.drawing.fabrics import PATTERNS, TEXTURES, Fabric, paint
from demo.sample.drawing.geometry import Affine, arc, box, dashes, edges, flip, join, mirror, ribbon, smooth, towards
from demo.sample.drawing.noise import blur, seeded_generator, seeded_random, smooth_noise
from demo.sample.drawing.palette import COLOURS, contrasting_colour, dye_lot, luminance, mix, shade
from demo.sample.drawing.parts import Line, Part, Spot, both_sides
from demo.sample.drawing.render import Canvas, Light
from tests.helpers import fresh_interpreter

INK = {"main": Fabric(((0.8, 0.2, 0.2),), texture="satin"), "button": Fabric(((1.0, 1.0, 1.0),))}


def canvas(size: tuple[int, int] = (60, 60), scale: float = 100.0) -> Canvas:
    return Canvas(size, Affine(np.eye(2) * scale, np.zeros(2)), Light(), seeded_generator("test"))


def area(outline: np.ndarray) -> float:
    x, y = outline.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def test_the_package_needs_neither_django_nor_torch() -> None:
    program = "import sys, demo.sample; print({'django', 'torch', 'rest_framework', 'scipy'} & set(sys.modules))"
    answer = fresh_interpreter.run_program(program)
    assert answer == "set()"


def test_straight_edges_are_their_vertices() -> None:
    assert edges([(0, 0), (1, 0), (1, 2)]).tolist() == [[0, 0], [1, 0], [1, 2]]


def test_a_bulge_bends_an_edge_to_the_left_by_a_share_of_its_length() -> None:
    path = edges([(0, 0, 0.25), (2, 0)])
    assert path[0].tolist() == [0, 0] and path[-1].tolist() == [2, 0]
    assert path[:, 1].min() == pytest.approx(-0.5)  # walking right, the left hand points up, where y is negative


def test_a_smooth_path_goes_through_its_points_and_closes() -> None:
    knots = [(0, 0), (1, 1), (2, 0)]
    path, ring = smooth(knots), smooth(knots, closed=True)
    for knot in knots:
        assert np.linalg.norm(path - knot, axis=1).min() == pytest.approx(0)
    assert ring[0].tolist() == ring[-1].tolist()


def test_a_mirrored_half_is_symmetrical_and_a_flip_undoes_itself() -> None:
    half = edges([(0, 0), (1, 0), (1, 3), (0, 3)])
    whole = mirror(half)
    assert area(whole) == pytest.approx(6)
    assert np.array_equal(flip(flip(half)), half)


def test_arc_box_and_ribbon_have_the_exact_area() -> None:
    assert area(arc((0, 0), (2, 1))) == pytest.approx(2 * np.pi, rel=0.01)
    assert area(box(0, 0, 2, 3)) == 6
    assert area(ribbon(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), 0.5)) == pytest.approx(1.0)


def test_dashes_cover_the_path_with_the_given_lengths() -> None:
    strokes = dashes(np.array([[0.0, 0.0], [1.0, 0.0]]), 0.1, 0.1)
    assert len(strokes) == 5
    assert strokes[1][0].tolist() == pytest.approx([0.2, 0]) and strokes[1][-1].tolist() == pytest.approx([0.3, 0])


def test_angles_count_from_straight_down_to_the_right() -> None:
    assert towards((0, 0), 0, 2) == pytest.approx((0, 2))
    assert towards((0, 0), 90, 2) == pytest.approx((2, 0))


def test_an_affine_map_has_an_inverse_and_knows_its_scale() -> None:
    place = Affine.placing((1, 1), angle=30, scale=3, shear=0.0, to=(5, 6))
    points = np.array([[1.0, 1.0], [2.0, 0.0]])
    assert place(points)[0] == pytest.approx([5, 6])
    assert place.inverse()(place(points)) == pytest.approx(points)
    assert place.scale == pytest.approx(3)


def test_paths_join_end_to_end() -> None:
    assert join([(0, 0)], np.array([[1.0, 1.0]])).tolist() == [[0, 0], [1, 1]]


def test_seeded_generators_depend_on_their_words_only() -> None:
    assert seeded_random("a", 1).random() == seeded_random("a", 1).random() != seeded_random("a", 2).random()
    assert seeded_generator("a").random() == seeded_generator("a").random() != seeded_generator("b").random()


def test_a_blur_keeps_the_sum_of_what_lies_inside_and_stays_in_shape() -> None:
    field = np.zeros((21, 31), np.float32)
    field[10, 15] = 1
    soft = blur(field, 2)
    assert soft.shape == field.shape
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    assert soft.max() < 0.1
    assert np.allclose(soft, soft[::-1, ::-1], atol=1e-5)


def test_smooth_noise_is_smooth() -> None:
    noise = smooth_noise(seeded_generator("noise"), (80, 60), (4, 3))
    assert noise.shape == (80, 60)
    assert np.abs(np.diff(noise, axis=0)).max() < 0.3 < np.ptp(noise)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_a_pattern_covers_part_of_the_cloth_with_values_from_0_to_1(name: str) -> None:
    v, u = np.mgrid[-4:6:0.05, -4:6:0.05].astype(np.float32)
    figures = PATTERNS[name](u, v, 0.05)
    assert len(figures) == 0 if name == "plain" else figures
    for figure in figures:
        assert figure.shape == u.shape
        assert figure.min() >= 0 and figure.max() <= 1
        assert 0.01 < figure.mean() < 0.9


@pytest.mark.parametrize("name", sorted(TEXTURES))
def test_a_texture_keeps_the_mean_brightness(name: str) -> None:
    v, u = np.mgrid[0:0.5:0.0025, 0:0.5:0.0025].astype(np.float32)
    light = TEXTURES[name](u, v, 0.0025, seeded_generator("texture"))
    assert light.std() > 0.003
    assert light.mean() == pytest.approx(1, abs=0.12)


def test_stripes_follow_the_thread_across_the_cloth() -> None:
    fabric = Fabric(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "striped", "satin", 0.1)
    v, u = np.mgrid[0:1:0.01, 0:1:0.01].astype(np.float32)
    cloth = paint(fabric, u, v, 0.01, seeded_generator("stripes"))[..., 0]
    assert cloth.mean(axis=1).std() > 0.3
    assert cloth.mean(axis=0).std() < 0.02


def test_a_part_fills_its_outline_and_nothing_else() -> None:
    page = canvas()
    page.draw([Part(box(0.1, 0.2, 0.4, 0.5))], INK)
    assert page.alpha.sum() == pytest.approx(900, rel=0.03)
    assert page.alpha[:19].max() == page.alpha[51:].max() == page.alpha[:, 41:].max() == 0 and page.alpha[
        25:45, 15:35
    ].min() == pytest.approx(1)
    assert page.colour[35, 25, 0] > 2 * page.colour[35, 25, 1]


def test_a_part_outside_the_picture_is_not_drawn() -> None:
    page = canvas()
    page.draw([Part(box(2, 2, 3, 3)), Line(edges([(2, 2), (3, 3)])), Spot((-1.0, -1.0))], INK)
    assert page.alpha.max() == 0


def test_a_seam_darkens_and_a_button_covers() -> None:
    plain, sewn = canvas(), canvas()
    cloth = Part(box(0.0, 0.0, 0.6, 0.6), folds=0)
    plain.draw([cloth], INK)
    sewn.draw([cloth, Line(edges([(0.1, 0.3), (0.5, 0.3)]), width=0.02), Spot((0.3, 0.15), 0.05)], INK)
    assert sewn.colour[30, 30].sum() < 0.8 * plain.colour[30, 30].sum()
    assert sewn.colour[12, 30, 1] > 0.6 > plain.colour[12, 30, 1]


def test_a_raised_edge_is_lighter_towards_the_light() -> None:
    page = canvas()
    page.draw([Part(box(0.1, 0.1, 0.5, 0.5), folds=0)], INK)
    assert page.colour[13, 20:40, 0].mean() > page.colour[46, 20:40, 0].mean() + 0.05


def test_both_sides_mirror_each_kind_of_mark() -> None:
    left, right = both_sides(Spot((0.2, 0.1)))
    assert isinstance(left, Spot) and isinstance(right, Spot)
    assert (left.centre, right.centre) == ((-0.2, 0.1), (0.2, 0.1))
    sleeve = both_sides(Part(box(0.1, 0, 0.2, 1), grain=15))[0]
    assert isinstance(sleeve, Part) and sleeve.grain == -15 and sleeve.outline[:, 0].max() == pytest.approx(-0.1)


def test_every_colour_has_a_contrasting_colour() -> None:
    for name, colour in COLOURS.items():
        for throw in range(12):
            other = COLOURS[contrasting_colour(name, seeded_random(name, throw))]
            assert max(abs(a - b) for a, b in zip(colour, other, strict=True)) > 0.15


def test_shades_and_mixtures_lie_between_their_ends() -> None:
    grey = (0.5, 0.5, 0.5)
    assert luminance(shade(grey, 0.5)) == pytest.approx(0.25)
    assert luminance(shade(grey, 1.5)) == pytest.approx(0.75)
    assert mix((0, 0, 0), (1, 1, 1), 0.25) == (0.25, 0.25, 0.25)


def test_a_dye_lot_varies_a_colour_only_slightly() -> None:
    for throw in range(20):
        batch = dye_lot("teal", seeded_random("dye", throw))
        assert batch != COLOURS["teal"]
        assert max(abs(a - b) for a, b in zip(batch, COLOURS["teal"], strict=True)) < 0.12
