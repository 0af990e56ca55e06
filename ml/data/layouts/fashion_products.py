"""The open fashion product catalogue: `styles.csv` beside `images/`, one photo a product.

Its parts circulate in many sizes, so there is no count to insist on.
"""

from pathlib import Path

from ml.data.layouts.source_files import ConversionError, read_csv, relative_path, require_distinct
from ml.data.layouts.splits import split_by_hash
from ml.data.manifest import Photo

MAX_MISSING_SHARE = 0.01
"""A handful of the products are known to lack their picture; more than this means a broken download."""


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """`styles.csv` (id,gender,masterCategory,…) beside `images/<id>.jpg`: one photo per product, label = articleType.

    The source has no split, so one is drawn from the hash of the id. Products without a picture are left out, up to
    one in a hundred.
    """
    del subset
    more = ("gender", "masterCategory", "subCategory", "baseColour")
    rows = read_csv(source / "styles.csv", ("id", "articleType", *more))
    require_distinct(row["id"] for row in rows)
    kept = [row for row in rows if (source / "images" / f"{row['id']}.jpg").is_file()]
    if len(rows) - len(kept) > MAX_MISSING_SHARE * len(rows):
        raise ConversionError(f"{len(rows) - len(kept)} of {len(rows)} products have no picture in images/.")
    return [
        Photo(
            path=relative_path(source / "images" / f"{row['id']}.jpg", manifest_folder),
            label=row["articleType"],
            item=row["id"],
            split=split_by_hash(row["id"]),
            extra={name: row[name] for name in more},
        )
        for row in kept
    ]
