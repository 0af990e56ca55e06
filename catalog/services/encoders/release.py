"""Choosing the encoder that answers, and what may become of the others.

Each change is one transaction with its `Promotion` row. Workers read which encoder is live at every query, so the next
query after the commit is answered by the new one.
"""

import shutil
import uuid
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import (
    Embedding,
    Encoder,
    EncoderState,
    Evaluation,
    ItemPhoto,
    Promotion,
    SimilarityQuery,
    TrainingRun,
    User,
)
from catalog.services.encoders.gate import Objection, release_objections, usability_objection

SHORTEST_REASON = 10  # characters
NOTHING_BEFORE = "There is no encoder to go back to: none was live before, or it was deleted."
_LOOKED_AT = 512  # of the newest vectors: their times tell the speed
_RECENT = timedelta(minutes=2)
_SAME_BATCH = 0.2  # seconds: the rows of one batch are made at one go


def encoder_promote(*, encoder: Encoder, by: User | None = None, reason: str = "") -> Promotion | None:
    """Make an encoder the live one. The one before keeps its vectors and can come back.

    None if it is live already. Refused (`gate`) with all that speaks against it, unless there is a written reason to do
    it all the same; but nothing overrides objections that are blocking, such as vectors that are missing.
    """
    reason = reason.strip()
    with transaction.atomic():
        encoder, live = _locked(encoder)
        if encoder == live:
            return None
        objections = release_objections(encoder)
        _require_passable(encoder, objections, reason)
        return _switch(encoder, live, by=by, reason=reason, gate=objections)


def encoder_roll_back(*, by: User | None = None, reason: str = "") -> Promotion:
    """Make the encoder live again that was so before the latest change.

    It needs no comparison, since it has answered before, and no complete vectors: going back must be possible when
    things are bad. What is missing is embedded at once, and noted. Refused if it is gone or cannot be used.
    """
    with transaction.atomic():
        live, back = _way_back()
        if unusable := usability_objection(back):
            raise Refused("gate", f"{back} cannot come back. {unusable.text}", status=409)
        gate = [objection for objection in release_objections(back) if objection.code == "coverage"]
        return _switch(back, live, by=by, reason=reason.strip(), gate=gate, is_rollback=True)


def encoder_retire(*, encoder: Encoder) -> None:
    """Have no more of the catalogue embedded with an encoder; the vectors it has stay. Refused for the live one."""
    with transaction.atomic():
        encoder, live = _locked(encoder)
        if encoder == live:
            raise Refused("encoder_is_live", f"{encoder} answers the queries. Promote another one first.", status=409)
        Encoder.objects.filter(pk=encoder.pk).update(state=EncoderState.RETIRED)


def encoder_restore(*, encoder: Encoder) -> None:
    """retired -> candidate: the catalogue is embedded with it again, and it is compared. Others stay as they are."""
    if Encoder.objects.filter(pk=encoder.pk, state=EncoderState.RETIRED).update(state=EncoderState.CANDIDATE):
        tasks.send_embed_catalog(encoder.pk)


def encoder_delete(*, encoder: Encoder) -> None:
    """Delete an encoder with its vectors, its evaluations and, where it lies in this site's own place, its folder.

    Refused while something depends on it: it is live, it is the way back, or queries name it, which could not be
    done again without it.
    """
    with transaction.atomic():
        encoder, live = _locked(encoder)
        if encoder == live:
            raise Refused("encoder_is_live", f"{encoder} answers the queries. Promote another one first.", status=409)
        last = Promotion.objects.first()
        if last is not None and last.previous_id == encoder.pk:
            raise Refused("encoder_is_way_back", f"{encoder} is the way back from {last.encoder_name}.", status=409)
        if queries := encoder_dependents(encoder)["queries"]:
            sentence = f"{queries:,} queries were answered by {encoder} and could not be done again. Retire it instead."
            raise Refused("encoder_has_queries", sentence, status=409)
        transaction.on_commit(partial(_remove_folder, encoder.name))
        encoder.delete()


