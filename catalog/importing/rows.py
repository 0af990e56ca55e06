"""Rows of an import source: one picture with the fields of its item, or a refused row with the reason."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import Refused


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One picture and the fields of its item."""

    number: int  # line number in the table, or position among the pictures of a folder
    file: str  # the picture's name in the source
    path: Path
    item: str  # the item's external id
    default_name: str  # name of a new item, if the source gives no name
    columns: dict[str, Any] = field(
        default_factory=dict
    )  # CatalogItem fields; fields that the source lacks are missing


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is not imported, with the error code and reason."""

    number: int
    file: str
    code: str
    reason: str

    @classmethod
    def from_error(cls, error: Refused, number: int, file: str) -> "RefusedRow":
        """Build the refused row of an error."""
        return cls(number, file, error.code, error.detail)

    def as_json(self) -> dict[str, Any]:
        """The entry in `ImportJob.errors`."""
        return {"row": self.number, "file": self.file[:300], "code": self.code, "reason": self.reason}


def resolve_picture(root: Path, name: str, *folders: str) -> Path:
    """Find the file `name` in the first of `folders` below `root` that has it.

    An untrusted table could otherwise publish any file of this machine, by its name (path traversal) or through a
    symbolic link. Raises `Refused`: `image_blank`, `image_outside`, `image_missing`.
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
                return require_inside(root, candidate)
        except OSError:  # for example a name that is too long
            break
    raise Refused("image_missing", "There is no such picture.")


def require_inside(root: Path, path: Path) -> Path:
    """Return `path` if it lies in `root` (already resolved) after following all links, else raise `Refused`."""
    if not path.resolve().is_relative_to(root):
        raise Refused("image_outside", "The picture is a link that leads out of the source's folder.")
    return path


def decode_file_name(name: str) -> str:
    """A file name as storable text: names that are not UTF-8 are decoded as Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def name_from_stem(stem: str) -> str:
    """A readable name from a file name: red_shirt-02 -> red shirt 02."""
    return " ".join(stem.replace("_", " ").replace("-", " ").split()) or stem
