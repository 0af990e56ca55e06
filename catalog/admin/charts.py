"""Line charts as inline SVG, drawn here: they need no script, and say in words what they show."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 410, 8, 186  # of the field between the axes

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve. A `fine` one has a point for each of many steps: it is drawn thin, and without dots."""

    name: str
    points: Sequence[Point]
    fine: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over epochs. `key` is for the ids of the page; `words` writes a value."""

    key: str
    title: str
    lines: Sequence[Line]
    words: Callable[[float], str] = "{:.3g}".format
    from_zero: bool = False


def points_of(rows: Iterable[Mapping[str, Any]], x: str, y: str) -> list[Point]:
    """The two columns of those rows that have numbers in both."""
    return [(float(a), float(b)) for a, b in ((row.get(x), row.get(y)) for row in rows) if _number(a) and _number(b)]


def draw(chart: Chart) -> SafeString:
    """The chart with its legend; nothing if there is no point yet."""
    lines = [line for line in chart.lines if line.points]
    if not lines:
        return SafeString("")
    everything = [point for line in lines for point in line.points]
    across = _Scale.of([x for x, _ in everything], LEFT, RIGHT, whole=True)
    up = _Scale.of([y for _, y in everything] + [0.0] * chart.from_zero, BOTTOM, TOP)
    inside = format_html(
        "{}{}{}",
        _grid(across, up, chart.words),
        format_html_join("", "{}", ((_drawn(line, n, across, up, chart.words),) for n, line in enumerate(lines, 1))),
        format_html('<text x="{}" y="{}" text-anchor="end">epoch</text>', RIGHT, HEIGHT - 2),
    )
    return format_html(
        '<figure class="curves"><figcaption>{title}</figcaption><ul>{legend}</ul>'
        '<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{told}</desc>{inside}</svg></figure>',
        title=chart.title,
        key=f"chart-{chart.key}",
        legend=format_html_join("", "{}", ((_entry(line, n, chart.words),) for n, line in enumerate(lines, 1))),
        width=WIDTH,
        height=HEIGHT,
        told=" ".join(_told(line, chart.words) for line in lines),
        inside=inside,
    )


@dataclass(frozen=True)
class _Scale:
    """From numbers to places in the picture, with the numbers to be written beside it."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, numbers: Sequence[float], start: float, end: float, *, whole: bool = False) -> "_Scale":
        low, high = min(numbers), max(numbers)
        if whole:  # epochs: from 0 where steps count too, and at least one of them
            low, high = float(math.floor(low)), float(max(math.ceil(high), math.floor(low) + 1))
        elif low == high:
            low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
        step = _round_step((high - low) / 4)
        if whole:
            step = max(1.0, float(math.ceil(step)))
        first, last = math.floor(low / step), math.ceil(high / step)
        if not whole:
            low, high = first * step, last * step
        ticks = tuple(n * step for n in range(first, last + 1) if low <= n * step <= high)
        return cls(low, high, start, end, ticks)

    def place(self, number: float) -> float:
        return round(self.start + (number - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def _round_step(rough: float) -> float:
    """The next larger one of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * round_number for round_number in (1, 2, 5, 10) if power * round_number >= rough * 0.999)


def _grid(across: _Scale, up: _Scale, words: Callable[[float], str]) -> SafeString:
    levels = format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        ((LEFT, RIGHT, (y := up.place(tick)), y, LEFT - 6, y + 4, words(tick)) for tick in up.ticks),
    )
    epochs = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((across.place(tick), BOTTOM + 15, f"{tick:g}") for tick in across.ticks),
    )
    return format_html("{}{}", levels, epochs)


def _drawn(line: Line, number: int, across: _Scale, up: _Scale, words: Callable[[float], str]) -> SafeString:
    places = [(across.place(x), up.place(y)) for x, y in line.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    kind = " fine" if line.fine else ""
    drawn = format_html('<polyline class="line line-{}{}" points="{}"/>', number, kind, path)
    if line.fine and len(places) > 1:
        return drawn
    dots = format_html_join(
        "",
        '<circle class="dot dot-{}" cx="{}" cy="{}" r="3"><title>{}, epoch {}: {}</title></circle>',
        ((number, *place, line.name, f"{x:g}", words(y)) for place, (x, y) in zip(places, line.points, strict=True)),
    )
    return format_html("{}{}", drawn, dots)


def _entry(line: Line, number: int, words: Callable[[float], str]) -> SafeString:
    markup = (
        '<li><svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true"><line class="line line-{}{}" x1="0" '
        'x2="24" y1="4" y2="4"/></svg>{} <b>{}</b></li>'
    )
    return format_html(markup, number, " fine" if line.fine else "", line.name, words(line.points[-1][1]))


def _told(line: Line, words: Callable[[float], str]) -> str:
    values = [y for _, y in line.points]
    lowest, highest = words(min(values)), words(max(values))
    return f"{line.name}: {words(values[0])} at first, {words(values[-1])} now, between {lowest} and {highest}."


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
