"""An encoder uploaded, compared, promoted and rolled back in a real browser while clients send queries."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import IMAGES_LOADED, Browser, needs_browser
from tests.helpers.query_stream import query_stream
from tests.helpers.site import ROOT, TIMEOUT, Phone, Site, wait_until

pytestmark = [pytest.mark.system, needs_browser]

SHIPPED = "efficientnet-lite0-metric100"
NAME = "uploaded-in-a-browser"
MARK_EVALUATION_ITEMS = """
from catalog.models import CatalogItem
for item in CatalogItem.objects.order_by("pk")[:12]:
    item.attributes["split"] = "val"
    item.save()
"""
CLEAN_UP = f"""
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
    """Yield the shipped encoder as an archive, with items in the catalogue to evaluate it on."""
    site.shell(MARK_EVALUATION_ITEMS)
    yield Path(shutil.make_archive(str(tmp_path / "encoder"), "zip", ROOT / "ml" / "encoders", SHIPPED))
    site.shell(CLEAN_UP)


def is_live(staff: Browser) -> bool:
    return "This encoder answers every query" in staff.one("#enc-state").text


def confirm(staff: Browser, action: str, reason: str) -> float:
    """Open the form behind a button and send it with a reason; return the time at which the change was visible."""
    staff.one(f"#enc-{action} summary").click()
    staff.one(f"#enc-{action}-reason").send_keys(reason)
    staff.one(f"#enc-{action} form button").click()
    staff.wait(lambda: is_live(staff) == (action == "promote"), f"the effect of {action}")
    return time.time()


def test_an_encoder_is_uploaded_compared_promoted_and_rolled_back_during_queries(
    staff: Browser, site: Site, phone: Phone, photo: bytes, archive: Path
) -> None:
    staff.open("/admin/catalog/encoder/upload/")
    staff.one("[name=archive]").send_keys(str(archive))
    staff.one("[name=name]").send_keys(NAME)
    staff.one("#enc-upload .run-actions button").click()
    staff.wait(lambda: f"{NAME} is registered." in staff.text, "the page of the encoder")
    staff.run("window.mark = 'the same page'")
    wait_until(lambda: staff.all("#enc-state .enc-open"), "the comparison", 2 * TIMEOUT)
    assert staff.run("return window.mark") == "the same page"
    page = staff.path

    with query_stream(phone, photo) as stream:
        promoted = confirm(staff, "promote", "As good as the live encoder.")
        time.sleep(2)  # time for some queries
        rolled_back = confirm(staff, "back", "It was a drill.")
        time.sleep(2)
    assert stream.failures == []
    assert stream.encoders() == {SHIPPED, NAME}
    assert NAME in stream.encoders(since=promoted)
    assert stream.encoders(since=rolled_back) == {SHIPPED}

    staff.open(page)
    promotion_log = staff.one("[aria-labelledby=enc-promotions-title]").text
    assert "As good as the live encoder." in promotion_log
    assert "It was a drill." in promotion_log
    staff.open(page.replace("/change/", "/compare/"))
    assert len(staff.all(".enc-samples > li")) > 5
    staff.run("for (const one of document.querySelectorAll('.enc-samples img')) one.loading = 'eager'")
    staff.wait(lambda: staff.run(IMAGES_LOADED, ".enc-samples img"), "the pictures of the answers")
    staff.set_width(400)
    for path in (page, page.replace("/change/", "/compare/"), "/admin/catalog/encoder/"):
        staff.open(path)
        assert staff.overflow() <= 0, path
