"""Encoders out as zip files, and in from anywhere: a clear sentence for what is wrong, and nothing left of it."""

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from pytest_django import Settings

from catalog.errors import Refused
from catalog.models import Encoder, EncoderState, TrainingRun
from catalog.services.encoders.archives import encoder_download, encoder_upload
from tests.helpers.factories import make_encoder

pytestmark = pytest.mark.django_db

NAME = "efficientnet-lite0-metric100"
SHIPPED = site.BASE_DIR / "ml" / "encoders" / NAME
FILES = {name: (SHIPPED / name).read_bytes() for name in ("card.json", "weights.safetensors", "model.onnx")}
SMALL = {"card.json": b"{}", "weights.safetensors": b"w", "model.onnx": b"m"}
PICKLE = b"\x80\x04cposix\nsystem\n(S'touch harm'\ntR."


@pytest.fixture(autouse=True)
def place(tmp_path: Path, settings: Settings) -> Path:
    """Where encoders are kept; empty at first."""
    settings.ENCODER_DIRS = [tmp_path / "encoders"]
    return tmp_path / "encoders"


Change = Callable[[zipfile.ZipFile], Any]


def packed(files: dict[str, bytes], folder: str = "enc/", change: Change | None = None) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            squeezed = zipfile.ZIP_DEFLATED if content.count(0) == len(content) else zipfile.ZIP_STORED
            archive.writestr(folder + name, content, squeezed)
        if change:
            change(archive)
    return buffer


def with_card(**entries: Any) -> dict[str, bytes]:
    return FILES | {"card.json": json.dumps(json.loads(FILES["card.json"]) | entries).encode()}


def refusal(archive: Any, place: Path, name: str = "") -> Refused:
    """What is said of an archive, of which nothing may be left."""
    before = sorted(place.rglob("*"))
    with pytest.raises(Refused) as refused:
        encoder_upload(archive=archive, name=name)
    assert sorted(path for path in place.rglob("*") if path.exists()) == before
    assert not Encoder.objects.exclude(kind="there before").exists()
    assert str(place) not in refused.value.detail
    return refused.value


def test_an_encoder_goes_out_and_comes_in_at_another_site(place: Path) -> None:
    shutil.copytree(SHIPPED, place / NAME)
    there = make_encoder(NAME, kind="there before")
    archive = io.BytesIO(b"".join(encoder_download(encoder=there)))
    there.delete()
    shutil.rmtree(place / NAME)
    assert zipfile.ZipFile(archive).testzip() is None
    encoder = encoder_upload(archive=archive)
    assert (encoder.name, encoder.kind, encoder.dim, encoder.state) == (NAME, "metric", 100, EncoderState.CANDIDATE)
    assert {path.name: path.read_bytes() for path in (place / NAME).iterdir()} == FILES
    assert [path.name for path in place.iterdir()] == [NAME]


def test_an_archive_without_a_folder_or_with_what_a_mac_adds_is_taken_under_another_name(place: Path) -> None:
    extra = {"__MACOSX/._card.json": b"x", "README.md": b"Read me.", ".DS_Store": b"x"}
    encoder = encoder_upload(archive=packed(FILES | extra, folder=""), name="another")
    assert (encoder.name, encoder.folder) == ("another", place / "another")
    assert {path.name for path in encoder.folder.iterdir()} == set(FILES)


def test_a_folder_that_a_crash_left_is_registered_and_the_same_archive_again_is_no_other_encoder(place: Path) -> None:
    shutil.copytree(SHIPPED, place / NAME)
    assert encoder_upload(archive=packed(FILES)) == encoder_upload(archive=packed(FILES))
    assert [path.name for path in place.iterdir()] == [NAME]


def test_a_changed_byte_is_found(place: Path) -> None:
    weights = bytearray(FILES["weights.safetensors"])
    weights[5000] ^= 1
    refused = refusal(packed(FILES | {"weights.safetensors": bytes(weights)}), place)
    assert refused.detail == "weights.safetensors is not the file that the card describes: its sha256 differs."


def test_a_card_of_another_format_or_dimension_is_refused(place: Path) -> None:
    assert "format 99" in refusal(packed(with_card(format=99)), place).detail
    assert "99 outputs of the card" in refusal(packed(with_card(dim=99)), place).detail


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"../evil.py": b"x"}, "outside of its own folder"),
        ({"model.pkl": PICKLE}, "'enc/model.pkl'. It may hold"),
        ({"deep/card.json": b"x"}, "too deep"),
        ({"more/": b""}, "a folder 'enc/more/'"),
        ({"a\\b": b"x"}, "outside of its own folder"),
        ({"c:evil": b"x"}, "outside of its own folder"),
    ],
)
def test_whatever_else_an_archive_holds_is_refused_by_name(more: dict[str, bytes], sentence: str, place: Path) -> None:
    assert sentence in refusal(packed(SMALL | more), place).detail


