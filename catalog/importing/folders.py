"""Sources without a table: a folder of pictures, or folders whose names say what is on their pictures."""

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import Refused
from catalog.importing.fields import checked_text
from catalog.importing.rows import RefusedRow, SourceRow, inside, legible, spoken

# What someone who puts it into a folder takes for a picture. Those of a format that is not taken are refused one by
# one, so that nobody misses them in silence.
_TAKEN = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".gif")
_NOT_TAKEN = (".bmp", ".tif", ".tiff", ".psd", ".jp2", ".jxl", ".svg", ".eps")
SUFFIXES = frozenset((*_TAKEN, *_NOT_TAKEN))


def picture_files(folder: Path) -> Iterator[Path]:
    """Every picture below `folder` by its suffix, in the order of the names.

    Hidden files are left out, and links to folders are not followed. A folder that cannot be read comes in place of
    its pictures, so that reading it is refused with the reason.
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
                yield from picture_files(entry)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def folder_rows(root: Path, *, categories: bool) -> Iterator[SourceRow | RefusedRow]:
    """One item per picture; with `categories` the folder that holds it is its category.

    The ids begin with the name of the source, since two shops may both have an IMG_0001.jpg.
    """
    for number, path in enumerate(picture_files(root), start=1):
        file = legible(path.relative_to(root).as_posix())
        category = legible(path.parent.name) if path.parent != root else ""
        try:
            if path.is_dir():
                raise Refused("folder_unreadable", "The folder may not be read.")
            if path.is_symlink():
                inside(root, path)
            item = checked_text("external_id", f"{legible(root.name)}/{file}")
            columns = {"category": checked_text("category", category)} if categories else {}
        except Refused as error:
            yield RefusedRow.because(error, number, file)
            continue
        yield SourceRow(number, file, path, item, spoken(legible(path.stem)), columns)
