"""Benchmark: end-to-end latency of a photo query through all processes on this machine. Prints one JSON object.

    python -m benchmarks.end_to_end [--items 10000 100000] [--queries 40] [--clients 8] [--many 300]

For each catalogue size:

- `small`, a JPEG of 200 x 200, and `phone`, one of 12 megapixels: the time from sending the photo to receiving its
  answer, one at a time (p50, p95, in ms), and the recorded median of each step.
- `together`: answered small photos per second while several clients never pause, and the cost of one query: CPU
  milliseconds by process (`cpu_ms`, and those of the client), and Redis commands.
- `first_ms`: the first answer after a restart of all processes, and its ratio to the median.
- `memory_mb` of each process; shared memory is divided among its processes.

The photo is drawn and is another file each time, so that no answer is reused. The vectors of the catalogue are random
unit vectors: the search compares all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import redis

from benchmarks.load import PhotoSender, percentile
from benchmarks.processes import cpu_seconds, memory_mb
from benchmarks.whole_site import print_measured
from demo.sample import phone_photo, sample_items
from tests.helpers.pictures import jpeg_of
from tests.helpers.site import ROOT, Site

STEPS = ("receive", "clean", "queue", "embed", "search", "write", "total")
SIZES = {"small": (200, 200), "phone": (3024, 4032)}
WARM_UP = 10
IDLE_AFTER = 1.0  # seconds, until started processes are idle
INDEXED_AFTER = 15.0  # seconds, until the index is up to date, compacted and saved
MEASURED_PROCESSES = ("redis", "web", "gpu", "cpu")

FILL = """
import numpy as np
from catalog.models import CatalogItem, Embedding, Encoder, ItemPhoto
encoder, present, total = Encoder.objects.live(), CatalogItem.objects.count(), {items}
rng = np.random.default_rng(total)
items = CatalogItem.objects.bulk_create(
    [CatalogItem(external_id=f"made-{{n}}", name=f"Item {{n}}", category="Made") for n in range(present, total)], 1000)
photos = ItemPhoto.objects.bulk_create(
    [ItemPhoto(item=item, file="none.jpg", source_sha256="0" * 64, sha256="0" * 64, perceptual_hash="0" * 16,
               colour_lab=[50.0, 9.0, 9.0],
               width=60, height=80, size=1) for item in items], 1000)
vectors = rng.standard_normal((len(photos), encoder.dim)).astype("<f4")
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
Embedding.objects.bulk_create(
    [Embedding(photo=photo, item_id=photo.item_id, encoder=encoder, vector=vector.tobytes(), source_sha256="0" * 64)
     for photo, vector in zip(photos, vectors)], 1000)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=40, help="photos of each size, sent one after the other")
    parser.add_argument("--clients", type=int, default=8, help="simultaneous clients, for the rate")
    parser.add_argument("--many", type=int, default=300, help="queries, for the rate")
    options = parser.parse_args()
    print_measured(measure, options, SWEEP_SECONDS="5")


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    """Measure each catalogue size, the smallest first."""
    site.set_up()
    token = site.create_token("benchmark")
    picture = phone_photo(sample_items(10)[3])
    photos = {name: jpeg_of(picture.resize(size)) for name, size in SIZES.items()}
    result: dict[str, Any] = {"cores": os.cpu_count(), "sizes": {}}
    for items in sorted(options.items):
        site.shell(FILL.format(items=items))
        time.sleep(INDEXED_AFTER)
        result["sizes"][str(items)] = measure_size(site, token, photos, options)
    return result


def measure_size(site: Site, token: str, photos: dict[str, bytes], options: argparse.Namespace) -> dict[str, Any]:
    """Measure latency, load, memory, and the first answer after a restart."""
    latency = {name: measure_latency(PhotoSender(site.port, token, photo), options) for name, photo in photos.items()}
    together = measure_load(site, token, photos["small"], options)
    memory = {name: memory_mb(process.pid) for name, process in site.processes.items()}
    restart(site)
    first, answer = time_query(PhotoSender(site.port, token, photos["small"]))
    ratio = round(first / latency["small"]["p50_ms"], 2)
    first_ms = {"first_ms": round(first, 1), "times_the_median": ratio, "steps_ms": answer["timings"]}
    return {**latency, "together": together, "first": first_ms, "memory_mb": memory}


def measure_latency(sender: PhotoSender, options: argparse.Namespace) -> dict[str, Any]:
    """Send photos one at a time; return percentiles and the median of each step."""
    for _ in range(WARM_UP):
        time_query(sender)
    answers = [time_query(sender) for _ in range(options.queries)]
    times = [ms for ms, _ in answers]
    return {
        "photo_bytes": len(sender.photo),
        **{f"p{percent}_ms": round(percentile(times, percent), 1) for percent in (50, 95)},
        "steps_ms": {step: median_step_ms(step, [answer for _, answer in answers]) for step in STEPS},
    }


def time_query(sender: PhotoSender) -> tuple[float, dict[str, Any]]:
    """Send a photo; return the time in ms and the answer."""
    started = time.perf_counter()
    body = sender.send()
    return (time.perf_counter() - started) * 1000, json.loads(body)


def median_step_ms(step: str, answers: list[dict[str, Any]]) -> float:
    """Return the median time of a step in ms."""
    return round(float(statistics.median(answer["timings"][step] for answer in answers)), 2)


def measure_load(site: Site, token: str, photo: bytes, options: argparse.Namespace) -> dict[str, Any]:
    """Send photos from several clients; return the rate, and the CPU time and Redis commands of one query."""
    file = site.folder / "photo.jpg"
    file.write_bytes(photo)
    redis_client = redis.Redis.from_url(site.environment["REDIS_URL"])
    before = read_costs(site, redis_client)
    arguments = (str(site.port), token, str(file), str(options.clients), str(options.many))
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    client = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    per_query = {name: (after - before[name]) / options.many for name, after in read_costs(site, redis_client).items()}
    commands = round(per_query.pop("commands"), 1)
    cpu = {name: round(seconds * 1000, 1) for name, seconds in per_query.items()}
    return {
        "clients": options.clients,
        **json.loads(client.stdout),
        "cpu_ms": cpu,
        "cpu_ms_of_the_site": round(sum(cpu.values()), 1),
        "redis_commands": commands,
    }


def read_costs(site: Site, redis_client: "redis.Redis") -> dict[str, float]:
    """Return the CPU seconds of each process that takes part in an answer, and the number of Redis commands."""
    seconds = {name: cpu_seconds(site.processes[name].pid) for name in MEASURED_PROCESSES}
    return seconds | {"commands": float(redis_client.info("stats")["total_commands_processed"])}


def restart(site: Site) -> None:
    """Restart all processes but Redis, and wait until they are idle."""
    names = [name for name in site.processes if name != "redis"]
    for name in names:
        site.kill(name)
    site.start(*names)
    site.wait_until_ready()
    site.wait_for_worker("train")  # answers no queries, but its start keeps a core busy
    time.sleep(IDLE_AFTER)


if __name__ == "__main__":
    main()
