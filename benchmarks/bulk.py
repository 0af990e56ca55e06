"""Benchmark: embedding a catalogue, from files to stored vectors, against the network alone. Prints one JSON object.

    python -m benchmarks.bulk [--photos 256] [--rounds 3] [--runtime auto] [--longest 400]

Drawn photos are stored in a real database (SQLite in a temporary folder, or the empty PostgreSQL of DATABASE_URL)
and embedded by the function that the worker's task calls: read, decode, embed, measure colours, write. After each round
the network alone gets the pixels of as many photos from as many threads, so that both see the same load.
`per_cpu_second` counts processor time, which other load on the machine disturbs less.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.models import Encoder
    from ml.inference.embedder import Embedder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=256, help="photos in the catalogue")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each of which embeds all photos")
    parser.add_argument("--runtime", default="auto", choices=("auto", "onnx", "openvino", "torch"))
    parser.add_argument("--longest", type=int, default=400, help="pixels of the longer side of a photo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"VAR_DIR": folder, "EMBEDDER_RUNTIME": options.runtime, "SECRET_KEY": "guards nothing"}
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
        import django

        django.setup()
        print(json.dumps(measure(options), indent=2))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return photos per second and per CPU second, of bulk embedding and of the network alone."""
    from worker.encoders.loaded import embedder_of

    encoder = create_site(options.photos, options.longest)
    embedder = embedder_of(encoder)
    bulk_times, forward_times = [], []
    for _ in range(options.rounds + 1):
        delete_vectors(encoder)
        bulk_times.append(measure_time(lambda: embed_all(encoder)))
        forward_times.append(measure_time(lambda: forward_only(embedder, options.photos)))
    result: dict[str, Any] = {"cores": os.cpu_count(), "runtime": embedder.runtime, "photos": options.photos}
    for at, unit in enumerate(("per_second", "per_cpu_second")):
        # The first round warms up.
        bulk, forward = (
            options.photos / statistics.median(pair[at] for pair in times[1:]) for times in (bulk_times, forward_times)
        )
        result[unit] = {"bulk": round(bulk, 1), "forward_only": round(forward, 1), "ratio": round(bulk / forward, 3)}
    return result


def create_site(photos: int, longest: int) -> "Encoder":
    """Create a database with `photos` items of one photo each, and the shipped encoder."""
    from django.conf import settings
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from catalog.models import CatalogItem, Encoder, ItemPhoto
    from catalog.photos.validation import clean_photo
    from demo.sample import draw_photo, sample_items
    from tests.helpers.pictures import jpeg_of

    call_command("migrate", verbosity=0)
    folder = settings.BASE_DIR / "ml" / "encoders" / settings.DEFAULT_ENCODER
    call_command("register_encoder", str(folder), live=True, stdout=io.StringIO())
    for number, sample in enumerate(sample_items(photos)):
        picture = draw_photo(sample)
        scale = longest / max(picture.size)
        clean = clean_photo(jpeg_of(picture.resize((round(picture.width * scale), round(picture.height * scale)))))
        photo = ItemPhoto(
            item=CatalogItem.objects.create(external_id=f"drawn-{number}", name=f"Item {number}"),
            source_sha256=clean.sha256,
            sha256=clean.sha256,
            width=clean.width,
            height=clean.height,
            size=len(clean.content),
            perceptual_hash=clean.perceptual_hash,
        )
        photo.file.save("photo.jpg", ContentFile(clean.content), save=False)
        photo.save()
    return Encoder.objects.get()


def delete_vectors(encoder: "Encoder") -> None:
    """Delete all vectors and colours, as if the catalogue had just been imported."""
    from catalog.models import ItemPhoto

    encoder.embeddings.all().delete()
    ItemPhoto.objects.update(colour_lab=None)


def embed_all(encoder: "Encoder") -> None:
    """Embed the whole catalogue as the task does."""
    from worker.encoders.embedding import embed_missing

    claimed = encoder.claim("benchmark")
    assert claimed is not None
    while embed_missing(claimed):
        pass
    claimed.release_claim()
    assert not encoder.missing_photos().exists()


def forward_only(embedder: "Embedder", photos: int) -> None:
    """Run the network alone on noise, with the batch size and the threads of the worker."""
    import numpy as np

    from ml.runtime.types import available_cores

    card = embedder.card.preprocessing
    pixels = np.random.default_rng(0).standard_normal(
        (embedder.batch_size, 3, card.height, card.width), dtype=np.float32
    )
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(lambda _: embedder.forward(pixels), range(photos // embedder.batch_size)))


def measure_time(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of `work` by the clock and of the processor."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu_started


if __name__ == "__main__":
    main()