@pytest.mark.parametrize("name", ["/etc/cron.d/evil", "../evil", "..", "other/card.json"])
def test_nothing_may_lie_outside_of_the_folder(name: str, place: Path) -> None:
    refused = refusal(packed(SMALL, change=lambda archive: archive.writestr(name, "x")), place)
    assert refused.code == "archive"
    assert refused.status == 400


def test_a_link_is_refused(place: Path) -> None:
    link = zipfile.ZipInfo("enc/model.onnx")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = {name: content for name, content in SMALL.items() if name != "model.onnx"}
    refused = refusal(packed(files, change=lambda archive: archive.writestr(link, "/etc/passwd")), place)
    assert "is a link" in refused.detail


def test_the_same_name_twice_is_refused(place: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = packed(SMALL, change=lambda archive: archive.writestr("enc/model.onnx", "m"))
    assert "once each" in refusal(archive, place).detail


def test_a_missing_file_is_named(place: Path) -> None:
    assert "has no weights.safetensors and no model.onnx" in refusal(packed({"card.json": b"{}"}), place).detail


def test_an_archive_that_would_fill_the_disk_is_not_unpacked(place: Path, settings: Settings) -> None:
    settings.ENCODER_MAX_MB = 1
    archive = packed(SMALL | {"model.onnx": bytes(2 << 20)})
    assert len(archive.getvalue()) < 100_000
    assert "larger than 1 MB" in refusal(archive, place).detail
    assert not place.exists()


def test_an_archive_that_lies_about_its_sizes_is_found(place: Path) -> None:
    content = packed(SMALL | {"model.onnx": bytes(100_000)}).getvalue()
    lying = content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != content
    assert "damaged" in refusal(io.BytesIO(lying), place).detail


def test_a_list_of_contents_that_would_fill_the_memory_is_not_read(place: Path) -> None:
    archive = packed({f"{number}": b"" for number in range(40)})
    assert "far more than" in refusal(archive, place).detail


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"x" * 1000, b"PK\x05\x06" + bytes(18), PICKLE])
def test_what_is_no_archive_is_refused(content: bytes, place: Path) -> None:
    assert refusal(io.BytesIO(content), place).code == "archive"


def test_half_an_archive_is_refused(place: Path) -> None:
    content = packed(SMALL).getvalue()
    for length in (len(content) // 2, len(content) - 1):
        assert "not all of it" in refusal(io.BytesIO(content[:length]), place).detail
    for cut in range(1, len(content) - 60, 7):
        assert refusal(io.BytesIO(content[:10] + content[10 + cut :]), place).code == "archive"


def test_a_pickle_in_the_place_of_the_weights_is_refused(place: Path) -> None:
    assert refusal(packed(FILES | {"weights.safetensors": PICKLE}), place).code == "encoder_unusable"


def test_a_taken_name_is_refused_and_what_has_it_stays(place: Path) -> None:
    shutil.copytree(SHIPPED, place / "kept")
    make_encoder("taken", kind="there before", card={"files": {"model.onnx": "0" * 64}})
    TrainingRun.objects.create(name="run")
    (place / "kept" / "model.onnx").write_bytes(b"another")
    for name in ("taken", "run", "kept"):
        assert refusal(packed(FILES), place, name).status == 400


@pytest.mark.parametrize("name", ["../up", "a b", ".hidden", "x.part", "a" * 101, "a/b"])
def test_a_name_that_is_no_word_is_refused(name: str, place: Path) -> None:
    assert refusal(packed(FILES), place, name).code == "encoder_name"


def test_what_a_killed_upload_left_is_cleared_away_in_time(place: Path) -> None:
    import os

    old, young = place / f"{'a' * 32}.part", place / f"{'b' * 32}.part"
    for part in (old, young):
        part.mkdir(parents=True)
    os.utime(old, (0, 0))
    with pytest.raises(Refused):
        encoder_upload(archive=packed(SMALL))
    assert [path.name for path in place.iterdir()] == [young.name]


def test_an_encoder_whose_folder_is_gone_cannot_be_downloaded() -> None:
    with pytest.raises(Refused) as refused:
        encoder_download(encoder=make_encoder())
    assert refused.value.status == 404
