"""Admin of catalogue imports: state, counts, and the rows that were refused."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from catalog.admin.base import ReadOnlyAdmin, html_table
from catalog.models import ImportJob, ImportState

STATE_COLOURS = {
    ImportState.RUNNING: "info",
    ImportState.DONE: "success",
    ImportState.FAILED: "danger",
    ImportState.INTERRUPTED: "warning",
}


@admin.register(ImportJob)
class ImportJobAdmin(ReadOnlyAdmin[ImportJob]):
    """Imports of the catalogue. They are started by `manage.py import_catalog`."""

    list_display = ("source", "layout", "shown_state", "summary", "refused_rows", "started_at", "finished_at")
    list_filter = ("state", "layout")
    search_fields = ("source",)
    fields = ("source", "layout", "shown_state", "reason", "counts_table", "errors_table", "started_at", "finished_at")

    @display(description="State", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, job: ImportJob) -> str:
        return job.state

    @admin.display(description="Counts")
    def summary(self, job: ImportJob) -> str:
        return ", ".join(f"{_title(name)}: {count}" for name, count in job.counts.items())

    @admin.display(description="Refused rows")
    def refused_rows(self, job: ImportJob) -> int:
        return len(job.errors)

    @admin.display(description="Counts")
    def counts_table(self, job: ImportJob) -> SafeString:
        return html_table(("Result", "Count"), ((_title(name), count) for name, count in job.counts.items()))

    @admin.display(description="Refused rows")
    def errors_table(self, job: ImportJob) -> SafeString | str:
        if not job.errors:
            return "None."
        names = list(dict.fromkeys(name for error in job.errors for name in error))
        return html_table(map(_title, names), ([error.get(name, "") for name in names] for error in job.errors))


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
