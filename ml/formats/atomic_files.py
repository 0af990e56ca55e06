"""Atomic writes: a file or a folder is written to a temporary name and renamed, so that it appears whole or not at all.

Standard library only: the catalogue, the worker and the demonstration write their files with it, too.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ml.formats.errors import InputError


class UnwritableError(InputError):
    """A file or a folder cannot be written to the requested place."""

    code = "unwritable"


@contextmanager
def atomic_path(path: Path, *, fsync: bool = False) -> Iterator[Path]:
    """Yield `path` + ".part" for a file to be written, and rename it to `path` at the end, over an older file.

    `fsync`: the content reaches the disk before the rename. After an error the ".part" file is removed and `path` is
    unchanged. Raises `OSError`.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        if fsync:
            fsync_file(part)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for `atomic_path`, immediately, so that an unwritable path is reported before the long work.

    Raises `UnwritableError`.
    """
    with translate_to_unwritable(path):
        if path.is_dir():
            raise UnwritableError(f"{str(path)!r} is a folder, not a file.", code="path_is_folder")
        with atomic_path(path) as part, part.open("wb") as file:
            yield file


@contextmanager
def atomic_folder(path: Path, *, fsync: bool = False) -> Iterator[Path]:
    """Make the empty folder `path` + ".part", yield it, and rename it to `path`, which must not hold files yet.

    A ".part" folder of an interrupted attempt is removed first. `fsync`: every file reaches the disk before the rename.
    After an error the ".part" folder is removed. Raises `OSError`.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        yield part
        if fsync:
            for file in part.rglob("*"):
                if file.is_file():
                    fsync_file(file)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def translate_to_unwritable(path: Path) -> Iterator[None]:
    """Translate an `OSError` of the block into an `UnwritableError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def fsync_file(path: Path) -> None:
    """Flush the content of the file to the disk (fsync). Raises `OSError`."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def require_disk_space(path: Path, size: int) -> None:
    """Raise `UnwritableError` if the disk of `path` has less than `size` bytes free, before the long work starts."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise UnwritableError(
            f"{str(path.parent)!r} needs {size / 1e9:.1f} GB of free space, and has {free / 1e9:.1f} GB.",
            code="disk_space_short",
        )
