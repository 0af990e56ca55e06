"""Layout of the open clothing data set: `labels.csv` beside `images/`, one garment per photo, split by contributor.

Copies of many sizes circulate, so no count is required.
"""

from pathlib import Path

from ml.data.layouts.source_files import ConversionError, read_csv, relative_path, require_distinct, require_file
from ml.data.manifest import Photo
from ml.formats.manifest_csv import SPLITS


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Read `labels.csv` (image,label,group,contributor,kids,split); each photo is an item of its own.

    The split is that of the source. Raises `ConversionError`, also for a contributor in two splits.
    """
    del subset
    rows = read_csv(source / "labels.csv", ("image", "label", "group", "contributor", "kids", "split"))
    split_of: dict[str, str] = {}
    for row in rows:
        if row["split"] not in SPLITS:
            raise ConversionError(f"{row['image']!r} is in an unknown split {row['split']!r}.", code="split_unknown")
        if split_of.setdefault(row["contributor"], row["split"]) != row["split"]:
            raise ConversionError(f"Contributor {row['contributor']!r} is in two splits.", code="splits_overlap")
    require_distinct(row["image"] for row in rows)
    return [
        Photo(
            path=relative_path(require_file(source / "images", row["image"]), manifest_folder),
            label=row["label"],
            item=Path(row["image"]).stem,
            split=row["split"],
            extra={name: row[name] for name in ("group", "contributor", "kids")},
        )
        for row in rows
    ]
