"""manage.py import_catalog: bring the catalogue up to date with a folder of pictures or a table."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from tqdm import tqdm

from catalog.errors import Refused
from catalog.importing.importer import ImportStopped, catalog_import
from catalog.importing.sources import LAYOUT_NAMES
from catalog.models import ImportJob

_SHOWN = 20  # refused rows in the table


class Command(BaseCommand):
    help = "Import a catalogue: a folder of pictures, folders by label, or a CSV file that names them. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument("--layout", choices=LAYOUT_NAMES, help="How the source is laid out; found out by itself.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with tqdm(desc="Importing the catalogue", unit=" photos", total=0, delay=0.5) as bar:
                job = catalog_import(
                    source=options["source"],
                    layout=options["layout"],
                    progress=lambda done, total: _show(bar, done, total),
                )
        except Refused as error:
            raise CommandError(error.detail, returncode=2) from None
        except DatabaseError as error:
            hint = "Is VAR_DIR, or DATABASE_URL, that of the site, and has it been migrated?"
            raise CommandError(f"The database cannot be used: {error}. {hint}") from None
        except ImportStopped as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run it again to go on.", returncode=130) from None
        for line in _report(job):
            self.stdout.write(line)


def _show(bar: "tqdm[Any]", done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _report(job: ImportJob) -> list[str]:
    """What was refused and why, then one line of counts."""
    counts = job.counts
    lines = []
    if counts["refused"]:
        lines += [f"Refused ({counts['refused']}):", *_table(job.errors[:_SHOWN])]
        if counts["refused"] > _SHOWN:
            lines.append(f"  … and {counts['refused'] - _SHOWN} more, all in the admin")
    items = "items: {items_created} new, {items_updated} changed, {items_unchanged} as before"
    photos = "photos: {photos_created} new, {photos_unchanged} as before"
    done = f"{items}; {photos}; {{refused}} refused.".format(**counts)
    changed = counts["items_created"] + counts["items_updated"] + counts["photos_created"]
    return [*lines, done if changed else f"{done} Nothing changed."]


def _table(errors: list[dict[str, Any]]) -> list[str]:
    rows = [("row", "file", "code", "reason")]
    rows += [(str(error["row"]), error["file"], error["code"], error["reason"]) for error in errors]
    widths = [min(40, max(len(row[column]) for row in rows)) for column in range(3)]
    return ["  " + "  ".join((*(f"{row[n]:<{widths[n]}.{widths[n]}}" for n in range(3)), row[3])) for row in rows]
