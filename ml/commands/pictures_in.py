"""What `embed` and `classify` share: the pictures in a folder go through a network, the broken ones are named."""

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
"""From batches of pixels (at most 32, 3, h, w) to one row per picture (n, d)."""


def add_arguments(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Add what both commands take; `out` stands for the file to write, as in "FILE.npz"."""
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="an encoder folder")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="searched with its subfolders")
    parser.add_argument("--out", type=Path, required=True, metavar=out, help="replaced if it exists")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="cores the network may use; default: all")


class PicturesIn:
    """The picture files in `folder` and below. Raises `InputError` where there are none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = find_pictures(folder)

    def through(self, network: Network, preprocess: Preprocess, doing: str) -> tuple[list[str], Floats]:
        """Return the names of the pictures that can be read, relative to the folder, and what `network` makes of them.

        The others are named on stderr. Raises `InputError` where all are broken. `doing` stands beside the bar.
        """
        read: list[Path] = []
        decoded = read_ahead(tqdm(self.paths, unit="photo", desc=doing), lambda path: read_pixels(path, preprocess))
        rows = network(stack_batches(self._readable(decoded, read), BATCH))
        if not read:
            raise InputError(f"None of the {len(self.paths)} pictures in {str(self.folder)!r} can be read.")
        return [path.relative_to(self.folder).as_posix() for path in read], rows

    def _readable(self, decoded: Iterable[Floats | PictureError], read: list[Path]) -> Iterator[Floats]:
        """Pass on what could be decoded and note its file in `read`."""
        for path, pixels in zip(self.paths, decoded, strict=True):
            if isinstance(pixels, PictureError):
                tqdm.write(f"skipped: {pixels}", file=sys.stderr)
            else:
                read.append(path)
                yield pixels
