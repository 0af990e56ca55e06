"""`fit-pretrained`: build an encoder from a pretrained backbone by a whitened PCA, without training."""

import argparse
import shlex
from pathlib import Path

from ml.commands.progress_bar import progress_bar
from ml.commands.public_paths import public_path
from ml.data.manifest import read_manifest
from ml.formats.errors import InputError
from ml.images.pictures import register_heic
from ml.runtime.allocator import keep_freed_pages

HELP = "Reduce the features of a pretrained backbone by a whitened PCA and write the result as an encoder folder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST.csv", help="fitted on its train photos")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder to write; must not exist yet"
    )
    parser.add_argument("--backbone", choices=("efficientnet-lite0",), default="efficientnet-lite0")
    parser.add_argument("--embedding-size", type=int, default=100, metavar="D", help="default: 100")
    parser.add_argument("--about-data", default="", metavar="TEXT", help="a description of the photos, for the card")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="cores for torch; default: 2")


def run(args: argparse.Namespace) -> str:
    if args.embedding_size < 1 or args.threads < 1:
        raise InputError("--embedding-size and --threads must be 1 or more.", code="option_invalid")
    if args.out.exists():
        text = f"{str(args.out)!r} exists already; remove it or choose another folder."
        raise InputError(text, code="folder_exists")
    register_heic()
    manifest = read_manifest(args.data)
    keep_freed_pages()  # before torch is imported
    import torch

    from ml.training.pretrained import EncoderSpec, fit_pretrained

    torch.set_num_threads(args.threads)
    spec = EncoderSpec(args.out.name, args.backbone, args.embedding_size, args.about_data, _command_line(args))
    card = fit_pretrained(manifest, args.out, spec, progress_bar)
    figures = ", ".join(f"{name} {value:g}" for name, value in card.metrics.items())
    return f"{args.out}: {card.identifier} ({figures})."


def _command_line(args: argparse.Namespace) -> str:
    """Return the command line that builds the same encoder, for the card."""
    options = {
        "--data": public_path(args.data),
        "--out": public_path(args.out),
        "--backbone": args.backbone,
        "--embedding-size": args.embedding_size,
        "--about-data": args.about_data,
    }
    words = [word for option, value in options.items() if value != "" for word in (option, str(value))]
    return shlex.join(["python", "-m", "ml", "fit-pretrained", *words])
