"""Contents of all tables and files, to compare before and after a request."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from django.apps import apps

APPS = ("catalog", "knox", "sessions", "admin", "axes")


def read_all_rows(*, except_apps: Collection[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables by model, except those of the apps `except_apps`.

    Without the column `last_seen_at` of a device, which reading may change.
    """
    return {
        model._meta.label: [
            {name: value for name, value in row.items() if name != "last_seen_at"}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in apps.get_models()
        if model._meta.app_label in set(APPS) - set(except_apps)
    }


def read_all_files(folder: Path) -> dict[Path, bytes]:
    """Return the content of every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
