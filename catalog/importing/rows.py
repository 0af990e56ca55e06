"""What the readers of all layouts give to the importer, one picture at a time."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import Refused


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One picture of an item, and what the source says of the item."""

    number: int  # where to find it: its line in the table, or its place among the pictures of a folder
    file: str  # the picture as the source names it
    path: Path
    item: str  # the item's external id
    default_name: str  # for a new item, when the source has no name for it
    columns: dict[str, Any] = field(default_factory=dict)  # of CatalogItem; those that the source does not know lack


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that cannot be taken, and why."""

    number: int
    file: str
    code: str
    reason: str

    @classmethod
    def because(cls, error: Refused, number: int, file: str) -> "RefusedRow":
        return cls(number, file, error.code, error.detail)

    def as_json(self) -> dict[str, Any]:
        return {"row": self.number, "file": self.file[:300], "code": self.code, "reason": self.reason}


def locate(root: Path, name: str, *folders: str) -> Path:
    """The file called `name` in the first of the folders below `root` that has it.

    Refused if it lies outside of `root`, by its name or through a link: a table may come from anyone, and could
    otherwise publish any file of this machine.
    """
    if not name:
        raise Refused("image_blank", "The row names no picture.")
    relative = os.path.normpath(name.replace("\\", "/"))  # a table made on Windows
    if "\0" in name or f"{relative}/".startswith(("/", "../")):
        raise Refused("image_outside", "The picture lies outside of the source's folder.")
    for folder in folders or ("",):
        candidate = root / folder / relative
        try:
            if candidate.is_file():
                return inside(root, candidate)
        except OSError:  # a name that no file can have
            break
    raise Refused("image_missing", "There is no such picture.")


def inside(root: Path, path: Path) -> Path:
    """`path`, if it still lies in `root` (which is resolved) once every link is followed."""
    if not path.resolve().is_relative_to(root):
        raise Refused("image_outside", "The picture is a link that leads out of the source's folder.")
    return path


def legible(name: str) -> str:
    """A file name that can be stored as text: names that are not UTF-8 are read as Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def spoken(stem: str) -> str:
    """A file's name as a person would say it: red_shirt-02 -> red shirt 02."""
    return " ".join(stem.replace("_", " ").replace("-", " ").split()) or stem
