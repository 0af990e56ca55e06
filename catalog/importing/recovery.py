"""What an import leaves when it is killed, and how the next one finds and removes it.

The pictures of one import lie in a folder of its own. Each is stored before its row is written, so a row never points
to nothing; the folder of an import that did not end well may therefore hold files without a row, and only it.
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

SWEPT = "orphans_removed"  # among a job's counts: that its folder was looked through, and what was removed

logger = logging.getLogger(__name__)


def photo_folder(job: ImportJob) -> str:
    """Where in the storage the pictures of an import lie."""
    return f"items/import-{job.pk}"


@contextmanager
def sign_of_life(job: ImportJob) -> Iterator[None]:
    """Hold a lock for as long as this process works on the job. A killed process loses it at once."""
    path = _lock_path(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    lock = lock_file(draft)
    assert lock is not None  # noqa: S101 - one process works on a job
    with lock:
        draft.rename(path)  # after locking, so that no other process finds the file unlocked while this one lives
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def recover_killed_imports() -> None:
    """Tell the truth about imports that were killed, and remove the pictures that they left without a row."""
    ImportJob.objects.mark_interrupted()  # by their silence, those on other machines too
    for job in ImportJob.objects.filter(state=ImportState.RUNNING):
        if is_dead(job):
            mark_interrupted(job)
    for job in ImportJob.objects.filter(state__in=(ImportState.INTERRUPTED, ImportState.FAILED)):
        if SWEPT not in job.counts and not is_alive(job):
            remove_orphans(job)


def is_alive(job: ImportJob) -> bool:
    """Whether a process of this machine works on the job, however silent it has become."""
    return _lock_path(job).exists() and not is_dead(job)


def is_dead(job: ImportJob) -> bool:
    """Whether the job's process was on this machine and is no more."""
    try:
        lock = lock_file(_lock_path(job), create=False)
    except OSError:  # the job never ran on this machine, or has ended
        return False
    if lock is None:
        return False
    lock.close()
    return True


def mark_interrupted(job: ImportJob) -> None:
    now = timezone.now()
    job.state, job.finished_at = ImportState.INTERRUPTED, now
    ImportJob.objects.filter(pk=job.pk, state=ImportState.RUNNING).update(state=job.state, finished_at=now)


def remove_orphans(job: ImportJob) -> None:
    """Delete the files of an ended import that have no row. What cannot be reached now is left to the next import."""
    try:
        orphans = _orphans(photo_folder(job))
        for name in orphans:
            default_storage.delete(name)
    except Exception as error:  # each kind of storage has its own, and none of them may hide why the import ended
        logger.warning("What import %s left behind cannot be removed now: %s", job.pk, error)
        return
    if orphans:
        logger.info("Import %s had left %s pictures without a row; they are removed.", job.pk, len(orphans))
    job.counts = {**job.counts, SWEPT: len(orphans)}
    job.save(update_fields=["counts"])
    _lock_path(job).unlink(missing_ok=True)


def _orphans(folder: str) -> list[str]:
    try:
        _, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return []
    kept = set(ItemPhoto.objects.filter(file__startswith=f"{folder}/").values_list("file", flat=True))
    return [name for name in (f"{folder}/{name}" for name in names) if name not in kept]


def _lock_path(job: ImportJob) -> Path:
    return Path(settings.VAR_DIR) / "imports" / f"{job.pk}.lock"
