"""Reading picture files that may be anything: found in a folder, decoded in threads, refused with a sentence."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from more_itertools import chunked
from PIL import Image

from ml.formats.errors import InputError
from ml.images.preprocess import Preprocess, upright_rgb
from ml.vectors import Floats

Job = TypeVar("Job")
Decoded = TypeVar("Decoded")
Done = TypeVar("Done")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"})

DECODING_THREADS = 2
READ_AHEAD = 64
"""Decoded pictures that may wait for the network: 64 of 224 x 224 are 38 MB."""


class PictureError(InputError):
    """A file is not a picture that can be decoded."""

    code = "picture_unreadable"


def register_heic() -> None:
    """Teach Pillow to open what iPhones take, for the whole process: a command does this at its start."""
    from pillow_heif import register_heif_opener

    register_heif_opener()


def find_pictures(folder: Path) -> list[Path]:
    """Return the picture files in `folder` and below, by their suffix, sorted by path. Raises `InputError`."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r}.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"The folder {str(folder)!r} holds no pictures.")
    return found


def read_pixels(path: Path, preprocess: Preprocess) -> Floats:
    """Decode one file at the scale it is needed and prepare it, float32 (3, h, w). Raises `PictureError`."""
    with _opened(path) as image:
        return preprocess(image)


def read_picture(path: Path) -> Image.Image:
    """Decode one file in full, upright RGB. Raises `PictureError`."""
    with _opened(path) as image:
        return upright_rgb(image)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    # Pillow's decoders raise any of these on damaged files; DecompressionBombError has only Exception above it.
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path.name!r} is not a readable picture.") from error


def read_ahead(jobs: Iterable[Job], read: Callable[[Job], Decoded]) -> Iterator[Decoded | PictureError]:
    """Yield `read(job)` for each job in order, worked on in threads ahead of the caller.

    A `PictureError` is yielded in the place of its picture, so that one broken file stops nothing. Pillow lets other
    threads run while it decodes and resizes.
    """

    def read_or_error(job: Job) -> Decoded | PictureError:
        try:
            return read(job)
        except PictureError as error:
            return error

    return map_ahead(jobs, read_or_error, threads=DECODING_THREADS, ahead=READ_AHEAD)


def map_ahead(jobs: Iterable[Job], work: Callable[[Job], Done], *, threads: int, ahead: int) -> Iterator[Done]:
    """Yield `work(job)` for each job in order, while `threads` threads are at the next ones, `ahead` of them at most.

    The jobs themselves are taken by the caller's thread. An error is raised in the place of its job, and ends it all:
    what was begun is finished, what was not is dropped, as when the caller stops.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    waiting: deque[Future[Done]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_batches(jobs: Iterable[Job], read: Callable[[Job], Floats], size: int = 32) -> Iterator[Floats]:
    """Yield the pixels of `jobs` in batches (size, 3, h, w), the last one smaller. Raises `PictureError`."""
    return stack_batches((raise_if_error(pixels) for pixels in read_ahead(jobs, read)), size)


def stack_batches(pictures: Iterable[Floats], size: int) -> Iterator[Floats]:
    """Stack pictures (3, h, w) to batches (size, 3, h, w), the last one smaller."""
    return (np.stack(group) for group in chunked(pictures, size))


def raise_if_error(decoded: Decoded | PictureError) -> Decoded:
    """Return what was decoded, or raise the error that stands in its place."""
    if isinstance(decoded, PictureError):
        raise decoded
    return decoded
