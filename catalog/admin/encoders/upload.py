"""Upload form of an encoder as a zip file, and the upload handler that streams the large body to disk."""

import tempfile
from typing import IO, Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from catalog.admin.base import add_refusal
from catalog.errors import Refused
from catalog.models import Encoder
from catalog.services.encoders.archives import encoder_upload


class UnnamedTemporaryFileHandler(FileUploadHandler):
    """Writes an upload to an unnamed temporary file, so a crash leaves nothing on the disk."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.failure = ""
        self._file: IO[bytes] | None = None

    def new_file(self, *arguments: Any, **options: Any) -> None:
        """Open the temporary file."""
        super().new_file(*arguments, **options)
        self._file = tempfile.TemporaryFile(dir=settings.VAR_DIR)  # noqa: SIM115 - closed with the upload

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a chunk. On a full disk, stop the upload and set `failure`."""
        try:
            assert self._file is not None  # noqa: S101 - Django calls new_file first
            self._file.write(raw_data)
        except OSError as error:  # a full disk
            self.failure = f"The file cannot be stored: {error.strerror}."
            raise StopUpload from None

    def file_complete(self, file_size: int) -> "UploadedFile[bytes]":
        """Return the file, positioned at its start."""
        assert self._file is not None  # noqa: S101
        self._file.seek(0)
        return UploadedFile(self._file, self.file_name, self.content_type, file_size, self.charset)

    def upload_interrupted(self) -> None:
        """Close, and so delete, the temporary file."""
        if self._file is not None:
            self._file.close()


class UploadForm(forms.Form):
    """Validates and registers an encoder archive. Errors are shown at the field, and nothing is stored then."""

    archive = forms.FileField(
        label="Zip file",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".zip,application/zip"}),
        error_messages={"required": "Choose a zip file.", "empty": "This file is empty."},
    )
    name = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="Leave empty to use the name in the card.",
    )
    encoder: Encoder | None = None

    def clean(self) -> None:
        """Check and register the archive; a refusal is shown at the field that it concerns."""
        archive, name = self.cleaned_data.get("archive"), self.cleaned_data.get("name")
        if archive is None or name is None:
            return
        try:
            self.encoder = encoder_upload(archive=archive.file, name=name)
        except Refused as refused:
            add_refusal(self, "name" if refused.code.startswith("encoder_name") else "archive", refused)


def make_upload_form(request: HttpRequest) -> UploadForm:
    """The form, empty or bound to the request. After validation `encoder` is the registered encoder, or None."""
    if request.method != "POST":
        return UploadForm()
    handlers = request.upload_handlers
    handler = next((handler for handler in handlers if isinstance(handler, UnnamedTemporaryFileHandler)), None)
    form = UploadForm(request.POST, request.FILES)
    if handler and handler.failure:
        form.add_error("archive", handler.failure)
    return form
