"""Crash recovery of imports: detect killed imports and remove their orphaned picture files.

Each import stores its pictures in a folder of its own, and a file is stored before its row is written, so no row points
to a missing file. Only the folder of an import that failed or was killed can hold files without a row.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from catalog.models import ImportJob, ImportState, ItemPhoto
from ml.formats.file_lock import lock_file

ORPHANS_REMOVED = "orphans_removed"  # key in a job's counts: its folder has been cleaned up

logger = logging.getLogger(__name__)


def photo_folder(job: ImportJob) -> str:
    """The folder in the storage that holds the pictures of an import."""
    return f"items/import-{job.pk}"


@contextmanager
def hold_import_lock(job: ImportJob) -> Iterator[None]:
    """Hold the lock file of a job while this process works on it. The kernel releases it when the process dies."""
    path = _lock_path(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    new_path = path.with_suffix(".new")
    lock = lock_file(new_path)
    assert lock is not None  # noqa: S101 - one process works on a job
    with lock:
        new_path.rename(path)  # after locking, so that no other process finds the file unlocked while this one lives
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def recover_killed_imports() -> None:
    """Mark killed imports as interrupted and delete their orphaned files. Idempotent."""
    ImportJob.objects.mark_interrupted()  # those without recent progress, on any machine
    for job in ImportJob.objects.filter(state=ImportState.RUNNING):
        if was_killed(job):
            mark_interrupted(job)
    for job in ImportJob.objects.filter(state__in=(ImportState.INTERRUPTED, ImportState.FAILED)):
        if ORPHANS_REMOVED not in job.counts and not is_alive(job):
            remove_orphans(job)


def is_alive(job: ImportJob) -> bool:
    """Whether a process of this machine holds the lock of the job, even if it reports no progress."""
    return _lock_path(job).exists() and not was_killed(job)


def was_killed(job: ImportJob) -> bool:
    """Whether a process of this machine worked on the job and died without removing its lock file."""
    try:
        lock = lock_file(_lock_path(job), create=False)
    except OSError:  # the job never ran on this machine, or has ended
        return False
    if lock is None:
        return False
    lock.close()
    return True


def mark_interrupted(job: ImportJob) -> None:
    """Set a running job to interrupted; a job that has ended in the meantime stays as it is."""
    now = timezone.now()
    job.state, job.finished_at = ImportState.INTERRUPTED, now
    ImportJob.objects.filter(pk=job.pk, state=ImportState.RUNNING).update(state=job.state, finished_at=now)


def remove_orphans(job: ImportJob) -> None:
    """Delete the files of an ended import that have no row. If the storage fails, the next import tries again."""
    try:
        orphans = _find_orphans(photo_folder(job))
        for name in orphans:
            default_storage.delete(name)
    except Exception as error:  # each storage has its own errors, and none may hide why the import ended
        logger.warning(
            "Orphaned files of import %s cannot be removed now, the next import tries again: %s", job.pk, error
        )
        return
    if orphans:
        logger.info("Removed orphaned files of import %s: %s pictures without a row.", job.pk, len(orphans))
    job.counts = {**job.counts, ORPHANS_REMOVED: len(orphans)}
    job.save(update_fields=["counts"])
    _lock_path(job).unlink(missing_ok=True)


def _find_orphans(folder: str) -> list[str]:
    try:
        _, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return []
    referenced = set(ItemPhoto.objects.filter(file__startswith=f"{folder}/").values_list("file", flat=True))
    return [name for name in (f"{folder}/{name}" for name in names) if name not in referenced]


def _lock_path(job: ImportJob) -> Path:
    return Path(settings.VAR_DIR) / "imports" / f"{job.pk}.lock"
