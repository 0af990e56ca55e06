"""Layout detection: find out whether a source is a folder or a table, and in which layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused
from catalog.importing.folders import find_pictures, read_folder
from catalog.importing.layouts import LAYOUTS, has_layout, read_table
from catalog.importing.rows import RefusedRow, SourceRow
from catalog.importing.tables import Table, open_table

FOLDERS = ("folder", "folders")
LAYOUT_NAMES = (*FOLDERS, *LAYOUTS)

_TABLE_NAMES = ("styles.csv", "labels.csv", "items.csv")
_EXPECTED = "Name a folder of pictures, or a CSV file with a column `image`"


@dataclass(frozen=True)
class Source:
    """A source with its layout. Each call of `rows` reads it from the beginning."""

    layout: str
    total: int  # rows
    rows: Callable[[], Iterator[SourceRow | RefusedRow]]


def open_source(path: Path, layout: str | None = None) -> Source:
    """Open the source at `path` in the given layout, or in the detected one.

    Raises `Refused`: `source_missing`, `source_unreadable`, `source_empty`; `layout_unknown`, `layout_mismatch`.
    """
    if layout is not None and layout not in LAYOUT_NAMES:
        raise Refused("layout_unknown", f"There is no layout {layout!r}; there are {', '.join(LAYOUT_NAMES)}.")
    try:
        path = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise Refused("source_missing", f"{path} does not exist.") from None
    source = _folder_source(path, layout) if path.is_dir() else _table_source(path, layout)
    if not source.total:
        raise Refused("source_empty", f"Nothing was found in {path}.")
    return source


def _folder_source(root: Path, layout: str | None) -> Source:
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise Refused("source_unreadable", f"{root} cannot be read: {error.strerror}.") from error
    if layout not in FOLDERS and (table := _find_table(entries, layout)) is not None:
        return _table_source(table, layout)
    if layout is not None and layout not in FOLDERS:
        raise Refused("layout_mismatch", f"{root} has no CSV file with the columns of the layout {layout!r}.")
    pictures = depth = 0
    for picture in find_pictures(root):
        pictures += 1
        depth = max(depth, len(picture.relative_to(root).parts))
    layout = layout or ("folders" if depth > 1 else "folder")
    return Source(layout, pictures, lambda: read_folder(root, categories=layout == "folders"))


def _find_table(entries: list[Path], layout: str | None) -> Path | None:
    """Find the table that describes a folder: one with a known name, else the only one in a known layout."""
    tables = [entry for entry in entries if entry.suffix.lower() in (".csv", ".tsv") and entry.is_file()]
    for name in _TABLE_NAMES:
        for table in tables:
            if table.name.lower() == name:
                return table
    candidates = [table for table in tables if _detect_layout(table, layout) is not None]
    if len(candidates) > 1:
        names = ", ".join(table.name for table in candidates)
        raise Refused("layout_unknown", f"There are several tables ({names}). Name the one to import.")
    return candidates[0] if candidates else None


def _detect_layout(path: Path, layout: str | None) -> str | None:
    try:
        table = open_table(path)
    except Refused:
        return None
    return next((name for name in LAYOUTS if layout in (None, name) and has_layout(table, name)), None)


def _table_source(path: Path, layout: str | None) -> Source:
    if layout in FOLDERS or path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise Refused("layout_unknown", f"{path} is neither a folder nor a CSV file. {_EXPECTED}.")
    table = open_table(path)
    names = (layout,) if layout else tuple(LAYOUTS)
    detected = next((name for name in names if has_layout(table, name)), None)
    if detected is None:
        raise Refused("layout_unknown", _layout_mismatch(table, layout))
    return Source(detected, table.count(), lambda: read_table(table, LAYOUTS[detected]))


def _layout_mismatch(table: Table, layout: str | None) -> str:
    columns = ", ".join(table.headers)[:300]
    required = f"The layout {layout!r} needs {', '.join(LAYOUTS[layout].required)}" if layout else _EXPECTED
    return f"{table.path} has the columns {columns}. {required}."
