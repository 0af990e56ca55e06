"""manage.py promote: let another encoder answer from now on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import Encoder
from catalog.services.encoders.release import encoder_promote


class Command(BaseCommand):
    help = "Let an encoder answer queries from now on, if nothing speaks against it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of a registered encoder")
        parser.add_argument("--reason", default="", help="why; needed where something speaks against it")

    def handle(self, *args: Any, **options: Any) -> None:
        encoder = Encoder.objects.filter(name=options["name"]).first()
        if encoder is None:
            raise CommandError(f"No encoder is called {options['name']!r}.", returncode=2)
        try:
            promotion = encoder_promote(encoder=encoder, reason=options["reason"])
        except Refused as refused:
            raise CommandError(refused.detail, returncode=2) from None
        before = f"; before it {promotion.previous_name} did" if promotion and promotion.previous_name else ""
        self.stdout.write(f"{encoder} answers{before}." if promotion else f"{encoder} answers already.")
