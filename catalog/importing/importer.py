"""Import a source into the catalogue: read and clean pictures, write items and photos in batches.

One thread per processor reads and cleans pictures, a few more store files, and only the calling thread writes rows.
While a batch is written the next one is being cleaned. There are never more than two batches, so memory does not grow
with the source.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError
from more_itertools import chunked

from catalog import tasks
from catalog.errors import Refused
from catalog.importing.item_writer import ImportedPicture, ItemWriter, stored_pictures
from catalog.importing.recovery import (
    hold_import_lock,
    mark_interrupted,
    photo_folder,
    recover_killed_imports,
    remove_orphans,
)
from catalog.importing.rows import RefusedRow, SourceRow
from catalog.importing.sources import Source, open_source
from catalog.models import Encoder, ImportJob, ImportState
from catalog.models.imports import MAX_ERRORS
from catalog.photos.validation import TOO_LARGE, clean_photo, source_hash

BATCH = 50  # rows per transaction
STORING_THREADS = 8  # they wait for the network when the storage is remote

Progress = Callable[[int, int], None]
"""Callback with the number of rows done and of all rows."""


class ImportStopped(Exception):
    """The disk, the storage or the database failed, not the input. Repeating the import continues it."""

    code = "import_stopped"


def catalog_import(*, source: Path, layout: str | None = None, progress: Progress | None = None) -> ImportJob:
    """Update the catalogue from a source and queue the new photos for embedding. Idempotent.

    Refused pictures and rows are listed in the job's `errors`. `progress` is called after each row.

    Raises `Refused`: `import_running`; the codes of `open_source` when the whole source cannot be read. Raises
    `ImportStopped` when the disk, storage or database fails. The job is then marked as failed with the reason.
    """
    recover_killed_imports()
    name = str(source)[:1000].encode(errors="replace").decode().replace("\0", "")
    if running := ImportJob.objects.filter(source=name, state=ImportState.RUNNING).first():
        raise Refused("import_running", f"This source is being imported already (import {running.pk}).")
    job = ImportJob.objects.create(source=name)
    with hold_import_lock(job), _record_outcome(job):
        opened_source = open_source(source, layout)
        job.layout = opened_source.layout
        job.save(update_fields=["layout"])
        _ImportRun(job, opened_source, progress or (lambda done, total: None)).run()
        job.finish()
    if encoder := Encoder.objects.live():
        tasks.send_embed_catalog(encoder.pk)
    return job


@contextmanager
def _record_outcome(job: ImportJob) -> Iterator[None]:
    """Record on the job why the import ended, and remove stored pictures without a row."""
    try:
        yield
    except Exception as error:
        reason = _failure_reason(error)
        job.finish(reason=reason)
        remove_orphans(job)
        if isinstance(error, Refused) or not _is_infrastructure_error(error):
            raise
        raise ImportStopped(reason) from error
    except BaseException:  # Ctrl-C
        mark_interrupted(job)
        remove_orphans(job)
        raise


def _is_infrastructure_error(error: Exception) -> bool:
    return isinstance(error, OSError | DatabaseError) or type(error).__module__.startswith(("botocore", "boto3"))


def _failure_reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return error.detail
    if isinstance(error, OSError) and error.strerror:
        return f"The import stopped: {error.strerror}. Run it again to continue."
    return f"The import stopped: {type(error).__name__}: {error}"[:500]


class _ImportRun:
    """A running import: its batches, counts and refused rows."""

    def __init__(self, job: ImportJob, source: Source, progress: Progress) -> None:
        self.job = job
        self.source = source
        self.progress = progress
        self.writer = ItemWriter(photo_folder(job))
        self.errors: list[RefusedRow] = []
        self.refused_count = 0
        self.done = 0
        self.recorded_at = time.monotonic()

    def run(self) -> None:
        """Import all rows; returns after the last batch is written."""
        batches: deque[list[tuple[SourceRow, Future[ImportedPicture]]]] = deque()
        rows = self.source.rows()
        cleaners = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "clean")
        with cleaners, ThreadPoolExecutor(STORING_THREADS, "store") as storing:
            try:
                for batch in chunked(rows, BATCH):
                    batches.append(self._submit_batch(batch, cleaners))
                    if len(batches) > 1:
                        self._write_batch(batches.popleft(), storing)
                while batches:
                    self._write_batch(batches.popleft(), storing)
            except BaseException:
                cleaners.shutdown(cancel_futures=True)
                raise
        self._record()

    def _submit_batch(
        self, batch: list[SourceRow | RefusedRow], cleaners: ThreadPoolExecutor
    ) -> list[tuple[SourceRow, Future[ImportedPicture]]]:
        """Start cleaning the pictures of a batch, except those that are already stored."""
        for row in batch:
            if isinstance(row, RefusedRow):
                self._refuse(row)
        accepted = [row for row in batch if isinstance(row, SourceRow)]
        stored = stored_pictures(row.item for row in accepted)
        return [(row, cleaners.submit(_load_picture, row, stored)) for row in accepted]

    def _write_batch(self, batch: list[tuple[SourceRow, Future[ImportedPicture]]], storing: ThreadPoolExecutor) -> None:
        pictures = []
        for row, future in batch:
            try:
                pictures.append(future.result())
            except Refused as error:
                self._refuse(RefusedRow.from_error(error, row.number, row.file))
            else:
                self._advance()
        self.writer.write(pictures, storing)

    def _refuse(self, row: RefusedRow) -> None:
        self.refused_count += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(row)
        self._advance()

    def _advance(self) -> None:
        self.done += 1
        self.progress(self.done, self.source.total)
        if time.monotonic() - self.recorded_at >= 1:
            self._record()

    def _record(self) -> None:
        counts = {**self.writer.counts, "refused": self.refused_count}
        self.job.record_progress(counts, [row.as_json() for row in self.errors])
        self.recorded_at = time.monotonic()


def _load_picture(row: SourceRow, stored: frozenset[tuple[str, str]]) -> ImportedPicture:
    """Read the picture of a row, and validate and clean it unless it is already stored. Raises `Refused`."""
    try:
        status = row.path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block forever
            raise Refused("file_unreadable", "The picture cannot be read: it is not a regular file.")
        if status.st_size > settings.MAX_UPLOAD_MB * 1024 * 1024:
            raise Refused(TOO_LARGE, f"The picture is larger than {settings.MAX_UPLOAD_MB} MB, the maximum size.")
        raw = row.path.read_bytes()
    except OSError as error:
        raise Refused("file_unreadable", f"The picture cannot be read: {error.strerror}.") from error
    digest = source_hash(raw)
    return ImportedPicture(row, digest, None if (row.item, digest) in stored else clean_photo(raw))
