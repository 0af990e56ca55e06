"""`convert`: from the layout of a photo collection to a manifest."""

import argparse
from pathlib import Path

from ml import convert
from ml.manifest import Manifest, check_manifest, write_manifest

HELP = "Write the manifest of a photo collection."

LAYOUTS = {
    "clothing-dataset": convert.clothing_dataset,
    "fashion-products": convert.fashion_products,
    "folder": convert.folder,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layout", choices=LAYOUTS, help="how the collection is laid out")
    parser.add_argument("source", type=Path, help="its folder")
    parser.add_argument("--out", type=Path, required=True, metavar="MANIFEST.csv", help="the file to write")


def run(args: argparse.Namespace) -> str:
    photos = LAYOUTS[args.layout](args.source, args.out.parent)
    check_manifest(Manifest(args.out.parent, tuple(photos)))
    write_manifest(args.out, photos)
    labels = len({photo.label for photo in photos})
    splits = ", ".join(f"{sum(photo.split == name for photo in photos)} {name}" for name in ("train", "val", "test"))
    return f"{args.out}: {len(photos)} photos of {labels} labels ({splits})."
