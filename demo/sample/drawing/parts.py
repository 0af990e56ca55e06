"""Marks that a garment is drawn from (part, line, spot, glow), and the cut that a builder turns into marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from demo.sample.drawing.geometry import XY, Points, flip


@dataclass(frozen=True)
class Part:
    """A piece of cloth. `cloth` names one of the look's fabrics."""

    outline: Points  # closed
    cloth: str = "main"
    grain: float = 0.0  # degrees by which the thread is turned
    shade: float = 1.0  # brightness: insides are darker
    relief: float = 1.0  # roundness of the edges
    folds: float = 1.0  # strength of the creases
    lift: float = 1.0  # strength of its shadow on the marks below


@dataclass(frozen=True)
class Line:
    """A thin stroke: a seam that darkens the marks below or, with `cloth`, a thread or cord of that cloth."""

    path: Points
    width: float = 0.0035
    cloth: str | None = None
    shade: float = 0.62


@dataclass(frozen=True)
class Spot:
    """A button, stud or eyelet."""

    centre: XY
    radius: float = 0.0085
    cloth: str = "button"


@dataclass(frozen=True)
class Glow:
    """A soft patch of light on the marks below: worn denim, polished leather."""

    centre: XY
    radii: XY
    strength: float  # share of white at the middle; negative is shadow


Mark = Part | Line | Spot | Glow


@dataclass(frozen=True)
class Stance:
    """How a garment is arranged for one photo, in degrees from straight."""

    sleeve: float = 0.0  # sleeves raised outwards
    bend: float = 0.0  # forearms turned inwards
    spread: float = 0.0  # trouser legs apart
    folded: bool = False  # forearms laid across the front


@dataclass(frozen=True)
class Cut:
    """Input of a builder: lengths in garment units, options and the arrangement."""

    measures: Mapping[str, float]
    options: Mapping[str, str] = field(default_factory=dict)
    stance: Stance = field(default_factory=Stance)

    def __getitem__(self, measure: str) -> float:
        return self.measures[measure]

    def option(self, name: str) -> str:
        """Return the value of an option, an empty string if this kind of garment does not have it."""
        return self.options.get(name, "")


Builder = Callable[[Cut], list[Mark]]


def mirrored(mark: Mark) -> Mark:
    """Return the mirror image of a mark at the vertical axis."""
    match mark:
        case Part():
            return replace(mark, outline=flip(mark.outline), grain=-mark.grain)
        case Line():
            return replace(mark, path=flip(mark.path))
        case Spot() | Glow():
            return replace(mark, centre=(-mark.centre[0], mark.centre[1]))


def both_sides(*marks: Mark) -> list[Mark]:
    """Return each mark after its mirror image."""
    return [side for mark in marks for side in (mirrored(mark), mark)]
