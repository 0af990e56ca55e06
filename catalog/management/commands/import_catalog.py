"""manage.py import_catalog: import a folder of pictures or a CSV table into the catalogue."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from tqdm import tqdm

from catalog.errors import Refused
from catalog.importing.importer import ImportStopped, catalog_import
from catalog.importing.sources import LAYOUT_NAMES
from catalog.models import ImportJob

_MAX_SHOWN = 20  # refused rows in the output


class Command(BaseCommand):
    """Runs `catalog_import` and prints the refused rows and counts. Exit code 2: unusable source; 130: interrupted."""

    help = (
        "Import a catalogue: a folder of pictures, folders by category, or a CSV file that lists pictures. Idempotent."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", type=Path, help="A folder or a CSV file.")
        parser.add_argument("--layout", choices=LAYOUT_NAMES, help="The layout of the source; detected by default.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with tqdm(desc="Importing the catalogue", unit=" photos", total=0, delay=0.5) as bar:
                job = catalog_import(
                    source=options["source"],
                    layout=options["layout"],
                    progress=lambda done, total: _update_bar(bar, done, total),
                )
        except Refused as error:
            raise CommandError(error.detail, returncode=2) from None
        except DatabaseError as error:
            hint = "Check that VAR_DIR or DATABASE_URL is that of the site and that it has been migrated."
            raise CommandError(f"The database cannot be used: {error}. {hint}") from None
        except ImportStopped as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run the command again to continue.", returncode=130) from None
        for line in _format_report(job):
            self.stdout.write(line)


def _update_bar(bar: "tqdm[Any]", done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _format_report(job: ImportJob) -> list[str]:
    """The refused rows with reasons, then one line of counts."""
    counts = job.counts
    lines = []
    if counts["refused"]:
        lines += [f"Refused ({counts['refused']}):", *_format_rows(job.errors[:_MAX_SHOWN])]
        if counts["refused"] > _MAX_SHOWN:
            lines.append(f"  … and {counts['refused'] - _MAX_SHOWN} more, listed in the admin")
    items = "items: {items_created} new, {items_updated} changed, {items_unchanged} unchanged"
    photos = "photos: {photos_created} new, {photos_unchanged} unchanged"
    summary = f"{items}; {photos}; {{refused}} refused.".format(**counts)
    changed = counts["items_created"] + counts["items_updated"] + counts["photos_created"]
    return [*lines, summary if changed else f"{summary} Nothing changed."]


def _format_rows(errors: list[dict[str, Any]]) -> list[str]:
    rows = [("row", "file", "code", "reason")]
    rows += [(str(error["row"]), error["file"], error["code"], error["reason"]) for error in errors]
    widths = [min(40, max(len(row[column]) for row in rows)) for column in range(3)]
    return ["  " + "  ".join((*(f"{row[n]:<{widths[n]}.{widths[n]}}" for n in range(3)), row[3])) for row in rows]
