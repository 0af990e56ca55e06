"""What the demo puts into an empty site: an encoder, a catalogue, an account. Parts are named as strings."""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from knox.models import AuthToken
from tqdm import tqdm

from demo.showcase import ShowcaseError

_USERNAME = "demo"
_READY_SECONDS = 60
_STALL_SECONDS = 60


@dataclass(frozen=True)
class Account:
    username: str
    password: str
    token: str


def wait_until_ready(address: str) -> None:
    """Return when the web server answers. ShowcaseError if it does not in a minute."""
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
    """Bring the static files up to date; from the beginning where an earlier run was stopped and left half a file."""
    complete = (settings.STATIC_ROOT / "staticfiles.json").exists()  # written last
    call_command("collectstatic", interactive=False, clear=not complete, verbosity=0)


def fill_catalogue(source: Path | None, items: int) -> Path:
    """Register the encoder that ships, import the catalogue, and return a photo to ask with.

    Without `source` that is the sample catalogue and its phone photo, else one of the catalogue's own pictures.
    """
    shipped = settings.BASE_DIR / "ml" / "encoders" / settings.DEFAULT_ENCODER
    call_command("register_encoder", shipped, live_if_none=True)
    if source is None:
        sample = settings.VAR_DIR / f"sample-{items}"
        call_command("draw_sample", sample, items=items)
        call_command("import_catalog", sample)
        return Path(sample / "phone-photo.jpg")
    call_command("import_catalog", source)
    return _one_of_the_catalogue()


def _one_of_the_catalogue() -> Path:
    photo = apps.get_model("catalog", "ItemPhoto").objects.order_by("sha256").first()
    if photo is None:
        raise ShowcaseError("The catalogue is empty: no picture could be imported.")
    copy = settings.VAR_DIR / "query.jpg"
    copy.write_bytes(photo.file.read())
    return Path(copy)


def wait_for_embeddings() -> None:
    """Show the workers' progress until every photo has its vector. ShowcaseError if that stands still."""
    encoder: Any = apps.get_model("catalog", "Encoder").objects.get(state="live")
    missing = encoder.missing_photos().count()
    total = encoder.embeddings.count() + missing
    moved_at = time.monotonic()
    with tqdm(desc="Embedding the catalogue", unit=" photos", total=total, initial=total - missing, delay=0.5) as bar:
        while missing:
            time.sleep(0.25)
            now_missing = encoder.missing_photos().count()
            if now_missing < missing:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _STALL_SECONDS:
                raise ShowcaseError(f"No photo was embedded for {_STALL_SECONDS} s; {missing} are left.")
            bar.update(missing - now_missing)
            missing = now_missing


def demo_account() -> Account:
    """An administrator whose password is kept beside the other files, with a fresh API token."""
    file = settings.VAR_DIR / "demo-password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(9))
    password = file.read_text()
    user, _ = get_user_model().objects.get_or_create(username=_USERNAME)
    user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()
    AuthToken.objects.filter(user=user).delete()
    _, token = AuthToken.objects.create(user)
    return Account(_USERNAME, password, token)
