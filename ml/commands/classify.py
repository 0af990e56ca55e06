"""`classify`: label the pictures of a folder, as a .csv file."""

import argparse
import csv
import io
from collections.abc import Sequence

from ml.commands import picture_folder
from ml.formats.atomic_files import atomic_write
from ml.images.pictures import register_heic
from ml.inference.classifier import load_classifier
from ml.vectors import Floats

HELP = "Label every picture in a folder: FILE.csv with the name, the most probable label and its probability (score)."

SCORE_DIGITS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    picture_folder.add_arguments(parser, out="FILE.csv")


def run(args: argparse.Namespace) -> str:
    register_heic()
    pictures = picture_folder.PictureFolder(args.images)
    classifier = load_classifier(args.encoder, args.runtime, args.threads)
    with atomic_write(args.out) as file:
        network, preprocess = classifier.probabilities_of_batches, classifier.card.preprocessing
        names, probabilities = pictures.run(network, preprocess, "classifying")
        file.write(_format_csv(names, probabilities, classifier.labels))
    return f"{args.out}: {len(names)} pictures labelled, {len(pictures.paths) - len(names)} skipped."


def _format_csv(names: Sequence[str], probabilities: Floats, labels: Sequence[str]) -> bytes:
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("name", "label", "score"))
    for name, row in zip(names, probabilities, strict=True):
        best = int(row.argmax())
        writer.writerow((name, labels[best], f"{row[best]:.{SCORE_DIGITS}f}"))
    return table.getvalue().encode("utf-8", "surrogateescape")  # a file name may be invalid UTF-8
