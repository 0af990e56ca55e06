"""Curves are drawn true to their numbers, and say in words what they show."""

import re
from xml.etree import ElementTree

import pytest

from catalog.admin.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Line, draw, points_of


def places(markup: str, css: str = "line line-1") -> list[tuple[float, float]]:
    found = re.search(rf'<polyline class="{css}[^"]*" points="([^"]*)"', markup)
    assert found
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())]


def test_a_chart_is_sound_markup_with_a_title_and_a_description_of_each_curve() -> None:
    chart = Chart("x", "Loss <now>", (Line("training", [(1, 2.0), (2, 1.0), (3, 1.5)]),))
    figure = ElementTree.fromstring(draw(chart))  # noqa: S314 - it is our own
    drawing = figure.find("svg")
    assert drawing is not None
    assert drawing.get("role") == "img"
    named = {part.get("id"): part.text for part in drawing if part.get("id")}
    title, told = (named[name] for name in drawing.get("aria-labelledby", "").split())
    assert title == "Loss <now>"
    assert told == "training: 2 at first, 1.5 now, between 1 and 2."


def test_every_point_is_where_its_numbers_say() -> None:
    markup = draw(Chart("x", "A", (Line("a", [(0, 0.0), (5, 5.0), (10, 10.0)]),)))
    assert places(markup) == [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT, TOP)]


def test_a_chart_may_begin_at_zero_although_its_numbers_do_not() -> None:
    points = [(0.0, 90.0), (1.0, 100.0)]
    high, low = (places(draw(Chart("x", "A", (Line("a", points),), from_zero=zero)))[0][1] for zero in (True, False))
    assert high < low == BOTTOM


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.5), (2, 0.5)], [(1, 0.0)], [(0.01, -3.0), (0.02, 1e9)]])
def test_flat_single_and_extreme_curves_lie_inside_of_the_field(points: list[tuple[float, float]]) -> None:
    for fine in (True, False):
        for x, y in places(draw(Chart("x", "A", (Line("a", points, fine),)))):
            assert LEFT <= x <= RIGHT
            assert TOP <= y <= BOTTOM


def test_a_curve_of_one_point_is_seen_as_a_dot() -> None:
    assert "<circle" in draw(Chart("x", "A", (Line("a", [(0.1, 1.0)], fine=True),)))


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw(Chart("x", "A", (Line("a", []), Line("b", [])))) == ""


def test_values_that_are_missing_or_no_numbers_are_left_out() -> None:
    rows = [{"epoch": 1, "loss": 2}, {"epoch": 2}, {"epoch": 3, "loss": float("nan")}, {"epoch": 4, "loss": None}]
    assert points_of([*rows, {"epoch": 5, "loss": "low"}, {"epoch": 6, "loss": True}], "epoch", "loss") == [(1, 2)]


def test_the_legend_has_the_latest_value_in_the_words_of_the_chart() -> None:
    markup = draw(Chart("x", "A", (Line("found", [(1, 0.5), (2, 0.25)]),), "{:.0%}".format))
    assert "found <b>25%</b>" in markup
