"""manage.py import_catalog: output and exit codes."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from catalog.importing.importer import ImportStopped
from catalog.management.commands import import_catalog
from tests.helpers.shop import Shop

pytestmark = pytest.mark.django_db


def run(*arguments: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command("import_catalog", *arguments, stdout=out, **options)
    return out.getvalue()


def test_it_ends_with_one_line_of_counts(shop: Shop) -> None:
    shop.add("1.jpg")

    first, second = run(shop.root), run(shop.root)

    assert first == "items: 1 new, 0 changed, 0 unchanged; photos: 1 new, 0 unchanged; 0 refused.\n"
    assert second.endswith("0 refused. Nothing changed.\n")


def test_it_lists_refused_rows_with_reasons(shop: Shop) -> None:
    for number in range(25):
        shop.add(f"{number:02}.jpg", b"text")

    lines = run(shop.root).splitlines()

    assert lines[0] == "Refused (25):"
    assert lines[1].split() == ["row", "file", "code", "reason"]
    assert "1    00.jpg  photo_unreadable  This is not a picture." in lines[2]
    assert lines[22] == "  … and 5 more, listed in the admin"
    assert lines[23].startswith("items: 0 new")


def test_an_unreadable_source_exits_with_code_2_and_one_line(shop: Shop) -> None:
    with pytest.raises(CommandError) as caught:
        run(shop.root / "nowhere")

    assert caught.value.returncode == 2
    assert "nowhere" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_exits_with_code_1_and_one_line(shop: Shop, monkeypatch: Any) -> None:
    def stop(**options: Any) -> None:
        raise ImportStopped("The import stopped: No space left on device. Run it again to continue.")

    monkeypatch.setattr(import_catalog, "catalog_import", stop)

    with pytest.raises(CommandError) as caught:
        run(shop.root)

    assert caught.value.returncode == 1
    assert "No space left on device" in str(caught.value)


def test_the_layout_can_be_chosen(shop: Shop) -> None:
    shop.add("images/1.jpg")
    shop.text("image,label\n1.jpg,Hat\n", "labels.csv")

    assert run(shop.root, layout="folders").startswith("items: 1 new")
    with pytest.raises(CommandError) as caught:
        run(shop.root, layout="styles")
    assert caught.value.returncode == 2


def test_a_database_error_exits_with_one_line(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_table(**_: Any) -> None:
        raise OperationalError("no such table: catalog_importjob")

    monkeypatch.setattr(import_catalog, "catalog_import", no_table)
    with pytest.raises(CommandError) as caught:
        run(shop.root)
    assert "no such table: catalog_importjob" in str(caught.value)
