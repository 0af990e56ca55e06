"""`check-data`: list all problems of a manifest and its photos, before a training."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ml.commands.progress_bar import progress_bar
from ml.data.checks import check_data
from ml.formats.errors import InputError
from ml.images.pictures import register_heic

HELP = "Read every photo of a manifest and list broken files, duplicates across splits, empty labels and more."


class DataError(InputError):
    """The manifest has errors; the command has listed them on stdout."""

    code = "data_invalid"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST.csv", help="the manifest to check")
    parser.add_argument("--quick", action="store_true", help="do not open the photos, which takes most of the time")
    parser.add_argument("--show", type=int, default=5, metavar="N", help="list the first N of each kind; default: 5")


def run(args: argparse.Namespace) -> str:
    if args.show < 0:
        raise InputError("--show must be 0 or more.", code="option_invalid")
    register_heic()
    report = check_data(args.data, progress_bar, read_photos=not args.quick)
    for severity, problems in (("error", report.errors), ("warning", report.warnings)):
        for line in _format_problems(severity, problems, args.show):
            sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # before what main writes to stderr
    errors, warnings = _count_problems(report.errors), _count_problems(report.warnings)
    summary = f"{args.data}: {report.photos} photos, {errors} errors, {warnings} warnings."
    if report.errors:
        raise DataError(summary)
    return summary


def _format_problems(severity: str, problems: Mapping[str, Sequence[str]], show: int) -> Iterable[str]:
    for kind, texts in problems.items():
        yield f"{severity}: {kind}: {len(texts)}"
        yield from (f"    {' '.join(text.split())}" for text in texts[:show])
        if show and len(texts) > show:
            yield f"    … and {len(texts) - show} more"


def _count_problems(problems: Mapping[str, Sequence[str]]) -> int:
    return sum(len(texts) for texts in problems.values())
