"""An encoder is promoted and rolled back while clients send queries: no query fails, each names its encoder."""

import shutil

import pytest

from tests.helpers.query_stream import query_stream
from tests.helpers.site import ROOT, Phone, Site

pytestmark = [pytest.mark.system, pytest.mark.database]

SHIPPED = "efficientnet-lite0-metric100"
TWIN = "twin"

# In one process, because each start of Django takes seconds. Prints when each of the two changes started and ended.
STAFF = f"""
import time
from io import StringIO
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from catalog.models import Encoder, SimilarityQuery

output = StringIO()

def query_since(moment):
    return SimilarityQuery.objects.filter(state="done", created_at__gte=moment).first()

def wait_for(condition):
    while not (value := condition()):
        time.sleep(0.1)
    return value

def change(*command):
    started = time.time()
    call_command(*command, "--reason", "The same network under another name, for a test.", verbosity=0, stdout=output)
    print(started, time.time())
    now = timezone.now()
    query = wait_for(lambda: query_since(now))
    time.sleep(1)  # time for some queries before the next change
    return query

call_command("register_encoder", settings.ENCODER_DIRS[0] / {TWIN!r}, stdout=output)
twin = Encoder.objects.get(name={TWIN!r})
wait_for(lambda: not twin.missing_photos().exists())
query = change("promote", {TWIN!r})
change("roll_back")
call_command("replay", str(query.pk))
"""


def test_a_promotion_and_a_roll_back_fail_no_query_and_hold_from_the_next_query_on(
    site: Site, phone: Phone, photo: bytes
) -> None:
    shutil.copytree(ROOT / "ml" / "encoders" / SHIPPED, site.folder / "encoders" / TWIN)
    with query_stream(phone, photo) as stream:
        output = site.shell(STAFF)
    promote, promoted, roll_back, rolled_back = (float(moment) for moment in output.split()[:4])
    assert stream.failures == []
    assert stream.encoders(until=promote) == {SHIPPED}
    assert stream.encoders(since=promoted, until=roll_back) == {TWIN}
    assert stream.encoders(since=rolled_back) == {SHIPPED}
    assert stream.encoders() == {SHIPPED, TWIN}
    answers = {tuple(entry["item"]["id"] for entry in answer["recommendations"]) for _, _, answer in stream.answers}
    assert len(answers) == 1  # both are the same network, and every answer is complete
    assert f"answered by {TWIN}" in output
    assert "The answer is the same." in output
