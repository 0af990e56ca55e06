"""The tables that can be imported: which columns each has, and what they mean."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from catalog.errors import Refused
from catalog.importing.fields import COLUMNS, checked_text, item_columns
from catalog.importing.rows import RefusedRow, SourceRow, locate, spoken
from catalog.importing.tables import Table, TableRow

# Other titles under which the columns of an item are found.
_ALIASES = {
    "item": ("item_id", "sku", "external_id"),
    "image": ("image_path", "photo", "picture", "path", "file", "filename"),
    "name": ("title", "product_name"),
    "category": ("label",),
    "colour": ("color",),
    "collection": ("season",),
    "in_stock": ("instock", "availability"),
}


@dataclass(frozen=True)
class TableLayout:
    """How the rows of one kind of table are read."""

    needed: tuple[str, ...]  # the keys of the columns without which it is not this layout
    read: Callable[[Table, TableRow], SourceRow]


def table_rows(table: Table, layout: TableLayout) -> Iterator[SourceRow | RefusedRow]:
    """The rows of a table, each either good or refused with the reason."""
    for row in table.rows():
        file = row.cells.get("image") or row.cells.get("id") or ""
        try:
            if row.problem:
                raise Refused("row_unreadable", f"The row cannot be read: {row.problem}.")
            yield layout.read(table, row)
        except Refused as error:
            yield RefusedRow.because(error, row.number, file.replace("\0", ""))


def _read_items(table: Table, row: TableRow) -> SourceRow:
    """Our own layout: a row per photo; `item` groups the photos of one item."""
    return _read_named(table, row, ("", "images"))


def _read_labels(table: Table, row: TableRow) -> SourceRow:
    """labels.csv beside images/: the label is the category, the picture's name the id."""
    found = _read_named(table, row, ("images", ""))
    return SourceRow(found.number, found.file, found.path, found.item, row.cells["label"] or "Unnamed", found.columns)


def _read_named(table: Table, row: TableRow, folders: tuple[str, ...]) -> SourceRow:
    if any(row.extra):
        raise Refused("row_too_many_fields", f"The row has more cells than the {len(table.titles)} columns.")
    cells = _by_meaning(row.cells)
    image = cells.pop("image", "")
    path = locate(table.path.parent, image, *folders)
    stem = PurePosixPath(image.replace("\\", "/")).stem
    item = checked_text("external_id", cells.pop("item", "") or stem)
    titles = dict(zip(table.keys, table.titles, strict=True))
    attributes = {titles[key]: value for key, value in cells.items() if key and key not in COLUMNS}
    return SourceRow(row.number, image, path, item, spoken(stem)[:300], item_columns(cells, attributes))


def _by_meaning(cells: dict[str, str]) -> dict[str, str]:
    """The cells under the names that we use; a table may call the same thing otherwise."""
    renamed = dict(cells)
    for name, others in _ALIASES.items():
        for other in others:
            if name not in renamed and other in renamed:
                renamed[name] = renamed.pop(other)
    return renamed


def _read_styles(table: Table, row: TableRow) -> SourceRow:
    """styles.csv beside images/<id>.jpg, the layout of the best-known open fashion catalogue."""
    cells = dict(row.cells)
    title = table.keys[-1]
    if any(row.extra):
        if title != "productdisplayname":
            raise Refused("row_too_many_fields", f"The row has more cells than the {len(table.titles)} columns.")
        # Its last column is free text whose commas were not quoted.
        cells[title] = ",".join((cells[title], *row.extra)).strip(",")
    image = f"{cells.pop('id')}.jpg"
    path = locate(table.path.parent, image, "images")
    told = {"category": cells.pop("articletype"), "colour": cells.pop("basecolour"), "gender": cells.pop("gender", "")}
    if "season" in cells:
        told["collection"] = cells.pop("season")
    default = " ".join(filter(None, (told["colour"], told["category"]))) or image
    if name := cells.pop("productdisplayname", ""):
        told["name"] = name
    titles = dict(zip(table.keys, table.titles, strict=True))
    columns = item_columns(told, {titles[key]: value for key, value in cells.items() if key})
    return SourceRow(row.number, image, path, checked_text("external_id", Path(image).stem), default, columns)


LAYOUTS = {
    "styles": TableLayout(("id", "articletype", "basecolour"), _read_styles),
    "labels": TableLayout(("image", "label"), _read_labels),
    "items": TableLayout(("image",), _read_items),
}


def fits(table: Table, name: str) -> bool:
    """Whether the table has the columns that a layout needs."""
    cells = dict.fromkeys(table.keys, "")
    if name == "items":
        cells = _by_meaning(cells)
    return all(key in cells for key in LAYOUTS[name].needed)