def _locked(encoder: Encoder) -> tuple[Encoder, Encoder | None]:
    """The encoder as it is now, and the live one, both unchanged by others until the end of the transaction."""
    _lock_all()
    current = Encoder.objects.filter(pk=encoder.pk).first()
    if current is None:
        raise Refused("encoder_gone", f"{encoder} was deleted.", status=404)
    return current, Encoder.objects.live()


def _way_back() -> tuple[Encoder | None, Encoder]:
    _lock_all()
    last = Promotion.objects.select_related("previous").first()
    if last is None or last.previous is None:
        raise Refused("nothing_to_roll_back", NOTHING_BEFORE, status=409)
    return Encoder.objects.live(), last.previous


def _lock_all() -> None:
    """Not only the live one's row: whoever waits for that one must see afterwards which has become live."""
    list(Encoder.objects.select_for_update().order_by("pk").values_list("pk"))


def _require_passable(encoder: Encoder, objections: list[Objection], reason: str) -> None:
    blocking = [objection for objection in objections if objection.is_blocking]
    if blocking or (objections and len(reason) < SHORTEST_REASON):
        told = " ".join(objection.text for objection in objections)
        hint = "" if blocking else f" To do it all the same, give a reason of {SHORTEST_REASON} characters or more."
        raise Refused("gate", f"{encoder} is not promoted. {told}{hint}", status=409)


def _switch(
    encoder: Encoder,
    live: Encoder | None,
    *,
    by: User | None,
    reason: str,
    gate: list[Objection],
    is_rollback: bool = False,
) -> Promotion:
    Encoder.objects.filter(state=EncoderState.LIVE).update(state=EncoderState.RETIRED)
    Encoder.objects.filter(pk=encoder.pk).update(state=EncoderState.LIVE, promoted_at=timezone.now())
    tasks.send_embed_catalog(encoder.pk)
    return Promotion.objects.create(
        encoder=encoder,
        encoder_name=encoder.name,
        previous=live,
        previous_name=live.name if live else "",
        is_rollback=is_rollback,
        by=by,
        reason=reason[:1000],
        gate=[asdict(objection) for objection in gate],
    )


def _remove_folder(name: str) -> None:
    """Out of the way by one rename, so that nobody finds half of it. What ships with the site stays."""
    folder: Path = settings.ENCODER_DIRS[0] / name
    part = folder.with_name(f"{uuid.uuid4().hex}.part")
    try:
        folder.rename(part)
    except OSError:
        return
    shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class Coverage:
    """`per_minute` is 0 while nothing is embedded, or nobody knows yet; then `seconds_left` is None."""

    embedded: int
    photos: int
    per_minute: float
    seconds_left: float | None

    @property
    def missing(self) -> int:
        return self.photos - self.embedded


def encoder_coverage(encoder: Encoder) -> Coverage:
    """The photos that have its vector, of all that should, and how fast there come more."""
    photos = ItemPhoto.objects.searchable().count()
    missing = encoder.missing_photos().count()
    per_minute = _speed(encoder) if missing else 0.0
    return Coverage(
        embedded=max(photos - missing, 0),  # both are counted one after the other, while photos come and go
        photos=photos,
        per_minute=per_minute,
        seconds_left=60 * missing / per_minute if per_minute else None,
    )


def encoder_dependents(encoder: Encoder) -> dict[str, int]:
    """What there is because of an encoder, or names it."""
    return {
        "vectors": Embedding.objects.filter(encoder=encoder).count(),
        "queries": SimilarityQuery.objects.filter(encoder=encoder).count(),
        "evaluations": encoder.evaluations.count(),
        "comparisons_of_others": Evaluation.objects.filter(against=encoder).count(),
        "promotions": Promotion.objects.filter(encoder=encoder).count(),
        "training_runs": TrainingRun.objects.filter(encoder=encoder).count(),
    }


def _speed(encoder: Encoder) -> float:
    """Vectors a minute, from the first of the latest batches to the last; 0 for a single batch, or none."""
    newest = encoder.embeddings.order_by("-id").values_list("created_at", flat=True)[:_LOOKED_AT]
    since = timezone.now() - _RECENT
    times = sorted(moment.timestamp() for moment in newest if moment > since)
    after_first = [moment for moment in times if moment > times[0] + _SAME_BATCH]
    return 60 * len(after_first) / (times[-1] - times[0]) if after_first else 0.0
