"""Helpers of the admin tests: run a list action, read error codes of a form, list the stored files."""

from collections.abc import Iterable
from pathlib import Path

from django.db.models import Model
from django.forms import BaseForm
from django.test import Client
from django.urls import reverse


def run_action(staff: Client, action: str, rows: Iterable[Model], *, model: str = "catalogitem", **fields: str) -> None:
    """Select rows in the admin list of a model and run an action on them."""
    body = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    assert staff.post(reverse(f"admin:catalog_{model}_changelist"), body).status_code == 302


def error_codes(form: BaseForm) -> dict[str, list[str | None]]:
    """Return the error codes of a form by field name."""
    return {field: [error.code for error in errors] for field, errors in form.errors.as_data().items()}


def stored_files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]
