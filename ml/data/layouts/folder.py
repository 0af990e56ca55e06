"""Layout of a folder of folders: pictures sorted by label, one folder per label."""

from pathlib import Path

from ml.data.layouts.source_files import ConversionError, relative_path
from ml.data.layouts.splits import split_by_hash
from ml.data.manifest import Photo
from ml.images.pictures import find_pictures


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Return one row per picture: the first folder below `source` is the label, the picture an item of its own.

    The split is chosen by a hash of the path. Raises `ConversionError` or `InputError`.
    """
    del subset
    photos = []
    for path in find_pictures(source):
        inside = path.relative_to(source)
        if len(inside.parts) < 2:
            raise ConversionError(f"{inside.name!r} lies in no folder named after its label.", code="folder_missing")
        item = inside.with_suffix("").as_posix()
        photos.append(Photo(relative_path(path, manifest_folder), inside.parts[0], item, split_by_hash(item)))
    return photos
