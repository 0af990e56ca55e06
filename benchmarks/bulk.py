"""From the files of a catalogue to stored vectors, against the network alone. Prints one JSON object.

    python -m benchmarks.bulk [--photos 256] [--rounds 3] [--runtime auto] [--longest 400]

Drawn photos are stored in a real database (SQLite in a temporary folder; on PostgreSQL what DATABASE_URL names, which
should be empty) and embedded by what the worker's task calls: read, decoded, embedded, coloured, written. After each
round the network alone is given the pixels of as many photos by as many threads, so the ratio is one of neighbours in
time. `per_cpu_second` is the same by the seconds of the processor, which others on the machine disturb less.
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
    parser.add_argument("--photos", type=int, default=256, help="in the catalogue")
    parser.add_argument("--rounds", type=int, default=3, help="each embeds all of them anew")
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
    from worker.encoders.loaded import embedder_of

    encoder = a_site(options.photos, options.longest)
    embedder = embedder_of(encoder)
    whole, alone = [], []
    for _ in range(options.rounds + 1):
        forget(encoder)
        whole.append(timed(lambda: embed_all(encoder)))
        alone.append(timed(lambda: forward_only(embedder, options.photos)))
    found: dict[str, Any] = {"cores": os.cpu_count(), "runtime": embedder.runtime, "photos": options.photos}
    for at, unit in enumerate(("per_second", "per_cpu_second")):
        # The first round warms up.
        ours, limit = (options.photos / statistics.median(one[at] for one in times[1:]) for times in (whole, alone))
        found[unit] = {"bulk": round(ours, 1), "forward_only": round(limit, 1), "ratio": round(ours / limit, 3)}
    return found


def a_site(photos: int, longest: int) -> "Encoder":
    """A database with so many items, each with a photo, and the encoder that ships."""
    from django.conf import settings
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from catalog.models import CatalogItem, Encoder, ItemPhoto
    from catalog.photos.clean import clean_photo
    from demo.sample import draw_photo, sample_items
    from tests.helpers.pictures import jpeg_of

    call_command("migrate", verbosity=0)
    folder = settings.BASE_DIR / "ml" / "encoders" / settings.DEFAULT_ENCODER
    call_command("register_encoder", str(folder), live=True, stdout=io.StringIO())
    for number, sample in enumerate(sample_items(photos)):
        drawn = draw_photo(sample)
        scale = longest / max(drawn.size)
        clean = clean_photo(jpeg_of(drawn.resize((round(drawn.width * scale), round(drawn.height * scale)))))
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


def forget(encoder: "Encoder") -> None:
    """As if the catalogue had just been imported."""
    from catalog.models import ItemPhoto

    encoder.embeddings.all().delete()
    ItemPhoto.objects.update(colour_lab=None)


def embed_all(encoder: "Encoder") -> None:
    """Embed the whole catalogue, as the task does it."""
    from worker.encoders.embedding import embed_missing

    claimed = encoder.claim("benchmark")
    assert claimed is not None
    while embed_missing(claimed):
        pass
    claimed.release()
    assert not encoder.missing_photos().exists()


def forward_only(embedder: "Embedder", photos: int) -> None:
    """The network on noise, in portions and threads as the worker gives them."""
    import numpy as np

    from ml.runtime.types import available_cores

    card = embedder.card.preprocessing
    pixels = np.random.default_rng(0).standard_normal((embedder.portion, 3, card.height, card.width), dtype=np.float32)
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(lambda _: embedder.forward(pixels), range(photos // embedder.portion)))


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """The seconds that it takes, by the clock and of the processor."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu_started


if __name__ == "__main__":
    main()
