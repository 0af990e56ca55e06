"""Recovery of killed imports: detection, cleanup of orphaned files, repetition."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from catalog.errors import Refused
from catalog.importing.importer import catalog_import
from catalog.importing.recovery import hold_import_lock, photo_folder, recover_killed_imports
from catalog.models import ImportJob, ImportState, ItemPhoto
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_item_photo
from tests.helpers.shop import Shop, picture

database = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def own_locks(settings: Any, tmp_path: Path) -> None:
    """Job ids repeat between tests, so each test has its own folder of lock files."""
    settings.VAR_DIR = tmp_path / "var"


def killed_job(source: str = "somewhere", **columns: Any) -> ImportJob:
    """A job as kill -9 leaves it: running, with a lock file that no process holds."""
    job = ImportJob.objects.create(source=source, **columns)
    _lock_file(job).parent.mkdir(parents=True, exist_ok=True)
    _lock_file(job).touch()
    return job


def _lock_file(job: ImportJob) -> Path:
    return Path(django_settings.VAR_DIR) / "imports" / f"{job.pk}.lock"


def store_file(job: ImportJob, name: str = "orphan.jpg") -> str:
    return default_storage.save(f"{photo_folder(job)}/{name}", ContentFile(picture()))


class TestRows:
    pytestmark = database

    def test_a_killed_import_is_marked_interrupted_and_its_orphaned_files_removed(self) -> None:
        job = killed_job()
        orphan, referenced = store_file(job), store_file(job, "referenced.jpg")
        make_item_photo()
        ItemPhoto.objects.update(file=referenced)

        recover_killed_imports()

        job.refresh_from_db()
        assert job.state == ImportState.INTERRUPTED
        assert job.finished_at is not None
        assert job.counts["orphans_removed"] == 1
        assert not default_storage.exists(orphan)
        assert default_storage.exists(referenced)
        assert not _lock_file(job).exists()

    def test_an_import_that_holds_its_lock_is_left_alone(self) -> None:
        job = ImportJob.objects.create(source="shop")
        orphan = store_file(job)
        with hold_import_lock(job):
            ImportJob.objects.update(updated_at=timezone.now() - timedelta(hours=1))
            recover_killed_imports()
            assert default_storage.exists(orphan)

        recover_killed_imports()
        assert not default_storage.exists(orphan)

    def test_an_import_of_another_machine_is_recovered_after_a_timeout(self) -> None:
        job = ImportJob.objects.create(source="elsewhere")
        orphan = store_file(job)
        recover_killed_imports()
        assert default_storage.exists(orphan)
        ImportJob.objects.update(updated_at=timezone.now() - timedelta(minutes=3))

        recover_killed_imports()

        assert not default_storage.exists(orphan)

    def test_files_of_a_finished_import_are_never_removed(self) -> None:
        job = ImportJob.objects.create(source="shop")
        name = store_file(job)
        job.finish()

        recover_killed_imports()

        assert default_storage.exists(name)

    def test_a_source_is_not_imported_twice_concurrently(self, shop: Shop) -> None:
        shop.add("1.jpg")
        job = ImportJob.objects.create(source=str(shop.root))

        with hold_import_lock(job), raises_code(Refused, "import_running", job.pk):
            catalog_import(source=shop.root)

        assert ImportJob.objects.count() == 1

    def test_a_source_can_be_imported_again_after_a_killed_import(self, shop: Shop) -> None:
        shop.add("1.jpg")
        killed_job(str(shop.root))

        assert shop.run().counts["photos_created"] == 1


# --- a real process and a real kill -9


class Site:
    """A separate site on SQLite, controlled through manage.py."""

    def __init__(self, var: Path) -> None:
        self.var = var
        var.mkdir(parents=True)
        inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.environment = {**inherited, "VAR_DIR": str(var), "DJANGO_SETTINGS_MODULE": "clothes_matcher.settings"}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "manage.py", *arguments]
        out = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, text=True)

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        output, problems = process.communicate(timeout=60)
        assert process.returncode == 0, problems
        return output

    def files(self) -> set[str]:
        media = self.var / "media"
        return {path.relative_to(media).as_posix() for path in media.rglob("*.jpg")}

    def column(self, sql: str) -> list[Any]:
        with sqlite3.connect(self.var / "db.sqlite3") as connection:
            return [row[0] for row in connection.execute(sql)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_an_import_killed_halfway_can_be_repeated_without_orphaned_files(tmp_path: Path) -> None:
    shop, site = Shop(tmp_path / "shop"), Site(tmp_path / "site")
    count = 400
    for number in range(count):
        shop.add(f"{number:03}.jpg", picture(number) + number.to_bytes(2, "big"))
    site.run("migrate", "-v0")

    for more in (60, 70):  # twice, in different batches
        process = site.start("import_catalog", str(shop.root))
        goal = len(site.files()) + more
        while len(site.files()) < goal and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        _, problems = process.communicate()
        assert process.returncode == -signal.SIGKILL, problems

    photos = site.column("select file from catalog_itemphoto")
    assert 0 < len(photos) < count
    assert set(photos) <= site.files()
    assert site.column("select count(*) from catalog_catalogitem") == [len(photos)]

    assert "Nothing changed" not in site.run("import_catalog", str(shop.root))

    assert set(site.column("select file from catalog_itemphoto")) == site.files()
    assert len(site.files()) == count
    assert site.column("select state from catalog_importjob order by id") == ["interrupted", "interrupted", "done"]
