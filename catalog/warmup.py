"""What a process asks itself when it starts, so that the first person's query is no slower than the next ones.

Views, serializers, statements and decoders make much of what they need when they are first used. A rehearsal goes the
way of a query once and takes everything back: no row and no file is left of it. Its messages are sent, so that there
are connections to the queue; a worker who gets one finds no query, and so does nothing.
"""

import io
import logging
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, close_old_connections, transaction
from knox.models import AuthToken
from PIL import Image

from catalog import events, tasks
from catalog.models import UploadedPhoto, User
from catalog.services.uploads import upload_prepare

TIMEOUT: Final = 10.0
"""Seconds that a start waits for its rehearsal; then that goes on beside the work."""

Application = Callable[..., Any]

logger = logging.getLogger(__name__)


def run_and_roll_back(work: Callable[[User], object]) -> None:
    """Do `work` for a person, after which neither they nor anything that it wrote is there.

    No error of it may keep a process from starting: it is only told.
    """
    try:
        with transaction.atomic():
            person = User.objects.create(username=f"rehearsal-{uuid4().hex}")
            try:
                work(person)
            finally:
                for photo in UploadedPhoto.objects.filter(owner=person):
                    photo.file.delete(save=False)
                transaction.set_rollback(True)
    except DatabaseError as error:  # not migrated yet, or somebody else is writing for long
        logger.warning("The first query was not rehearsed: %s", error)
    except Exception:
        logger.exception("The rehearsal of the first query failed.")


def example_photo(owner: User) -> UploadedPhoto:
    """A photo of theirs, stored."""
    photo = upload_prepare(raw=_drawn(), owner=owner)
    photo.save(force_insert=True)
    return photo


def warm_up_requests(application: Application) -> None:
    """Send a photo to the API of this process, ask for its query, and wait for its end. No request may be under way."""
    sent: list[UUID] = []
    # A request closes what it finds open before it and after it, so also the transaction that all of this is in.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    run_and_roll_back(lambda person: sent.append(_send_and_ask(application, person)))
    for signal in signals:
        signal.connect(close_old_connections)
    for query_id in sent:
        tasks.send_embed_query(query_id)
        events.announce_ended(query_id)
        events.wait_until_ended(query_id, 1)


def _send_and_ask(application: Application, person: User) -> UUID:
    token = AuthToken.objects.create(person)[1]
    head = b'Content-Disposition: form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    form = b"--part\r\n" + head + _drawn() + b"\r\n--part--\r\n"
    _request(application, token, "POST", "/api/v1/queries/", form)
    query_id = person.queries.get().pk
    _request(application, token, "GET", f"/api/v1/queries/{query_id}/")
    return query_id


def _request(application: Application, token: str, method: str, path: str, body: bytes = b"") -> None:
    host = next((host for host in settings.ALLOWED_HOSTS if host.strip("*.")), "localhost").removeprefix(".")
    environment: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_TYPE": "multipart/form-data; boundary=part",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": host,
        "HTTP_AUTHORIZATION": f"Token {token}",
        "HTTP_X_FORWARDED_PROTO": "https",  # for sites that are reached through a proxy
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environment)
    told: list[str] = []
    response = application(environment, lambda status, headers, error=None: told.append(status))
    try:
        answer = b"".join(response)
    finally:
        response.close()
    if not told[0].startswith("2"):
        raise RuntimeError(f"{method} {path} was answered with {told[0]}: {answer[:300]!r}")


def _drawn() -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, "JPEG")
    return file.getvalue()
