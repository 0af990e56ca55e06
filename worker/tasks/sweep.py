"""Scheduled Celery tasks: sweep (re-sends work whose message or worker was lost) and expire_photos."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from catalog import tasks
from catalog.models import (
    Encoder,
    Evaluation,
    ImportJob,
    QueryState,
    SimilarityQuery,
    TrainingRun,
    WebhookDelivery,
)
from catalog.services.encoders.evaluations import evaluations_ensure
from catalog.services.uploads import uploads_expire, uploads_remove_orphans
from worker.encoders.embedding import is_anything_missing

SENDERS = {
    QueryState.TO_FETCH: tasks.send_fetch_photo,
    QueryState.QUEUED: tasks.send_embed_query,
    QueryState.EMBEDDED: tasks.send_search_query,
}
"""The message that a query in each waiting state needs."""

logger = logging.getLogger(__name__)


@shared_task(name="worker.sweep")
def sweep() -> None:
    """Find work whose message or worker was lost, and send it again."""
    release_expired_claims()
    resend_lost_messages()
    evaluations_ensure()  # last: it may take a while


def release_expired_claims() -> None:
    """Release every claim that was not renewed for `CLAIM_SECONDS`."""
    expired = timezone.now() - timedelta(seconds=settings.CLAIM_SECONDS)
    SimilarityQuery.objects.claimed_before(expired).release_claims()
    WebhookDelivery.objects.claimed_before(expired).release_claims()
    Encoder.objects.claimed_before(expired).release_claims()
    TrainingRun.objects.claimed_before(expired).release_claims("Its worker did not renew its claim in time.")
    Evaluation.objects.claimed_before(expired).release_claims()
    ImportJob.objects.mark_interrupted()


def resend_lost_messages() -> None:
    """Send again the messages of waiting rows that no worker has taken up."""
    for query in SimilarityQuery.objects.take_undelivered():
        SENDERS[QueryState(query.state)](query.pk)
    for delivery in WebhookDelivery.objects.due().take_overdue():
        tasks.send_webhook(delivery.pk)
    for run in TrainingRun.objects.take_undelivered():
        tasks.send_train(run.pk)
    for evaluation in Evaluation.objects.take_undelivered():
        tasks.send_evaluate(evaluation.pk)
    for encoder in Encoder.objects.in_use().filter(claim_token=None):
        if is_anything_missing(encoder):
            tasks.send_embed_catalog(encoder.pk)


@shared_task(name="worker.expire_photos")
def expire_photos() -> None:
    """Delete uploaded photos older than `PHOTO_DAYS`, and uploaded files without a row."""
    if count := uploads_expire():
        logger.info("Deleted %d expired uploaded photos.", count)
    if count := uploads_remove_orphans():
        logger.info("Deleted %d uploaded files that belong to no row.", count)
