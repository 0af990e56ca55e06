"""manage.py roll_back: let the encoder before this one answer again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.services.encoders.release import encoder_roll_back


class Command(BaseCommand):
    help = "Let the encoder answer again that did so before the latest change."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="why")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            promotion = encoder_roll_back(reason=options["reason"])
        except Refused as refused:
            raise CommandError(refused.detail, returncode=2) from None
        self.stdout.write(f"{promotion.encoder_name} answers again, instead of {promotion.previous_name}.")
