"""Contents of all tables and files, to compare before and after a request."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from django.apps import apps

APPS = ("catalog", "knox", "sessions", "admin", "axes")


def everything(*, but: Collection[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables, without those of the applications `but`.

    When a device was last here is not among them: reading may change that.
    """
    return {
        model._meta.label: [
            {name: value for name, value in row.items() if name != "last_seen_at"}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in apps.get_models()
        if model._meta.app_label in set(APPS) - set(but)
    }


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
