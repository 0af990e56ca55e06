"""Release encoders: promote, roll back, retire, restore and delete; coverage of the catalogue.

Each change of the live encoder is one transaction with its `Promotion` row. Workers read the live encoder at every
query, so the new encoder answers the next query after the commit.
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

MIN_REASON = 10  # characters
NO_ROLLBACK_TARGET = "There is no encoder to roll back to: none was live before, or it was deleted."
_SPEED_SAMPLE = 512  # newest embeddings whose times give the speed
_RECENT = timedelta(minutes=2)
_SAME_BATCH = 0.2  # seconds within which the rows of one batch are written


def encoder_promote(*, encoder: Encoder, by: User | None = None, reason: str = "") -> Promotion | None:
    """Make an encoder the live one, atomically. The previous one keeps its embeddings for a roll-back.

    Returns None when it is live already. A `reason` of `MIN_REASON` characters overrides objections that are not
    blocking (see `release_objections`); missing embeddings, for example, are blocking.

    Raises `Refused`: `gate` (409) with all objections; `encoder_gone` (404).
    """
    reason = reason.strip()
    with transaction.atomic():
        encoder, live = _locked(encoder)
        if encoder == live:
            return None
        objections = release_objections(encoder)
        _require_no_objection(encoder, objections, reason)
        return _switch(encoder, live, by=by, reason=reason, gate=objections)


def encoder_roll_back(*, by: User | None = None, reason: str = "") -> Promotion:
    """Make the previously live encoder live again, atomically.

    Needs no comparison, because the encoder has answered before, and no complete embeddings, because a roll-back must
    be possible in an incident: missing photos are embedded after the commit and noted in `Promotion.gate`.

    Raises `Refused`: `nothing_to_roll_back` (409) when there is no previous encoder; `gate` (409) when it is unusable.
    """
    with transaction.atomic():
        live, previous = _roll_back_target()
        if unusable := usability_objection(previous):
            raise Refused("gate", f"{previous} cannot go live again. {unusable.text}", status=409)
        gate = [objection for objection in release_objections(previous) if objection.code == "coverage"]
        return _switch(previous, live, by=by, reason=reason.strip(), gate=gate, is_rollback=True)


def encoder_retire(*, encoder: Encoder) -> None:
    """Stop embedding the catalogue with an encoder; its embeddings stay.

    Raises `Refused`: `encoder_is_live` (409); `encoder_gone` (404).
    """
    with transaction.atomic():
        encoder, live = _locked(encoder)
        if encoder == live:
            raise Refused("encoder_is_live", f"{encoder} is live. Promote another encoder first.", status=409)
        Encoder.objects.filter(pk=encoder.pk).update(state=EncoderState.RETIRED)


def encoder_restore(*, encoder: Encoder) -> None:
    """retired -> candidate: embed the catalogue and compare it again. Does nothing in other states."""
    if Encoder.objects.filter(pk=encoder.pk, state=EncoderState.RETIRED).update(state=EncoderState.CANDIDATE):
        tasks.send_embed_catalog(encoder.pk)


def encoder_delete(*, encoder: Encoder) -> None:
    """Delete an encoder with its embeddings and evaluations, and after commit its folder in `ENCODER_DIRS[0]`.

    Raises `Refused` (409) while something depends on it: `encoder_is_live`; `encoder_is_way_back` when a roll-back
    would make it live; `encoder_has_queries` when queries name it, because they could not be replayed. `encoder_gone`
    (404) when it was deleted.
    """
    with transaction.atomic():
        encoder, live = _locked(encoder)
        if encoder == live:
            raise Refused("encoder_is_live", f"{encoder} is live. Promote another encoder first.", status=409)
        last = Promotion.objects.first()
        if last is not None and last.previous_id == encoder.pk:
            raise Refused(
                "encoder_is_way_back",
                f"{encoder} is the target of a roll-back from {last.encoder_name}. Promote another encoder first.",
                status=409,
            )
        if queries := encoder_dependents(encoder)["queries"]:
            sentence = f"{queries:,} queries were answered by {encoder} and could not be replayed. Retire it instead."
            raise Refused("encoder_has_queries", sentence, status=409)
        transaction.on_commit(partial(_remove_folder, encoder.name))
        encoder.delete()


def _locked(encoder: Encoder) -> tuple[Encoder, Encoder | None]:
    """The current row of the encoder, and the live encoder, locked until the end of the transaction."""
    _lock_all()
    current = Encoder.objects.filter(pk=encoder.pk).first()
    if current is None:
        raise Refused("encoder_gone", f"{encoder} was deleted.", status=404)
    return current, Encoder.objects.live()


def _roll_back_target() -> tuple[Encoder | None, Encoder]:
    _lock_all()
    last = Promotion.objects.select_related("previous").first()
    if last is None or last.previous is None:
        raise Refused("nothing_to_roll_back", NO_ROLLBACK_TARGET, status=409)
    return Encoder.objects.live(), last.previous


def _lock_all() -> None:
    """Lock all encoder rows: a transaction that waited for the live row alone would not see which one is live now."""
    list(Encoder.objects.select_for_update().order_by("pk").values_list("pk"))


def _require_no_objection(encoder: Encoder, objections: list[Objection], reason: str) -> None:
    blocking = [objection for objection in objections if objection.is_blocking]
    if blocking or (objections and len(reason) < MIN_REASON):
        texts = " ".join(objection.text for objection in objections)
        hint = "" if blocking else f" To promote it anyway, give a reason of at least {MIN_REASON} characters."
        raise Refused("gate", f"{encoder} is not promoted. {texts}{hint}", status=409)


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
    """Rename the folder, then delete it, so that it is never seen half deleted. Shipped encoders stay."""
    folder: Path = settings.ENCODER_DIRS[0] / name
    part = folder.with_name(f"{uuid.uuid4().hex}.part")
    try:
        folder.rename(part)
    except OSError:
        return
    shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class Coverage:
    """The embedded share of the searchable photos. `per_minute` is 0, and `seconds_left` None, when unknown."""

    embedded: int
    photos: int
    per_minute: float
    seconds_left: float | None

    @property
    def missing(self) -> int:
        """The number of photos without an embedding."""
        return self.photos - self.embedded


def encoder_coverage(encoder: Encoder) -> Coverage:
    """Count the searchable photos that the encoder has embedded, and estimate the speed."""
    photos = ItemPhoto.objects.searchable().count()
    missing = encoder.missing_photos().count()
    per_minute = _speed(encoder) if missing else 0.0
    return Coverage(
        embedded=max(photos - missing, 0),  # the two counts are not from the same moment
        photos=photos,
        per_minute=per_minute,
        seconds_left=60 * missing / per_minute if per_minute else None,
    )


def encoder_dependents(encoder: Encoder) -> dict[str, int]:
    """Count the rows that refer to an encoder."""
    return {
        "vectors": Embedding.objects.filter(encoder=encoder).count(),
        "queries": SimilarityQuery.objects.filter(encoder=encoder).count(),
        "evaluations": encoder.evaluations.count(),
        "comparisons_of_others": Evaluation.objects.filter(against=encoder).count(),
        "promotions": Promotion.objects.filter(encoder=encoder).count(),
        "training_runs": TrainingRun.objects.filter(encoder=encoder).count(),
    }


def _speed(encoder: Encoder) -> float:
    """Embeddings per minute, from the first to the last of the recent batches; 0 for fewer than two batches."""
    newest = encoder.embeddings.order_by("-id").values_list("created_at", flat=True)[:_SPEED_SAMPLE]
    since = timezone.now() - _RECENT
    times = sorted(moment.timestamp() for moment in newest if moment > since)
    after_first = [moment for moment in times if moment > times[0] + _SAME_BATCH]
    return 60 * len(after_first) / (times[-1] - times[0]) if after_first else 0.0
