"""SVG charts: positions of the points, description for screen readers, legend."""

import re
from xml.etree import ElementTree

import pytest

from catalog.admin.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Curve, draw, read_points


def positions(markup: str, css: str = "line line-1") -> list[tuple[float, float]]:
    match = re.search(rf'<polyline class="{css}[^"]*" points="([^"]*)"', markup)
    assert match
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in match[1].split())]


def test_a_chart_is_valid_xml_with_a_title_and_a_description_of_each_curve() -> None:
    chart = Chart("x", "Loss <now>", (Curve("training", [(1, 2.0), (2, 1.0), (3, 1.5)]),))
    figure = ElementTree.fromstring(draw(chart))  # noqa: S314 - it is our own
    drawing = figure.find("svg")
    assert drawing is not None
    assert drawing.get("role") == "img"
    named = {part.get("id"): part.text for part in drawing if part.get("id")}
    title, description = (named[name] for name in drawing.get("aria-labelledby", "").split())
    assert title == "Loss <now>"
    assert description == "training: first 2, now 1.5, between 1 and 2."


def test_points_are_scaled_to_the_plot_area() -> None:
    markup = draw(Chart("x", "A", (Curve("a", [(0, 0.0), (5, 5.0), (10, 10.0)]),)))
    assert positions(markup) == [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT, TOP)]


def test_a_chart_can_start_at_zero() -> None:
    points = [(0.0, 90.0), (1.0, 100.0)]
    high, low = (
        positions(draw(Chart("x", "A", (Curve("a", points),), starts_at_zero=zero)))[0][1] for zero in (True, False)
    )
    assert high < low == BOTTOM


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.5), (2, 0.5)], [(1, 0.0)], [(0.01, -3.0), (0.02, 1e9)]])
def test_flat_single_and_extreme_curves_stay_inside_the_plot_area(points: list[tuple[float, float]]) -> None:
    for fine in (True, False):
        for x, y in positions(draw(Chart("x", "A", (Curve("a", points, fine),)))):
            assert LEFT <= x <= RIGHT
            assert TOP <= y <= BOTTOM


def test_a_curve_of_one_point_is_drawn_as_a_dot() -> None:
    assert "<circle" in draw(Chart("x", "A", (Curve("a", [(0.1, 1.0)], is_fine=True),)))


def test_a_chart_without_points_is_empty() -> None:
    assert draw(Chart("x", "A", (Curve("a", []), Curve("b", [])))) == ""


def test_missing_and_non_numeric_values_are_skipped() -> None:
    rows = [{"epoch": 1, "loss": 2}, {"epoch": 2}, {"epoch": 3, "loss": float("nan")}, {"epoch": 4, "loss": None}]
    assert read_points([*rows, {"epoch": 5, "loss": "low"}, {"epoch": 6, "loss": True}], "epoch", "loss") == [(1, 2)]


def test_the_legend_shows_the_latest_value_in_the_format_of_the_chart() -> None:
    markup = draw(Chart("x", "A", (Curve("recall", [(1, 0.5), (2, 0.25)]),), "{:.0%}".format))
    assert "recall <b>25%</b>" in markup
