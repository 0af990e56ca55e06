"""manage.py draw_sample: draw a sample catalogue and a phone photo of one of its items."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from demo.sample import phone_photo, sample_items, write_sample
from ml.formats.atomic_files import atomic_path

_PHOTOGRAPHED_ITEM = 28  # in the phone photo; arbitrary


class Command(BaseCommand):
    help = "Draw a sample catalogue (items.csv and its pictures) and a phone photo of one of its items."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="folder for items.csv, images/ and phone-photo.jpg")
        parser.add_argument("--items", type=int, default=600, help="number of items")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        if options["items"] < 1:
            raise CommandError(f"--items must be at least 1, not {options['items']}.", returncode=2)
        try:
            with tqdm(desc="Drawing the sample catalogue", unit=" photos", total=0, delay=0.5) as bar:
                write_sample(folder, options["items"], progress=lambda done, total: _show(bar, done, total))
            _write_phone_photo(folder / "phone-photo.jpg", options["items"])
        except OSError as error:
            raise CommandError(f"The pictures cannot be written to {folder}: {error.strerror}.", returncode=2) from None


def _write_phone_photo(target: Path, items: int) -> None:
    with atomic_path(target) as part:
        phone_photo(sample_items(items)[_PHOTOGRAPHED_ITEM % items]).save(part, "JPEG", quality=85)


def _show(bar: "tqdm[Any]", done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)
