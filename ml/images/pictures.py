"""Image files: find pictures in a folder, decode them in prefetching threads, report damaged files."""

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
Result = TypeVar("Result")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"})

PREFETCH_THREADS = 2
READ_AHEAD = 64
"""Most prefetched pictures that wait for the network: 64 of 224 x 224 pixels take 38 MB."""


class PictureError(InputError):
    """A file is not a picture that can be decoded."""

    code = "picture_unreadable"


def register_heic() -> None:
    """Make Pillow open HEIC (the format of iPhones) in the whole process; commands call this at their start."""
    from pillow_heif import register_heif_opener

    register_heif_opener()


def find_pictures(folder: Path) -> list[Path]:
    """Return the files in `folder` and below with a picture suffix, sorted by path. Raises `InputError`."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r}.", code="folder_missing")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"The folder {str(folder)!r} holds no pictures.", code="no_pictures")
    return paths


def read_pixels(path: Path, preprocess: Preprocess) -> Floats:
    """Decode one file at the scale that is needed and preprocess it, float32 (3, h, w). Raises `PictureError`."""
    with _open_image(path) as image:
        return preprocess(image)


def read_picture(path: Path) -> Image.Image:
    """Decode one file at full size, upright RGB. Raises `PictureError`."""
    with _open_image(path) as image:
        return upright_rgb(image)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    # Pillow's decoders raise any of these on damaged files; DecompressionBombError derives from Exception alone.
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path.name!r} is not a readable picture.") from error


def read_ahead(jobs: Iterable[Job], read: Callable[[Job], Decoded]) -> Iterator[Decoded | PictureError]:
    """Yield `read(job)` for each job in order, prefetched in threads.

    A `PictureError` is yielded in the place of its picture, so that a broken file does not stop the others. Pillow
    releases the GIL while it decodes and resizes.
    """

    def read_or_error(job: Job) -> Decoded | PictureError:
        try:
            return read(job)
        except PictureError as error:
            return error

    return map_ahead(jobs, read_or_error, threads=PREFETCH_THREADS, ahead=READ_AHEAD)


def map_ahead(jobs: Iterable[Job], work: Callable[[Job], Result], *, threads: int, ahead: int) -> Iterator[Result]:
    """Yield `work(job)` for each job in order, with up to `ahead` jobs in progress in `threads` threads.

    `jobs` is iterated in the caller's thread. The error of a job is raised in its place and ends the iteration: as when
    the caller stops, running jobs are finished and waiting ones cancelled.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    waiting: deque[Future[Result]] = deque()
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
    """Yield the pixels of `jobs` in batches (size, 3, h, w), the last one may be smaller. Raises `PictureError`."""
    return stack_batches((raise_if_error(pixels) for pixels in read_ahead(jobs, read)), size)


def stack_batches(pictures: Iterable[Floats], size: int) -> Iterator[Floats]:
    """Stack pictures (3, h, w) to batches (size, 3, h, w); the last one may be smaller."""
    return (np.stack(group) for group in chunked(pictures, size))


def raise_if_error(decoded: Decoded | PictureError) -> Decoded:
    """Return `decoded`, or raise it if it is a `PictureError`."""
    if isinstance(decoded, PictureError):
        raise decoded
    return decoded
