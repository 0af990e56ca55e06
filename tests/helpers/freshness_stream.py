"""Stress test inside a site: items change without pause, clients query, and every answer is checked.

The expected answer comes from a comparison with every vector, in the states that the rows had during the query.
"""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from catalog import tasks
from catalog.models import CatalogItem, Embedding, Encoder, ItemPhoto, QueryState, SimilarityQuery, User
from ml.search import Where

CATEGORIES, BRANDS = ("Coat", "Hat", "dress"), ("Linden", "Ash", "")
K = 5
TIMEOUT = 20.0  # seconds for an answer
LEASE = timedelta(seconds=2)
TOLERANCE = 1e-5  # scores that differ by less are equal


@dataclass(frozen=True)
class VisibleItem:
    """An item that searches can return: its filter columns and the vectors of its photos by photo id."""

    columns: dict[str, Any]
    photos: dict[int, np.ndarray]

    def score(self, vector: np.ndarray, where: Where) -> float:
        """Return the cosine of its best photo; -2 if it has none or does not fit the filters."""
        if not self.photos or not where.matches(self.columns):
            return -2.0
        return max(float(photo @ vector) for photo in self.photos.values())


State = dict[int, VisibleItem]


@dataclass
class History:
    """The states of the rows, each with the times at which the change to it started and ended."""

    states: list[tuple[float, float, State]] = field(default_factory=list)

    def between(self, start: float, end: float) -> Iterator[State]:
        """Yield the states that held at some time between `start` and `end`."""
        for number, (began, _, state) in enumerate(self.states):
            following = self.states[number + 1][1] if number + 1 < len(self.states) else end
            if began <= end and following >= start:
                yield state


class Writer:
    """Adds, changes, hides, shows and deletes items at random, by every kind of write, and records the history."""

    def __init__(self, encoder: Encoder, seed: int) -> None:
        self.encoder, self.rng, self.dice = encoder, np.random.default_rng(seed), random.Random(seed)  # noqa: S311
        self.history, self.hidden = History(), {}
        self.history.states.append((0.0, time.time(), {}))

    @property
    def now(self) -> State:
        return dict(self.history.states[-1][2])

    def step(self) -> None:
        operations = [self.add, self.add_photo, self.change, self.change_many, self.hide, self.show, self.delete]
        operations += [self.remove, self.remove_photo]
        state = self.now
        operation = self.dice.choice(operations) if len(state) > 30 else self.add
        began = time.time()
        try:
            with transaction.atomic():
                operation(state)
        except IntegrityError:  # an answer that refers to the item was written at the same time, so it was not removed
            return
        self.history.states.append((began, time.time(), state))

    def add(self, state: State) -> None:
        columns = self.draw_columns()
        item = CatalogItem.objects.create(external_id=uuid.uuid4().hex, name="Item of the stream", **columns)
        state[item.pk] = VisibleItem(columns, {})
        self.embed(state, item.pk)

    def add_photo(self, state: State) -> None:
        self.embed(state, self.dice.choice(list(state)))

    def change(self, state: State) -> None:
        item = CatalogItem.objects.get(pk=self.dice.choice(list(state)))
        columns = self.draw_columns()
        for name, value in columns.items():
            setattr(item, name, value)
        item.save()
        state[item.pk] = replace(state[item.pk], columns=columns)

    def change_many(self, state: State) -> None:
        chosen, columns = self.dice.sample(list(state), 5), self.draw_columns()
        CatalogItem.objects.filter(pk__in=chosen).update(**columns)
        state |= {pk: replace(state[pk], columns=columns) for pk in chosen}

    def hide(self, state: State) -> None:
        pk = self.dice.choice(list(state))
        with connection.cursor() as cursor:
            cursor.execute("UPDATE catalog_catalogitem SET is_active = %s WHERE id = %s", [False, pk])
        self.hidden[pk] = state.pop(pk)

    def show(self, state: State) -> None:
        for pk in list(self.hidden)[:2]:
            CatalogItem.objects.filter(pk=pk).update(is_active=True)
            state[pk] = self.hidden.pop(pk)

    def delete(self, state: State) -> None:
        pk = self.dice.choice(list(state))
        CatalogItem.objects.get(pk=pk).mark_deleted()
        del state[pk]

    def remove(self, state: State) -> None:
        pk = self.dice.choice(list(state))
        CatalogItem.objects.get(pk=pk).delete()
        del state[pk]

    def remove_photo(self, state: State) -> None:
        pk = self.dice.choice(list(state))
        photos = dict(state[pk].photos)
        deleted = self.dice.choice(list(photos)) if photos else 0
        ItemPhoto.objects.filter(pk=deleted).delete()
        photos.pop(deleted, None)
        state[pk] = replace(state[pk], photos=photos)

    def embed(self, state: State, pk: int) -> None:
        Encoder.objects.filter(pk=self.encoder.pk).update(revision=F("revision") + 1)
        photo = new_photo(pk)
        photo.save()
        vector = self.vector()
        Embedding.objects.create(encoder=self.encoder, photo=photo, item_id=pk, vector=vector.tobytes())
        state[pk] = replace(state[pk], photos={**state[pk].photos, photo.pk: vector})

    def draw_columns(self) -> dict[str, Any]:
        price = self.dice.choice([None, round(self.dice.uniform(1, 100), 2)])
        texts = {"category": self.dice.choice(CATEGORIES), "brand": self.dice.choice(BRANDS)}
        unknown = dict.fromkeys(("gender", "colour", "collection"), "")
        return {**texts, **unknown, "price": price, "in_stock": self.dice.random() < 0.7}

    def vector(self) -> np.ndarray:
        return unit_vector(self.rng, self.encoder.dim)


