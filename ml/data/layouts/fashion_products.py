"""Layout of the open fashion product catalogue: `styles.csv` beside `images/`, one photo per product.

Copies of many sizes circulate, so no count is required.
"""

from pathlib import Path

from ml.data.layouts.source_files import ConversionError, read_csv, relative_path, require_distinct
from ml.data.layouts.splits import split_by_hash
from ml.data.manifest import Photo

MAX_MISSING_SHARE = 0.01
"""A few products lack their picture in the source; a larger share means an incomplete download."""


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Read `styles.csv` (id,gender,masterCategory,…) and `images/<id>.jpg`; the label is articleType.

    The source has no split; it is chosen by the hash of the id. Products without a picture are left out, if they are at
    most one in a hundred. Raises `ConversionError`.
    """
    del subset
    columns = ("gender", "masterCategory", "subCategory", "baseColour")
    rows = read_csv(source / "styles.csv", ("id", "articleType", *columns))
    require_distinct(row["id"] for row in rows)
    with_picture = [row for row in rows if (source / "images" / f"{row['id']}.jpg").is_file()]
    if len(rows) - len(with_picture) > MAX_MISSING_SHARE * len(rows):
        text = f"{len(rows) - len(with_picture)} of {len(rows)} products have no picture in images/."
        raise ConversionError(text, code="files_missing")
    return [
        Photo(
            path=relative_path(source / "images" / f"{row['id']}.jpg", manifest_folder),
            label=row["articleType"],
            item=row["id"],
            split=split_by_hash(row["id"]),
            extra={name: row[name] for name in columns},
        )
        for row in with_picture
    ]
