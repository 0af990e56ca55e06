"""`embed`: embed the pictures of a folder, as an .npz file of unit vectors."""

import argparse

import numpy as np

from ml.commands import picture_folder
from ml.formats.atomic_files import atomic_write
from ml.images.pictures import register_heic
from ml.inference.embedder import load_embedder

HELP = "Embed every picture in a folder: FILE.npz with names (n) and embeddings (n, d), float32 unit rows."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    picture_folder.add_arguments(parser, out="FILE.npz")


def run(args: argparse.Namespace) -> str:
    register_heic()
    pictures = picture_folder.PictureFolder(args.images)
    embedder = load_embedder(args.encoder, args.runtime, args.threads)
    with atomic_write(args.out) as file:
        names, vectors = pictures.run(embedder.embed_batches, embedder.card.preprocessing, "embedding")
        np.savez(file, names=np.array(names), embeddings=vectors)
    return f"{args.out}: {len(names)} pictures embedded, {len(pictures.paths) - len(names)} skipped."
