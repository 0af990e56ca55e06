"""Read sources without a table: a folder of pictures, or folders named after categories."""

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import Refused
from catalog.importing.fields import validate_text
from catalog.importing.rows import RefusedRow, SourceRow, decode_file_name, name_from_stem, require_inside

# Pictures in unsupported formats become rows too: each is refused with a reason instead of being skipped silently.
_SUPPORTED = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".gif")
_UNSUPPORTED = (".bmp", ".tif", ".tiff", ".psd", ".jp2", ".jxl", ".svg", ".eps")
SUFFIXES = frozenset((*_SUPPORTED, *_UNSUPPORTED))


def find_pictures(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` with a picture suffix, sorted by name.

    Hidden files are skipped, and links to folders are not followed. An unreadable folder is yielded itself, so that it
    is refused with a reason.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from find_pictures(entry)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def read_folder(root: Path, *, categories: bool) -> Iterator[SourceRow | RefusedRow]:
    """Yield one item per picture; with `categories` the name of its folder is its category.

    The ids start with the name of the source, because two shops may both have an IMG_0001.jpg.
    """
    for number, path in enumerate(find_pictures(root), start=1):
        file = decode_file_name(path.relative_to(root).as_posix())
        category = decode_file_name(path.parent.name) if path.parent != root else ""
        try:
            if path.is_dir():
                raise Refused("folder_unreadable", "The folder may not be read.")
            if path.is_symlink():
                require_inside(root, path)
            item = validate_text("external_id", f"{decode_file_name(root.name)}/{file}")
            columns = {"category": validate_text("category", category)} if categories else {}
        except Refused as error:
            yield RefusedRow.from_error(error, number, file)
            continue
        yield SourceRow(number, file, path, item, name_from_stem(decode_file_name(path.stem)), columns)
