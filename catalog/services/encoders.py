"""Encoders: making them known, and choosing the one that answers."""

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from catalog import queue
from catalog.errors import Refused
from catalog.models import Encoder, EncoderState


def encoder_register(*, folder: Path, card: dict[str, Any]) -> Encoder:
    """Make an encoder folder known as a candidate and have the catalogue embedded with it.

    `card` is its checked card. The folder is copied to where the workers look, unless it lies there already. An encoder
    with the same files is returned as it is; another one of the same name is `Refused`.
    """
    known = Encoder.objects.filter(name=folder.name).first()
    if known is not None:
        if known.card.get("files") != card.get("files"):
            raise Refused("encoder_name_taken", f"Another encoder is called {folder.name!r}. Rename the folder.")
        return known
    if folder.resolve().parent not in [place.resolve() for place in settings.ENCODER_DIRS]:
        _copy_whole(folder, settings.ENCODER_DIRS[0] / folder.name)
    encoder = Encoder.objects.create(name=folder.name, kind=card["kind"], dim=card["dim"], card=card)
    queue.send_embed_catalog(encoder.pk)
    return encoder


def encoder_promote(*, encoder: Encoder) -> None:
    """Make an encoder the live one, in one transaction. The one before keeps its vectors and can come back.

    Refused when it is not of the kind that compares photos, or when photos still lack its vectors while another encoder
    answers: those items would vanish from the answers.
    """
    if encoder.kind != "metric":
        raise Refused("encoder_kind", f"{encoder} is a {encoder.kind}; only a metric encoder can answer queries.")
    with transaction.atomic():
        live = Encoder.objects.select_for_update().filter(state=EncoderState.LIVE).first()
        if live == encoder:
            return
        if live is not None:
            if missing := encoder.missing_photos().count():
                raise Refused("encoder_coverage", f"{missing} photos have no vector of {encoder} yet. Wait for them.")
            Encoder.objects.filter(pk=live.pk).update(state=EncoderState.RETIRED)
        Encoder.objects.filter(pk=encoder.pk).update(state=EncoderState.LIVE, promoted_at=timezone.now())
        queue.send_embed_catalog(encoder.pk)


def _copy_whole(source: Path, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    part.rename(target)