def unit_vector(rng: np.random.Generator, dim: int) -> np.ndarray:
    direction = rng.normal(size=dim)
    return (direction / np.linalg.norm(direction)).astype("<f4")


def new_photo(item: int) -> ItemPhoto:
    """Return an unsaved photo without a file."""
    hashes = {"source_sha256": uuid.uuid4().hex * 2, "sha256": uuid.uuid4().hex * 2, "perceptual_hash": "0" * 16}
    return ItemPhoto(item_id=item, file="none.jpg", width=60, height=80, size=9, **hashes)


@dataclass(frozen=True)
class Answer:
    """A query, the times of its start and end, and its hits: item id and score by rank."""

    began: float
    ended: float
    vector: np.ndarray
    where: Where
    hits: dict[int, tuple[int, float]]

    def errors(self, states: list[State]) -> list[str]:
        """Return what is wrong with the answer, given all states that the rows had during the query."""
        hits = [self.hits[rank] for rank in sorted(self.hits)]
        wrong = [] if hits == sorted(hits, key=lambda hit: -hit[1]) else ["not in order"]
        scores = [{pk: item.score(self.vector, self.where) for pk, item in state.items()} for state in states]
        for pk, score in hits:
            if not any(abs(by_item.get(pk, -2.0) - score) <= TOLERANCE for by_item in scores):
                wrong.append(f"item {pk} with {score} was right at no time")
        always = set.intersection(*(set(by_item) for by_item in scores))
        photos = [{photo for item in state.values() for photo in item.photos} for state in states]
        if len(hits) < K and set.union(*photos) > photos[-1]:
            return wrong  # deleting a photo deletes its recommendation too
        least = hits[-1][1] if len(hits) == K else -1.5
        missing = always - {pk for pk, _ in hits}
        return wrong + [f"item {pk} is missing" for pk in missing if min(s[pk] for s in scores) > least + TOLERANCE]


def run_query(encoder: Encoder, owner: User, rng: np.random.Generator, dice: random.Random) -> Answer:
    """Create a query with a random vector and random filters and wait for the workers' answer."""
    filters: dict[str, Any] = dice.choice([{}, {"category": dice.choice(["coat", "HAT", "Dress"])}, {"brand": "ash"}])
    filters |= dice.choice([{}, {"in_stock": True}, {"min_price": 20.0, "max_price": 70.0}])
    vector, began = unit_vector(rng, encoder.dim), time.time()
    columns = {"vector": vector.tobytes(), "filters": filters, "k": K, "source_url": "http://nowhere"}
    query = SimilarityQuery.objects.create(owner=owner, encoder=encoder, state=QueryState.EMBEDDED, **columns)
    sent = 0.0
    while query.state != QueryState.DONE:
        assert query.state != QueryState.FAILED, query.error_code
        assert time.time() < began + TIMEOUT, "no answer"
        if time.time() > sent + 2.0:  # in place of the sweep, which does not run here
            SimilarityQuery.objects.filter(pk=query.pk).claimed_before(timezone.now() - LEASE).release_claims()
            tasks.send_search_query(query.pk)
            sent = time.time()
        time.sleep(0.01)
        query.refresh_from_db()
    hits = {row.rank: (row.item_id, row.score) for row in query.recommendations.all()}
    return Answer(began, time.time(), vector, Where(**filters), hits)


