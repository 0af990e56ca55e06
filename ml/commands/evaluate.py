"""`evaluate`: how good an encoder is on the photos of a manifest, and whether it is better than another."""

import argparse
from contextlib import ExitStack
from pathlib import Path

from ml.commands.bars import bar
from ml.data.manifest import read_manifest
from ml.evaluation.intervals import RESAMPLES
from ml.evaluation.judging import judge
from ml.evaluation.questions import HELD_OUT, questions_of, require_two_labels
from ml.evaluation.report import report_of, report_to_json
from ml.evaluation.tables import text_of
from ml.formats.atomic_files import atomic_write
from ml.formats.errors import InputError
from ml.formats.manifest_csv import SPLITS
from ml.images.pictures import accept_heic
from ml.runtime.types import RUNTIMES

HELP = "Tell how good an encoder is on the photos of a manifest, with intervals, and whether it is better than another."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="a metric encoder or a classifier")
    parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST.csv", help="the photos to measure with")
    parser.add_argument("--split", choices=SPLITS, help=f"whose photos ask; default: {' and '.join(HELD_OUT)}")
    parser.add_argument("--against", type=Path, metavar="DIR", help="an encoder to compare with, of the same kind")
    parser.add_argument("--label-column", default="label", metavar="NAME", help="what is to be found; default: label")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="all figures; replaced if it exists")
    parser.add_argument(
        "--resamples", type=int, default=RESAMPLES, metavar="N", help=f"for the intervals; default: {RESAMPLES}"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="cores the network may use; default: all")


def run(args: argparse.Namespace) -> str:
    if args.resamples < 1:
        raise InputError("--resamples must be 1 or more.")
    accept_heic()
    questions = questions_of(read_manifest(args.data), args.split, args.label_column)
    require_two_labels(questions)
    folders = [args.encoder] if args.against is None else [args.encoder, args.against]
    with ExitStack() as stack:
        file = stack.enter_context(atomic_write(args.out)) if args.out else None
        judged, *others = judge(folders, questions, bar, args.runtime, args.threads)
        report = report_of(questions, judged, others[0] if others else None, args.resamples)
        if file is not None:
            file.write(report_to_json(report).encode())
    return text_of(report)
