"""Warm-up of a starting process: run one query, so that the first user's query is as fast as the next ones.

Views, serializers, SQL and image decoders are initialised at their first use. The warm-up runs in a transaction that is
rolled back: it leaves no row and no file. Its messages are sent, to open the connections to the queue; a worker that
receives one finds no query and does nothing.
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
"""Seconds that a process waits for its warm-up, which then continues in the background."""

Application = Callable[..., Any]

logger = logging.getLogger(__name__)


def run_and_roll_back(work: Callable[[User], object]) -> None:
    """Run `work` with a new user in a transaction, roll it back, and delete the files of the user's photos.

    Errors are logged, because they must not keep a process from starting.
    """
    try:
        with transaction.atomic():
            user = User.objects.create(username=f"warm-up-{uuid4().hex}")
            try:
                work(user)
            finally:
                for photo in UploadedPhoto.objects.filter(owner=user):
                    photo.file.delete(save=False)
                transaction.set_rollback(True)
    except DatabaseError as error:  # not migrated yet, or locked by a long write
        logger.warning("The warm-up was skipped: %s", error)
    except Exception:
        logger.exception("The warm-up failed.")


def example_photo(owner: User) -> UploadedPhoto:
    """Store and return a photo of the user."""
    photo = upload_prepare(raw=_draw_photo(), owner=owner)
    photo.save(force_insert=True)
    return photo


def warm_up_requests(application: Application) -> None:
    """POST a photo to the API of this process, GET its query, and wait for its end. No other request may be running."""
    query_ids: list[UUID] = []
    # Django closes database connections before and after a request, and with them the transaction of the warm-up.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    run_and_roll_back(lambda user: query_ids.append(_post_and_get(application, user)))
    for signal in signals:
        signal.connect(close_old_connections)
    for query_id in query_ids:
        tasks.send_embed_query(query_id)
        events.announce_ended(query_id)
        events.wait_until_ended(query_id, 1)


def _post_and_get(application: Application, user: User) -> UUID:
    token = AuthToken.objects.create(user)[1]
    head = b'Content-Disposition: form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    form = b"--part\r\n" + head + _draw_photo() + b"\r\n--part--\r\n"
    _request(application, token, "POST", "/api/v1/queries/", form)
    query_id = user.queries.get().pk
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
        "HTTP_X_FORWARDED_PROTO": "https",  # for a site behind a proxy
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environment)
    statuses: list[str] = []
    response = application(environment, lambda status, headers, error=None: statuses.append(status))
    try:
        content = b"".join(response)
    finally:
        response.close()
    if not statuses[0].startswith("2"):
        raise RuntimeError(f"{method} {path} returned {statuses[0]}: {content[:300]!r}")


def _draw_photo() -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, "JPEG")
    return file.getvalue()
