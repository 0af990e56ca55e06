"""Benchmark: query latency during a training run, its evaluation and its promotion. Prints one JSON object.

    python -m benchmarks.release CATALOGUE [--preset quick] [--pause 1]

The whole site on this machine. CATALOGUE is imported and embedded; `idle` is the time (ms) from sending a small photo
to its answer, one at a time. Then a metric run is started as staff do. `training`, `embedding` and `comparing` are the
times of the same photo, sent every `--pause` seconds during the run, the embedding of the catalogue and the evaluation,
with the seconds that each took. Last, the encoder is promoted and rolled back under a stream of queries: `stream` says
which encoder answered and which queries failed. The catalogue must allow an evaluation, or the benchmark never ends.

`objections` are the release checks; those that can be overridden are, with a reason.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.load import PhotoSender, percentile
from benchmarks.whole_site import print_measured
from demo.sample import phone_photo, sample_items
from tests.helpers.pictures import jpeg_of
from tests.helpers.query_stream import query_stream
from tests.helpers.site import COUNT_MISSING_EMBEDDINGS, Phone, Site, wait_until

DAY = 24 * 3600.0
NAME = "mine"
IDLE_QUERIES = 60

STEP = """
from catalog.models import Encoder, Evaluation, TrainingRun
run = TrainingRun.objects.get(name={name!r})
encoder = Encoder.objects.filter(name={name!r}).first()
evaluation = Evaluation.objects.filter(encoder=encoder).first()
if run.state in ("failed", "cancelled"): print("failed:", run.reason)
elif run.state != "done" or encoder is None: print("training")
elif encoder.missing_photos().exists(): print("embedding")
elif evaluation is None or evaluation.state in ("queued", "running"): print("comparing")
elif evaluation.state == "failed": print("failed:", evaluation.reason)
else: print("compared")
"""
START = """
from catalog.services.training.runs import run_create
run_create(kind="metric", preset={preset!r}, name={name!r})
"""
GATE = """
import json
from catalog.models import Encoder
from catalog.services.encoders.gate import release_objections
print(json.dumps([objection.text for objection in release_objections(Encoder.objects.get(name={name!r}))]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two photos during the run")
    options = parser.parse_args()
    print_measured(measure, options, SWEEP_SECONDS="5")


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    """Measure an idle site, each step of the run, and the promotion."""
    site.set_up()
    site.manage("import_catalog", str(options.catalogue.resolve()))
    wait_until(lambda: site.shell(COUNT_MISSING_EMBEDDINGS) == "0", "the vectors of the catalogue", DAY)
    photo = jpeg_of(phone_photo(sample_items(10)[3]).resize((200, 200)))
    sender = PhotoSender(site.port, site.create_token("benchmark"), photo)
    time_query(sender)
    times: dict[str, list[float]] = {"idle": [time_query(sender) for _ in range(IDLE_QUERIES)]}
    seconds: dict[str, float] = {}
    started = time.monotonic()
    site.shell(START.format(preset=options.preset, name=NAME))
    while (step := current_step(site)) != "compared":
        began = time.monotonic()
        while time.monotonic() < began + 15.0:
            times.setdefault(step, []).append(time_query(sender))
            time.sleep(options.pause)
        seconds[step] = seconds.get(step, 0.0) + time.monotonic() - began
    objections = json.loads(site.shell(GATE.format(name=NAME)))
    result = {
        "cores": os.cpu_count(),
        **{step: summarize(step_times, seconds.get(step)) for step, step_times in times.items()},
        "objections": objections,
    }
    return result | measure_release(site, photo, started)


def current_step(site: Site) -> str:
    """Return the current step of the run. Raises SystemExit if the run or its evaluation failed."""
    step = site.shell(STEP.format(name=NAME))
    if step.startswith("failed"):
        raise SystemExit(step)
    return step


def time_query(sender: PhotoSender) -> float:
    """Return the milliseconds of a query on a new connection: the server closes idle connections."""
    sender.socket = None
    started = time.perf_counter()
    sender.send()
    return (time.perf_counter() - started) * 1000


def summarize(times: list[float], seconds: float | None) -> dict[str, Any]:
    """Return the number and percentiles of `times` (ms), after the length of their step if it is known."""
    summary = {
        "answers": len(times),
        **{f"p{percent}_ms": round(percentile(times, percent), 1) for percent in (50, 95)},
    }
    return summary if seconds is None else {"seconds": round(seconds), **summary}


def measure_release(site: Site, photo: bytes, started: float) -> dict[str, Any]:
    """Promote and roll back under a stream of queries."""
    phone = Phone(site, site.create_token("benchmark"))
    with query_stream(phone, photo) as stream:
        time.sleep(2)
        site.manage("promote", NAME, "--reason", "Measured by a benchmark.")
        seconds = time.monotonic() - started
        time.sleep(4)
        site.manage("roll_back", "--reason", "Measured by a benchmark.")
        time.sleep(4)
    encoders = [answer["encoder"] for _, _, answer in stream.answers]
    answered = {name: encoders.count(name) for name in dict.fromkeys(encoders)}
    return {
        "start_to_promoted_s": round(seconds),
        "stream": {"answered": answered, "failed": stream.failures},
    }


if __name__ == "__main__":
    main()