def stream(seconds: float, grace: float, clients: int = 3) -> None:
    """Run for `seconds` and print a report as JSON. An answer may be `grace` seconds behind the rows."""
    encoder, owner = Encoder.objects.get(state="live"), User.objects.create(username=uuid.uuid4().hex)
    CatalogItem.objects.all().delete()
    writer, stopping = Writer(encoder, seed=1), threading.Event()
    answers: list[Answer] = []
    errors: list[str] = []

    def repeat(work: Callable[[], object], pause: float) -> None:
        try:
            while not stopping.is_set():
                work()
                time.sleep(pause)
        except BaseException as error:
            errors.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    def client(number: int) -> None:
        rng, dice = np.random.default_rng(number), random.Random(number)  # noqa: S311
        repeat(lambda: answers.append(run_query(encoder, owner, rng, dice)), 0.0)

    threads = [threading.Thread(target=repeat, args=(writer.step, 0.01))]
    threads += [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stopping.set()
    for thread in threads:
        thread.join()
    wrong = []
    for answer in answers:
        states = list(writer.history.between(answer.began - grace, answer.ended))
        wrong += [f"{answer.where}: {error}" for error in answer.errors(states)]
    report = {"answers": len(answers), "hits": sum(len(answer.hits) for answer in answers)}
    print(json.dumps(report | {"changes": len(writer.history.states), "wrong": wrong[:5], "errors": errors}))  # noqa: T201


def fill(count: int) -> None:
    """Add `count` items with one photo each in one transaction."""
    encoder, rng = Encoder.objects.get(state="live"), np.random.default_rng(2)
    items = [CatalogItem(external_id=uuid.uuid4().hex, name="One of many", category="Many") for _ in range(count)]
    with transaction.atomic():
        Encoder.objects.filter(pk=encoder.pk).update(revision=F("revision") + 1)
        CatalogItem.objects.bulk_create(items, batch_size=1000)
        photos = ItemPhoto.objects.bulk_create([new_photo(item.pk) for item in items], batch_size=1000)
        rows = [
            Embedding(encoder=encoder, photo=photo, item_id=photo.item_id, vector=unit_vector(rng, 100).tobytes())
            for photo in photos
        ]
        Embedding.objects.bulk_create(rows, batch_size=1000)


def judge(questions: int) -> None:
    """Print how many of `questions` answers equal a comparison with every vector, while nothing changes."""
    encoder, owner = Encoder.objects.get(state="live"), User.objects.create(username=uuid.uuid4().hex)
    rng, dice, right = np.random.default_rng(3), random.Random(3), 0  # noqa: S311
    rows = Embedding.objects.filter(encoder=encoder, item__deleted_at=None, item__is_active=True)
    ids, items, vectors, *values = zip(*rows.values_list("photo_id", "item_id", "vector", *FILTER_COLUMNS), strict=True)
    matrix = np.frombuffer(b"".join(map(bytes, vectors)), "<f4").reshape(len(ids), -1)
    names = [name.removeprefix("item__") for name in FILTER_COLUMNS]
    item_columns = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    for _ in range(questions):
        answer = run_query(encoder, owner, rng, dice)
        best: dict[int, float] = {}
        for item, score, columns in zip(items, (matrix @ answer.vector).tolist(), item_columns, strict=True):
            if answer.where.matches(columns):
                best[item] = max(score, best.get(item, -2.0))
        expected = sorted(best, key=lambda item: -best[item])[:K]
        right += [answer.hits[rank][0] for rank in sorted(answer.hits)] == expected
    print(right)  # noqa: T201


FILTER_COLUMNS = ("item__category", "item__brand", "item__price", "item__in_stock")
