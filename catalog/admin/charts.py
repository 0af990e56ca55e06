"""Line charts as inline SVG: no script needed, with a text description for screen readers."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 410, 8, 186  # of the plot area

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One curve of a chart. `is_fine`: many points, drawn as a thin line without dots."""

    name: str
    points: Sequence[Point]
    is_fine: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over epochs. `key` makes the element ids unique in the page; `format_value` formats y values."""

    key: str
    title: str
    curves: Sequence[Curve]
    format_value: Callable[[float], str] = "{:.3g}".format
    starts_at_zero: bool = False


def read_points(rows: Iterable[Mapping[str, Any]], x: str, y: str) -> list[Point]:
    """The columns `x` and `y` of the rows that have finite numbers in both."""
    return [
        (float(a), float(b)) for a, b in ((row.get(x), row.get(y)) for row in rows) if _is_number(a) and _is_number(b)
    ]


def draw(chart: Chart) -> SafeString:
    """Render a chart with its legend as HTML; "" if no curve has a point."""
    curves = [curve for curve in chart.curves if curve.points]
    if not curves:
        return SafeString("")
    points = [point for curve in curves for point in curve.points]
    x_scale = _Scale.fit([x for x, _ in points], LEFT, RIGHT, is_whole=True)
    y_scale = _Scale.fit([y for _, y in points] + [0.0] * chart.starts_at_zero, BOTTOM, TOP)
    write = chart.format_value
    inside = format_html(
        "{}{}{}",
        _grid(x_scale, y_scale, write),
        format_html_join("", "{}", ((_curve(curve, n, x_scale, y_scale, write),) for n, curve in enumerate(curves, 1))),
        format_html('<text x="{}" y="{}" text-anchor="end">epoch</text>', RIGHT, HEIGHT - 2),
    )
    return format_html(
        '<figure class="curves"><figcaption>{title}</figcaption><ul>{legend}</ul>'
        '<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{description}</desc>{inside}</svg></figure>',
        title=chart.title,
        key=f"chart-{chart.key}",
        legend=format_html_join("", "{}", ((_legend_entry(curve, n, write),) for n, curve in enumerate(curves, 1))),
        width=WIDTH,
        height=HEIGHT,
        description=" ".join(_description(curve, write) for curve in curves),
        inside=inside,
    )


@dataclass(frozen=True)
class _Scale:
    """A linear axis: maps values `low`..`high` to pixels `start`..`end`, with its tick values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def fit(cls, numbers: Sequence[float], start: float, end: float, *, is_whole: bool = False) -> "_Scale":
        """Fit the axis to `numbers`. `is_whole`: only whole ticks, for epochs."""
        low, high = min(numbers), max(numbers)
        if is_whole:  # at least one epoch wide; a fraction at the start rounds down
            low, high = float(math.floor(low)), float(max(math.ceil(high), math.floor(low) + 1))
        elif low == high:
            low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
        step = _round_step((high - low) / 4)
        if is_whole:
            step = max(1.0, float(math.ceil(step)))
        first, last = math.floor(low / step), math.ceil(high / step)
        if not is_whole:
            low, high = first * step, last * step
        ticks = tuple(n * step for n in range(first, last + 1) if low <= n * step <= high)
        return cls(low, high, start, end, ticks)

    def position(self, number: float) -> float:
        return round(self.start + (number - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def _round_step(rough: float) -> float:
    """Round up to the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * round_number for round_number in (1, 2, 5, 10) if power * round_number >= rough * 0.999)


def _grid(x_scale: _Scale, y_scale: _Scale, format_value: Callable[[float], str]) -> SafeString:
    levels = format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, RIGHT, (y := y_scale.position(tick)), y, LEFT - 6, y + 4, format_value(tick))
            for tick in y_scale.ticks
        ),
    )
    epochs = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((x_scale.position(tick), BOTTOM + 15, f"{tick:g}") for tick in x_scale.ticks),
    )
    return format_html("{}{}", levels, epochs)


def _curve(
    curve: Curve, number: int, x_scale: _Scale, y_scale: _Scale, format_value: Callable[[float], str]
) -> SafeString:
    positions = [(x_scale.position(x), y_scale.position(y)) for x, y in curve.points]
    path = " ".join(f"{x},{y}" for x, y in positions)
    style = " fine" if curve.is_fine else ""
    line = format_html('<polyline class="line line-{}{}" points="{}"/>', number, style, path)
    if curve.is_fine and len(positions) > 1:
        return line
    dots = format_html_join(
        "",
        '<circle class="dot dot-{}" cx="{}" cy="{}" r="3"><title>{}, epoch {}: {}</title></circle>',
        (
            (number, *position, curve.name, f"{x:g}", format_value(y))
            for position, (x, y) in zip(positions, curve.points, strict=True)
        ),
    )
    return format_html("{}{}", line, dots)


def _legend_entry(curve: Curve, number: int, format_value: Callable[[float], str]) -> SafeString:
    markup = (
        '<li><svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true"><line class="line line-{}{}" x1="0" '
        'x2="24" y1="4" y2="4"/></svg>{} <b>{}</b></li>'
    )
    return format_html(markup, number, " fine" if curve.is_fine else "", curve.name, format_value(curve.points[-1][1]))


def _description(curve: Curve, format_value: Callable[[float], str]) -> str:
    values = [y for _, y in curve.points]
    lowest, highest = format_value(min(values)), format_value(max(values))
    first, latest = format_value(values[0]), format_value(values[-1])
    return f"{curve.name}: first {first}, now {latest}, between {lowest} and {highest}."


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
