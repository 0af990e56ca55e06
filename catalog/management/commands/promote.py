"""manage.py promote: make an encoder live."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import Encoder
from catalog.services.encoders.release import encoder_promote


class Command(BaseCommand):
    """Runs `encoder_promote`. Exit code 2 when the encoder is unknown or the promotion is refused."""

    help = "Make an encoder live, so that it answers all queries, unless the release checks object."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="The name of a registered encoder.")
        parser.add_argument(
            "--reason", default="", help="The reason, kept in the log; required to override objections."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        encoder = Encoder.objects.filter(name=options["name"]).first()
        if encoder is None:
            raise CommandError(
                f"There is no encoder {options['name']!r}. The admin lists the registered encoders.", returncode=2
            )
        try:
            promotion = encoder_promote(encoder=encoder, reason=options["reason"])
        except Refused as refused:
            raise CommandError(refused.detail, returncode=2) from None
        if promotion is None:
            self.stdout.write(f"{encoder} is already live.")
            return
        previous = f", replacing {promotion.previous_name}" if promotion.previous_name else ""
        self.stdout.write(f"{encoder} is live{previous}.")
