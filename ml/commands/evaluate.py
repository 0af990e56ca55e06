"""`evaluate`: measure an encoder on the photos of a manifest and compare it with another encoder."""

import argparse
from contextlib import ExitStack
from pathlib import Path

from ml.commands.progress_bar import progress_bar
from ml.data.manifest import read_manifest
from ml.evaluation.dataset import HELD_OUT, build_dataset, require_two_labels
from ml.evaluation.encoders import evaluate_encoders
from ml.evaluation.intervals import RESAMPLES
from ml.evaluation.report import build_report, report_to_json
from ml.evaluation.tables import report_to_text
from ml.formats.atomic_files import atomic_write
from ml.formats.errors import InputError
from ml.formats.manifest_csv import SPLITS
from ml.images.pictures import register_heic
from ml.runtime.types import RUNTIMES

HELP = "Measure an encoder on the photos of a manifest, with confidence intervals; compare it with another encoder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="a metric encoder or a classifier")
    parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST.csv", help="the photos to evaluate on")
    parser.add_argument("--split", choices=SPLITS, help=f"the split of the queries; default: {' and '.join(HELD_OUT)}")
    parser.add_argument("--against", type=Path, metavar="DIR", help="an encoder to compare with, of the same kind")
    parser.add_argument(
        "--label-column", default="label", metavar="NAME", help="the column with the labels; default: label"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="all metrics as JSON; replaced if it exists")
    parser.add_argument(
        "--resamples", type=int, default=RESAMPLES, metavar="N", help=f"of the bootstrap; default: {RESAMPLES}"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="cores the network may use; default: all")


def run(args: argparse.Namespace) -> str:
    if args.resamples < 1:
        raise InputError("--resamples must be 1 or more.", code="option_invalid")
    register_heic()
    dataset = build_dataset(read_manifest(args.data), args.split, args.label_column)
    require_two_labels(dataset)
    folders = [args.encoder] if args.against is None else [args.encoder, args.against]
    with ExitStack() as stack:
        file = stack.enter_context(atomic_write(args.out)) if args.out else None
        scores, *others = evaluate_encoders(folders, dataset, progress_bar, args.runtime, args.threads)
        report = build_report(dataset, scores, others[0] if others else None, args.resamples)
        if file is not None:
            file.write(report_to_json(report).encode())
    return report_to_text(report)
