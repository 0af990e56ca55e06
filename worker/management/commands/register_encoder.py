"""manage.py register_encoder: register an encoder folder, and optionally promote it."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import Encoder
from catalog.services.encoders.register import encoder_register
from catalog.services.encoders.release import encoder_promote
from ml.encoder.card import card_to_json
from ml.encoder.folder import check_folder
from ml.formats.errors import InputError


class Command(BaseCommand):
    help = "Check an encoder folder, register it as a candidate, and embed the catalogue with it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder with card.json, weights.safetensors and model.onnx")
        parser.add_argument("--live", action="store_true", help="promote it: it answers queries from now on")
        parser.add_argument("--live-if-none", action="store_true", help="promote it if no encoder is live")
        parser.add_argument(
            "--reason", default="", help="with --live: why it is promoted despite failed release checks"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(options["folder"]).resolve()
        try:
            encoder = encoder_register(folder=folder, card=json.loads(card_to_json(check_folder(folder))))
            if options["live"] or (options["live_if_none"] and Encoder.objects.live() is None):
                encoder_promote(encoder=encoder, reason=options["reason"])
        except (InputError, Refused) as error:
            raise CommandError(str(error), returncode=2) from None
        encoder.refresh_from_db()
        self.stdout.write(f"{encoder} is {encoder.get_state_display().lower()}.")
