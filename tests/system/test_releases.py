"""Another encoder is promoted, and taken back, while people ask: nobody notices but by the name in the answer."""

import shutil

import pytest

from tests.helpers.query_stream import query_stream
from tests.helpers.site import ROOT, Phone, Site

pytestmark = [pytest.mark.system, pytest.mark.database]

SHIPPED = "efficientnet-lite0-metric100"
TWIN = "twin"

# All in one process, since each start of Django takes seconds. Prints when each of the two changes was asked for, and
# when it was made.
STAFF = f"""
import time
from io import StringIO
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from catalog.models import Encoder, SimilarityQuery

silence = StringIO()

def answered_since(moment):
    return SimilarityQuery.objects.filter(state="done", created_at__gte=moment).first()

def wait_for(look):
    while not (found := look()):
        time.sleep(0.1)
    return found

def changed(*command):
    asked = time.time()
    call_command(*command, "--reason", "The same network under another name, for a test.", verbosity=0, stdout=silence)
    print(asked, time.time())
    now = timezone.now()
    query = wait_for(lambda: answered_since(now))
    time.sleep(1)  # so that some ask and are answered before the next change
    return query

call_command("register_encoder", settings.ENCODER_DIRS[0] / {TWIN!r}, stdout=silence)
twin = Encoder.objects.get(name={TWIN!r})
wait_for(lambda: not twin.missing_photos().exists())
query = changed("promote", {TWIN!r})
changed("roll_back")
call_command("replay", str(query.pk))
"""


def test_a_promotion_and_the_way_back_fail_no_query_and_hold_for_the_very_next_one(
    site: Site, phone: Phone, photo: bytes
) -> None:
    shutil.copytree(ROOT / "ml" / "encoders" / SHIPPED, site.folder / "encoders" / TWIN)
    with query_stream(phone, photo) as stream:
        told = site.shell(STAFF)
    promote, promoted, back, gone_back = (float(moment) for moment in told.split()[:4])
    assert stream.failures == []
    assert stream.encoders(until=promote) == {SHIPPED}
    assert stream.encoders(since=promoted, until=back) == {TWIN}
    assert stream.encoders(since=gone_back) == {SHIPPED}
    assert stream.encoders() == {SHIPPED, TWIN}
    answers = {tuple(entry["item"]["id"] for entry in answer["recommendations"]) for _, _, answer in stream.answers}
    assert len(answers) == 1  # both are the same network, and nobody was told only a part
    assert f"answered by {TWIN}" in told
    assert "The answer is the same." in told
