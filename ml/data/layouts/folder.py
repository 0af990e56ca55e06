"""A folder of folders: what somebody has who has nothing but pictures, sorted by hand."""

from pathlib import Path

from ml.data.layouts.source_files import ConversionError, relative_path
from ml.data.layouts.splits import split_by_hash
from ml.data.manifest import Photo
from ml.images.pictures import find_pictures


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """The first folder below `source` is the label, each picture an item of its own in a split drawn from its hash."""
    del subset
    photos = []
    for path in find_pictures(source):
        inside = path.relative_to(source)
        if len(inside.parts) < 2:
            raise ConversionError(f"{inside.name!r} lies in no folder of its own label.")
        item = inside.with_suffix("").as_posix()
        photos.append(Photo(relative_path(path, manifest_folder), inside.parts[0], item, split_by_hash(item)))
    return photos
