"""Finding out what a source is: a folder or a table, and of which layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused
from catalog.importing.folders import folder_rows, picture_files
from catalog.importing.layouts import LAYOUTS, fits, table_rows
from catalog.importing.rows import RefusedRow, SourceRow
from catalog.importing.tables import Table, table_open

FOLDERS = ("folder", "folders")
LAYOUT_NAMES = (*FOLDERS, *LAYOUTS)

_KNOWN_TABLES = ("styles.csv", "labels.csv", "items.csv")
_WANTED = "Name a folder of pictures, or a CSV file with a column `image`"


@dataclass(frozen=True)
class Source:
    """A source whose layout is known. `rows` starts reading it from the beginning each time it is called."""

    layout: str
    total: int
    rows: Callable[[], Iterator[SourceRow | RefusedRow]]


def source_open(path: Path, layout: str | None = None) -> Source:
    """What lies at `path`, in the given layout or in the one that fits.

    Refused, as a whole, if there is nothing, nothing that can be read, or nothing that is understood.
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
    if layout not in FOLDERS and (table := _table_within(entries, layout)) is not None:
        return _table_source(table, layout)
    if layout is not None and layout not in FOLDERS:
        raise Refused("layout_mismatch", f"{root} has no CSV file with the columns of the layout {layout!r}.")
    pictures = depth = 0
    for picture in picture_files(root):
        pictures += 1
        depth = max(depth, len(picture.relative_to(root).parts))
    layout = layout or ("folders" if depth > 1 else "folder")
    return Source(layout, pictures, lambda: folder_rows(root, categories=layout == "folders"))


def _table_within(entries: list[Path], layout: str | None) -> Path | None:
    """The table that a folder is described by: one of the known names, else the only one that fits."""
    tables = [entry for entry in entries if entry.suffix.lower() in (".csv", ".tsv") and entry.is_file()]
    for known in _KNOWN_TABLES:
        for table in tables:
            if table.name.lower() == known:
                return table
    fitting = [table for table in tables if _layout_of(table, layout) is not None]
    if len(fitting) > 1:
        names = ", ".join(table.name for table in fitting)
        raise Refused("layout_unknown", f"There are several tables ({names}). Name the one to import.")
    return fitting[0] if fitting else None


def _layout_of(path: Path, layout: str | None) -> str | None:
    try:
        table = table_open(path)
    except Refused:
        return None
    return next((name for name in LAYOUTS if layout in (None, name) and fits(table, name)), None)


def _table_source(path: Path, layout: str | None) -> Source:
    if layout in FOLDERS or path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise Refused("layout_unknown", f"{path} is neither a folder nor a CSV file. {_WANTED}.")
    table = table_open(path)
    names = (layout,) if layout else tuple(LAYOUTS)
    found = next((name for name in names if fits(table, name)), None)
    if found is None:
        raise Refused("layout_unknown", _misfit(table, layout))
    return Source(found, table.count(), lambda: table_rows(table, LAYOUTS[found]))


def _misfit(table: Table, layout: str | None) -> str:
    columns = ", ".join(table.titles)[:300]
    needed = f"The layout {layout!r} needs {', '.join(LAYOUTS[layout].needed)}" if layout else _WANTED
    return f"{table.path} has the columns {columns}. {needed}."
