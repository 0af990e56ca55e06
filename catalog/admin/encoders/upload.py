"""The page that takes an encoder as a zip file, and how so large a body is received."""

import tempfile
from typing import IO, Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from catalog.errors import Refused
from catalog.models import Encoder
from catalog.services.encoders.archives import encoder_upload


class NamelessFile(FileUploadHandler):
    """Keeps a file on the disk without a name there, so that no crash leaves it behind."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.failure = ""
        self._kept: IO[bytes] | None = None

    def new_file(self, *arguments: Any, **named: Any) -> None:
        super().new_file(*arguments, **named)
        self._kept = tempfile.TemporaryFile(dir=settings.VAR_DIR)  # noqa: SIM115 - closed with the upload

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        try:
            assert self._kept is not None  # noqa: S101 - new_file came before
            self._kept.write(raw_data)
        except OSError as error:  # a full disk
            self.failure = f"The file cannot be kept here: {error.strerror}."
            raise StopUpload from None

    def file_complete(self, file_size: int) -> "UploadedFile[bytes]":
        assert self._kept is not None  # noqa: S101
        self._kept.seek(0)
        return UploadedFile(self._kept, self.file_name, self.content_type, file_size, self.charset)

    def upload_interrupted(self) -> None:
        if self._kept is not None:
            self._kept.close()


class UploadForm(forms.Form):
    """An archive, and what to call its encoder. Whatever is wrong is told at the field, and nothing is kept."""

    archive = forms.FileField(
        label="Zip file",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".zip,application/zip"}),
        error_messages={"required": "Choose a zip file.", "empty": "This file is empty."},
    )
    name = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the name in its card.",
    )
    encoder: Encoder | None = None

    def clean(self) -> None:
        archive, name = self.cleaned_data.get("archive"), self.cleaned_data.get("name")
        if archive is None or name is None:
            return
        try:
            self.encoder = encoder_upload(archive=archive.file, name=name)
        except Refused as refused:
            self.add_error("name" if refused.code.startswith("encoder_name") else "archive", refused.detail)


def upload_form(request: HttpRequest) -> UploadForm:
    """The form: empty, or as it was sent, with what came of it in `encoder`."""
    if request.method != "POST":
        return UploadForm()
    receiver = next((one for one in request.upload_handlers if isinstance(one, NamelessFile)), None)
    form = UploadForm(request.POST, request.FILES)
    if receiver and receiver.failure:
        form.add_error("archive", receiver.failure)
    return form
