"""Register an encoder folder as a candidate."""

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from catalog import tasks
from catalog.errors import Refused
from catalog.models import Encoder
from ml.formats.atomic_files import atomic_folder


def encoder_register(*, folder: Path, card: dict[str, Any]) -> Encoder:
    """Create the row of an encoder folder, as a candidate. A metric encoder starts to embed the catalogue after commit.

    `card` is the checked card of the folder. A folder outside `ENCODER_DIRS` is copied into the first of them, whole or
    not at all. Idempotent: a registered encoder with the same files is returned unchanged.

    Raises `Refused`: `encoder_name_taken` when an encoder of this name has other files.
    """
    encoder = Encoder.objects.filter(name=folder.name).first()
    if encoder is not None:
        if encoder.card.get("files") != card.get("files"):
            raise Refused("encoder_name_taken", f"Another encoder is called {folder.name!r}. Rename the folder.")
        return encoder
    target_dir: Path = settings.ENCODER_DIRS[0]
    if folder.resolve().parent not in [encoder_dir.resolve() for encoder_dir in settings.ENCODER_DIRS]:
        target_dir.mkdir(parents=True, exist_ok=True)
        with atomic_folder(target_dir / folder.name) as part:
            shutil.copytree(folder, part, dirs_exist_ok=True)
    encoder = Encoder.objects.create(name=folder.name, kind=card["kind"], dim=card["dim"], card=card)
    if encoder.kind == "metric":
        tasks.send_embed_catalog(encoder.pk)
    return encoder
