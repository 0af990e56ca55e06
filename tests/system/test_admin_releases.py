"""An encoder's way in a real browser: uploaded, embedded, compared, promoted and taken back while people ask."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.query_stream import query_stream
from tests.helpers.site import ROOT, TIMEOUT, Phone, Site, wait_until
from tests.system.test_admin_training import SIDEWAYS
from tests.system.test_browser import CHROMIUM, DRIVER, LOADED, Browser, browser, staff
from tests.system.test_releases import SHIPPED

__all__ = ["browser", "staff"]  # fixtures

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver on PATH"),
]

NAME = "uploaded-in-a-browser"
MEASURED = """
from catalog.models import CatalogItem
for item in CatalogItem.objects.order_by("pk")[:12]:
    item.attributes["split"] = "val"
    item.save()
"""
LEAVE_NOTHING = f"""
from catalog.models import CatalogItem, Encoder, Evaluation, EvaluationSet
from catalog.services.encoders.release import encoder_retire
Evaluation.objects.all().delete()
for encoder in Encoder.objects.filter(name={NAME!r}): encoder_retire(encoder=encoder)
EvaluationSet.objects.all().delete()
for item in CatalogItem.objects.filter(attributes__split="val"):
    del item.attributes["split"]
    item.save()
"""


@pytest.fixture
def archive(tmp_path: Path, site: Site) -> Iterator[Path]:
    """The encoder that ships, to come back under another name; there are items to compare the two on."""
    site.shell(MEASURED)
    yield Path(shutil.make_archive(str(tmp_path / "ours"), "zip", ROOT / "ml" / "encoders", SHIPPED))
    site.shell(LEAVE_NOTHING)


def answers(staff: Browser) -> bool:
    return "This encoder answers every query" in staff.one("#enc-state").text


def confirmed(staff: Browser, what: str, reason: str) -> float:
    """Open the form behind a button, say why, and send it; the time at which that was done."""
    staff.one(f"#enc-{what} summary").click()
    staff.one(f"#enc-{what}-reason").send_keys(reason)
    staff.one(f"#enc-{what} form button").click()
    staff.wait(lambda: answers(staff) == (what == "promote"), f"what follows from {what}")
    return time.time()


def test_an_encoder_is_uploaded_compared_promoted_and_taken_back_while_people_ask(
    staff: Browser, site: Site, phone: Phone, photo: bytes, archive: Path
) -> None:
    staff.open("/admin/catalog/encoder/upload/")
    staff.one("[name=archive]").send_keys(str(archive))
    staff.one("[name=name]").send_keys(NAME)
    staff.one("#enc-upload .run-actions button").click()
    staff.wait(lambda: f"{NAME} is registered." in staff.text, "the page of the encoder")
    staff.run("window.mark = 'the same page'")
    wait_until(lambda: "It may be promoted" in staff.one("#enc-state").text, "the comparison", 2 * TIMEOUT)
    assert staff.run("return window.mark") == "the same page"
    page = staff.path

    with query_stream(phone, photo) as stream:
        promoted = confirmed(staff, "promote", "It does as well, and is ours.")
        time.sleep(2)  # some ask, and are answered
        gone_back = confirmed(staff, "back", "It was an exercise.")
        time.sleep(2)
    assert stream.failures == []
    assert stream.encoders() == {SHIPPED, NAME}
    assert NAME in stream.encoders(since=promoted)
    assert stream.encoders(since=gone_back) == {SHIPPED}

    staff.open(page)
    said = staff.one("[aria-labelledby=enc-promotions-title]").text
    assert "It does as well, and is ours." in said
    assert "It was an exercise." in said
    staff.open(page.replace("/change/", "/compare/"))
    assert len(staff.all(".enc-samples > li")) > 5
    staff.run("for (const one of document.querySelectorAll('.enc-samples img')) one.loading = 'eager'")
    staff.wait(lambda: staff.run(LOADED, ".enc-samples img"), "the pictures of the answers")
    staff.width(400)
    for path in (page, page.replace("/change/", "/compare/"), "/admin/catalog/encoder/"):
        staff.open(path)
        assert staff.run(SIDEWAYS) <= 0, path
