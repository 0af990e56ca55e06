"""`embed`: a folder of pictures to an .npz of unit vectors."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ml.embedder import BATCH, Embedder, load_embedder
from ml.errors import InputError
from ml.files import written_whole
from ml.pictures import PictureError, accept_heic, find_pictures, in_batches, read_ahead, read_pixels
from ml.vectors import Floats

HELP = "Embed every picture in a folder: FILE.npz with names (n) and embeddings (n, d), float32 unit rows."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="an encoder folder")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="searched with its subfolders")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="replaced if it exists")
    parser.add_argument("--runtime", choices=("auto", "onnx", "torch"), default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="cores the network may use; default: all")


def run(args: argparse.Namespace) -> str:
    accept_heic()
    paths = find_pictures(args.images)
    embedder = load_embedder(args.encoder, args.runtime, args.threads)
    with written_whole(args.out) as file:
        embedded, vectors = embed_files(embedder, paths)
        if not embedded:
            raise InputError(f"None of the {len(paths)} pictures in {str(args.images)!r} can be read.")
        names = np.array([path.relative_to(args.images).as_posix() for path in embedded])
        np.savez(file, names=names, embeddings=vectors)
    return f"{args.out}: {len(embedded)} pictures embedded, {len(paths) - len(embedded)} skipped."


def embed_files(embedder: Embedder, paths: Sequence[Path]) -> tuple[list[Path], Floats]:
    """Return the files that could be read and their vectors (n, dim); the others are named on stderr."""
    embedded: list[Path] = []

    def readable(decoded: Iterable[Floats | PictureError]) -> Iterator[Floats]:
        for path, pixels in zip(paths, decoded, strict=True):
            if isinstance(pixels, PictureError):
                tqdm.write(f"skipped: {pixels}", file=sys.stderr)
            else:
                embedded.append(path)
                yield pixels

    jobs = tqdm(paths, unit="photo", desc="embedding")
    decoded = read_ahead(jobs, lambda path: read_pixels(path, embedder.card.preprocessing))
    vectors = embedder.embed_batches(in_batches(readable(decoded), BATCH))
    return embedded, vectors
