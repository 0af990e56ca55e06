"""The other task of the `net` worker: telling addresses of people's own that their queries have ended."""

import logging
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_ready

from catalog import tasks
from catalog.errors import ClaimLost, Refused
from catalog.models import WebhookDelivery
from catalog.services.queries.webhooks import webhook_send

logger = logging.getLogger(__name__)


@shared_task(name=tasks.SEND_WEBHOOK, bind=True)
def send_webhook(self: "Task[Any, Any]", delivery_id: str) -> None:
    """waiting -> delivered, or waiting for the next try. A crash of ours leaves the claim to the sweep."""
    delivery = WebhookDelivery.objects.claim(delivery_id, worker=self.request.hostname or "")
    if delivery is None:
        return
    try:
        _try(delivery)
    except ClaimLost as lost:
        logger.warning("%s", lost)


def _try(delivery: WebhookDelivery) -> None:
    try:
        webhook_send(delivery=delivery)
    except Refused as refused:
        delivery.record_failure(refused.detail)
    else:
        delivery.record_delivery()


@worker_ready.connect
def release_own_webhooks(sender: Any, **_: Any) -> None:
    """Give back what a worker of this name held when it was killed; the sweep sends it again."""
    WebhookDelivery.objects.held_by(sender.hostname).release()
