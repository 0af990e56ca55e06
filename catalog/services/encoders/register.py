"""Encoders: making them known."""

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from catalog import tasks
from catalog.errors import Refused
from catalog.models import Encoder
from ml.formats.atomic_files import atomic_folder


def encoder_register(*, folder: Path, card: dict[str, Any]) -> Encoder:
    """Make an encoder folder known as a candidate and, if it compares photos, have the catalogue embedded with it.

    `card` is its checked card. The folder is copied to where the workers look, unless it lies there already. An encoder
    with the same files is returned as it is; another one of the same name is `Refused`.
    """
    known = Encoder.objects.filter(name=folder.name).first()
    if known is not None:
        if known.card.get("files") != card.get("files"):
            raise Refused("encoder_name_taken", f"Another encoder is called {folder.name!r}. Rename the folder.")
        return known
    if folder.resolve().parent not in [place.resolve() for place in settings.ENCODER_DIRS]:
        with atomic_folder(settings.ENCODER_DIRS[0] / folder.name) as part:
            shutil.copytree(folder, part, dirs_exist_ok=True)
    encoder = Encoder.objects.create(name=folder.name, kind=card["kind"], dim=card["dim"], card=card)
    if encoder.kind == "metric":
        tasks.send_embed_catalog(encoder.pk)
    return encoder
