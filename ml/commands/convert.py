"""`convert`: write the manifest of a photo collection in a known layout."""

import argparse
from pathlib import Path

from ml.data.layouts import (
    clothing_dataset,
    deepfashion2,
    deepfashion_consumer2shop,
    deepfashion_inshop,
    deepfashion_landmark,
    fashion_mnist,
    fashion_products,
    folder,
)
from ml.data.manifest import Manifest, validate_manifest, write_manifest
from ml.formats.manifest_csv import SPLITS

HELP = "Write the manifest of a photo collection."

LAYOUTS = {
    "clothing-dataset": clothing_dataset,
    "deepfashion-consumer2shop": deepfashion_consumer2shop,
    "deepfashion-inshop": deepfashion_inshop,
    "deepfashion-landmark": deepfashion_landmark,
    "deepfashion2": deepfashion2,
    "fashion-mnist": fashion_mnist,
    "fashion-products": fashion_products,
    "folder": folder,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layout", choices=LAYOUTS, help="the layout of the collection")
    parser.add_argument("source", type=Path, help="the folder of the collection")
    parser.add_argument("--out", type=Path, required=True, metavar="MANIFEST.csv", help="the file to write")
    parser.add_argument(
        "--subset",
        action="store_true",
        help="the source is a part: do not require the published counts",
    )


def run(args: argparse.Namespace) -> str:
    photos = LAYOUTS[args.layout].convert(args.source, args.out.parent, args.subset)
    validate_manifest(Manifest(args.out.parent, tuple(photos)))
    write_manifest(args.out, photos)
    labels = len({photo.label for photo in photos})
    splits = ", ".join(f"{sum(photo.split == name for photo in photos)} {name}" for name in SPLITS)
    return f"{args.out}: {len(photos)} photos of {labels} labels ({splits})."
