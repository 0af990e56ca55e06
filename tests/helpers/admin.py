"""Helpers of the admin tests: run a list action, list the stored files."""

from collections.abc import Iterable
from pathlib import Path

from django.db.models import Model
from django.test import Client
from django.urls import reverse


def run_action(staff: Client, action: str, rows: Iterable[Model], *, model: str = "catalogitem", **fields: str) -> None:
    """Select rows in the admin list of a model and run an action on them."""
    body = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    assert staff.post(reverse(f"admin:catalog_{model}_changelist"), body).status_code == 302


def stored_files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]
