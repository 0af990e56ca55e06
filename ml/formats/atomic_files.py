"""Files that appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ml.formats.errors import InputError


class UnwritableError(InputError):
    """A file cannot be written where it was asked for."""


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open `path` + ".part" for writing and rename it to `path` at the end; after an error nothing is left.

    It is opened at once, so that an unwritable place is known before the long work. Raises `UnwritableError`.
    """
    part = path.with_name(path.name + ".part")
    try:
        if path.is_dir():
            raise UnwritableError(f"{str(path)!r} is a folder.")
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise UnwritableError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def require_room(path: Path, size: int) -> None:
    """Raise `UnwritableError` where the disk of `path` has no room for `size` bytes: better known now than half-way."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise UnwritableError(f"{str(path.parent)!r} needs {size / 1e9:.1f} GB of room, and {free / 1e9:.1f} are free.")
