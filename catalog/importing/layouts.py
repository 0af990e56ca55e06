"""Table layouts that can be imported: required columns and the column mapping of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from catalog.errors import Refused
from catalog.importing.fields import COLUMNS, parse_item_fields, validate_text
from catalog.importing.rows import RefusedRow, SourceRow, name_from_stem, resolve_picture
from catalog.importing.tables import Table, TableRow

# Alternative headers of the item columns.
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
    """The required columns of a layout, and how a row is mapped."""

    required: tuple[str, ...]  # normalised headers
    read_row: Callable[[Table, TableRow], SourceRow]


def read_table(table: Table, layout: TableLayout) -> Iterator[SourceRow | RefusedRow]:
    """Yield the rows of a table: mapped, or refused with the reason."""
    for row in table.rows():
        file = row.cells.get("image") or row.cells.get("id") or ""
        try:
            if row.problem:
                raise Refused("row_unreadable", f"The row cannot be read: {row.problem}.")
            yield layout.read_row(table, row)
        except Refused as error:
            yield RefusedRow.from_error(error, row.number, file.replace("\0", ""))


def _read_items(table: Table, row: TableRow) -> SourceRow:
    """Map a row of our own layout: one row per photo; `item` groups the photos of an item."""
    return _map_row(table, row, ("", "images"))


def _read_labels(table: Table, row: TableRow) -> SourceRow:
    """Map a row of labels.csv next to images/: the label is the category, the file name the id."""
    return replace(_map_row(table, row, ("images", "")), default_name=row.cells["label"] or "Unnamed")


def _map_row(table: Table, row: TableRow, folders: tuple[str, ...]) -> SourceRow:
    if any(row.extra):
        raise Refused("row_too_many_fields", f"The row has more cells than the {len(table.headers)} columns.")
    cells = _rename_aliases(row.cells)
    image = cells.pop("image", "")
    path = resolve_picture(table.path.parent, image, *folders)
    stem = PurePosixPath(image.replace("\\", "/")).stem
    item = validate_text("external_id", cells.pop("item", "") or stem)
    headers = dict(zip(table.keys, table.headers, strict=True))
    attributes = {headers[key]: value for key, value in cells.items() if key and key not in COLUMNS}
    return SourceRow(row.number, image, path, item, name_from_stem(stem)[:300], parse_item_fields(cells, attributes))


def _rename_aliases(cells: dict[str, str]) -> dict[str, str]:
    """Rename alternative headers to the names of the item columns."""
    renamed = dict(cells)
    for name, aliases in _ALIASES.items():
        for alias in aliases:
            if name not in renamed and alias in renamed:
                renamed[name] = renamed.pop(alias)
    return renamed


def _read_styles(table: Table, row: TableRow) -> SourceRow:
    """Map a row of styles.csv next to images/<id>.jpg, the layout of the best-known open fashion catalogue."""
    cells = dict(row.cells)
    last_key = table.keys[-1]
    if any(row.extra):
        if last_key != "productdisplayname":
            raise Refused("row_too_many_fields", f"The row has more cells than the {len(table.headers)} columns.")
        # The last column is free text whose commas are not quoted.
        cells[last_key] = ",".join((cells[last_key], *row.extra)).strip(",")
    image = f"{cells.pop('id')}.jpg"
    path = resolve_picture(table.path.parent, image, "images")
    fields = {
        "category": cells.pop("articletype"),
        "colour": cells.pop("basecolour"),
        "gender": cells.pop("gender", ""),
    }
    if "season" in cells:
        fields["collection"] = cells.pop("season")
    default = " ".join(filter(None, (fields["colour"], fields["category"]))) or image
    if name := cells.pop("productdisplayname", ""):
        fields["name"] = name
    headers = dict(zip(table.keys, table.headers, strict=True))
    columns = parse_item_fields(fields, {headers[key]: value for key, value in cells.items() if key})
    return SourceRow(row.number, image, path, validate_text("external_id", Path(image).stem), default, columns)


LAYOUTS = {
    "styles": TableLayout(("id", "articletype", "basecolour"), _read_styles),
    "labels": TableLayout(("image", "label"), _read_labels),
    "items": TableLayout(("image",), _read_items),
}


def has_layout(table: Table, name: str) -> bool:
    """Whether the table has all required columns of the layout called `name`."""
    cells = dict.fromkeys(table.keys, "")
    if name == "items":
        cells = _rename_aliases(cells)
    return all(key in cells for key in LAYOUTS[name].required)
