"""Set up the site of the demo: static files, encoder, catalogue and administrator account."""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import requests
from django.conf import settings
from django.core.management import call_command
from knox.models import AuthToken
from tqdm import tqdm

from catalog.models import Encoder, EncoderState, ItemPhoto, User
from demo.showcase import ShowcaseError

_USERNAME = "demo"
_READY_SECONDS = 60
_STALL_SECONDS = 60


@dataclass(frozen=True)
class Account:
    """The credentials of the demo's administrator."""

    username: str
    password: str
    token: str


def wait_until_ready(address: str) -> None:
    """Wait until the web server answers. Raises `ShowcaseError` after a minute."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{address}/healthz", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise ShowcaseError(f"The web server did not answer at {address} within {_READY_SECONDS} s.")


def collect_static_files() -> None:
    """Collect the static files; delete those of an earlier interrupted run first, which may be incomplete."""
    is_complete = (settings.STATIC_ROOT / "staticfiles.json").exists()  # written last
    call_command("collectstatic", interactive=False, clear=not is_complete, verbosity=0)


def fill_catalogue(source: Path | None, items: int) -> Path:
    """Register the shipped encoder, import the catalogue, and return the path of a photo to query with.

    Without `source` that is the sample catalogue of so many `items` and its phone photo, otherwise a photo of the
    imported catalogue.
    """
    shipped = settings.BASE_DIR / "ml" / "encoders" / settings.DEFAULT_ENCODER
    call_command("register_encoder", shipped, live_if_none=True)
    if source is None:
        sample = settings.VAR_DIR / f"sample-{items}"
        call_command("draw_sample", sample, items=items)
        call_command("import_catalog", sample)
        return Path(sample / "phone-photo.jpg")
    call_command("import_catalog", source)
    return _copy_catalogue_photo()


def _copy_catalogue_photo() -> Path:
    photo = ItemPhoto.objects.order_by("sha256").first()
    if photo is None:
        raise ShowcaseError("The catalogue is empty: no photo could be imported. Check the files of your source.")
    copy = settings.VAR_DIR / "query.jpg"
    copy.write_bytes(photo.file.read())
    return Path(copy)


def wait_for_embeddings() -> None:
    """Show a progress bar until every photo has its vector. Raises `ShowcaseError` after a minute without progress."""
    encoder = Encoder.objects.get(state=EncoderState.LIVE)
    missing = encoder.missing_photos().count()
    total = encoder.embeddings.count() + missing
    progressed_at = time.monotonic()
    with tqdm(desc="Embedding the catalogue", unit=" photos", total=total, initial=total - missing, delay=0.5) as bar:
        while missing:
            time.sleep(0.25)
            now_missing = encoder.missing_photos().count()
            if now_missing < missing:
                progressed_at = time.monotonic()
            elif time.monotonic() - progressed_at > _STALL_SECONDS:
                raise ShowcaseError(f"No photo was embedded for {_STALL_SECONDS} s; {missing} are not embedded yet.")
            bar.update(missing - now_missing)
            missing = now_missing


def demo_account() -> Account:
    """Create or update the administrator: the password of the file `demo-password`, and a new API token."""
    file = settings.VAR_DIR / "demo-password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(9))
    password = file.read_text()
    user, _ = User.objects.get_or_create(username=_USERNAME)
    user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()
    AuthToken.objects.filter(user=user).delete()
    _, token = AuthToken.objects.create(user)
    return Account(_USERNAME, password, token)
