"""manage.py roll_back: make the previously live encoder live again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.services.encoders.release import encoder_roll_back


class Command(BaseCommand):
    """Runs `encoder_roll_back`. Exit code 2 when the roll-back is refused."""

    help = "Make the encoder live again that was live before the latest promotion or rollback."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="The reason, kept in the log.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            promotion = encoder_roll_back(reason=options["reason"])
        except Refused as refused:
            raise CommandError(refused.detail, returncode=2) from None
        self.stdout.write(f"{promotion.encoder_name} is live again, replacing {promotion.previous_name}.")
