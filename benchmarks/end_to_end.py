"""From a photo to its answer, through every real part on this machine. Prints one JSON object.

    python -m benchmarks.end_to_end [--items 1000 10000] [--queries 100] [--clients 8] [--seconds 10]

For each catalogue size: the time from sending a photo to holding its answer, one at a time (p50, p95, in ms), the
median of each step as the product records it, and the answered queries per second with several clients at once. The
photo is a drawn phone photo, 768 x 1024, made different for every request, so nothing is answered from what was stored
before. The vectors of the catalogue are random unit vectors: the search compares them all, whatever they are.
"""

import argparse
import json
import os
import statistics
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from catalog.sample import phone_photo, sample_items
from tests.pictures import jpeg_of
from tests.system.site import Phone, Site

STEPS = ("receive", "clean", "queue", "embed", "search", "write", "total")
WARM_UP = 10

FILL = """
import numpy as np
from catalog.models import CatalogItem, Embedding, Encoder, ItemPhoto
encoder, have, want = Encoder.objects.live(), CatalogItem.objects.count(), {items}
rng = np.random.default_rng(want)
items = CatalogItem.objects.bulk_create(
    [CatalogItem(external_id=f"made-{{n}}", name=f"Item {{n}}", category="Made") for n in range(have, want)], 1000)
photos = ItemPhoto.objects.bulk_create(
    [ItemPhoto(item=item, file="none.jpg", source_sha256="0" * 64, sha256="0" * 64, perceptual_hash="0" * 16,
               width=60, height=80, size=1) for item in items], 1000)
vectors = rng.standard_normal((len(photos), encoder.dim)).astype("<f4")
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
Embedding.objects.bulk_create(
    [Embedding(photo=photo, item_id=photo.item_id, encoder=encoder, vector=vector.tobytes(), source_sha256="0" * 64)
     for photo, vector in zip(photos, vectors)], 1000)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--queries", type=int, default=100, help="sent one after the other")
    parser.add_argument("--clients", type=int, default=8, help="at once, for the rate")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring the rate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), WEB_WORKERS="2")
        try:
            print(json.dumps(measure(site, options), indent=2))
        finally:
            site.stop()


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    site.open()
    phone = Phone(site, site.token_of("benchmark"))
    photo = jpeg_of(phone_photo(sample_items(10)[3]))
    result: dict[str, Any] = {"cores": os.cpu_count(), "photo_bytes": len(photo), "sizes": {}}
    for items in sorted(options.items):
        site.shell(FILL.format(items=items))
        result["sizes"][str(items)] = measure_size(phone, photo, options)
    return result


def measure_size(phone: Phone, photo: bytes, options: argparse.Namespace) -> dict[str, Any]:
    for _ in range(WARM_UP):
        ask(phone, photo)
    answers = [ask(phone, photo) for _ in range(options.queries)]
    times = sorted(taken for taken, _ in answers)
    return {
        "photo_to_answer_ms": {"p50": percentile(times, 50), "p95": percentile(times, 95)},
        "steps_ms": {step: median_of(step, [answer for _, answer in answers]) for step in STEPS},
        "queries_per_second": rate(phone, photo, options.clients, options.seconds),
    }


def ask(phone: Phone, photo: bytes) -> tuple[float, dict[str, Any]]:
    """The time in ms and the answer. The picture is the same, its bytes are not: a comment in the file differs."""
    started = time.perf_counter()
    response = phone.post(with_comment(photo, os.urandom(16)), wait=20, k=10)
    taken = (time.perf_counter() - started) * 1000
    assert response.status_code == 200, response.text
    return taken, response.json()


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def rate(phone: Phone, photo: bytes, clients: int, seconds: float) -> float:
    end = time.monotonic() + seconds

    def stream(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            ask(phone, photo)
            count += 1
        return count

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        total = sum(pool.map(stream, range(clients)))
    return round(total / (time.monotonic() - started), 1)


def percentile(ordered: list[float], percent: int) -> float:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)


def median_of(step: str, answers: list[dict[str, Any]]) -> float:
    return round(statistics.median(answer["timings"][step] for answer in answers), 2)


if __name__ == "__main__":
    main()
