"""Batch inference on a folder of pictures, for `embed` and `classify`; unreadable pictures are skipped and reported."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from ml.formats.errors import InputError
from ml.images.pictures import PictureError, find_pictures, read_ahead, read_pixels, stack_batches
from ml.images.preprocess import Preprocess
from ml.runtime.load import BATCH
from ml.runtime.types import RUNTIMES
from ml.vectors import Floats

Network = Callable[[Iterable[Floats]], Floats]
"""Maps batches of pixels (at most 32, 3, h, w) to one row per picture (n, d)."""


def add_arguments(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Add the arguments of both commands; `out` is the metavar of the output, such as "FILE.npz"."""
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="an encoder folder")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="searched with its subfolders")
    parser.add_argument("--out", type=Path, required=True, metavar=out, help="replaced if it exists")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="cores the network may use; default: all")


class PictureFolder:
    """The picture files in `folder` and below. Raises `InputError` if there are none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = find_pictures(folder)

    def run(self, network: Network, preprocess: Preprocess, label: str) -> tuple[list[str], Floats]:
        """Return the names of the readable pictures, relative to the folder, and one row of `network` for each name.

        Broken pictures are named on stderr. Raises `InputError` if all are broken. `label`: of the progress bar.
        """
        readable: list[Path] = []
        decoded = read_ahead(tqdm(self.paths, unit="photo", desc=label), lambda path: read_pixels(path, preprocess))
        rows = network(stack_batches(self._pass_readable(decoded, readable), BATCH))
        if not readable:
            text = f"None of the {len(self.paths)} pictures in {str(self.folder)!r} can be read."
            raise InputError(text, code="picture_unreadable")
        return [path.relative_to(self.folder).as_posix() for path in readable], rows

    def _pass_readable(self, decoded: Iterable[Floats | PictureError], readable: list[Path]) -> Iterator[Floats]:
        """Yield the decoded pictures and append their paths to `readable`."""
        for path, pixels in zip(self.paths, decoded, strict=True):
            if isinstance(pixels, PictureError):
                tqdm.write(f"skipped: {pixels}", file=sys.stderr)
            else:
                readable.append(path)
                yield pixels
