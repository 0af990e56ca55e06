"""Download and upload of encoder archives: bad archives are refused by code and leave nothing behind."""

import io
import json
import os
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
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_encoder

pytestmark = pytest.mark.django_db

NAME = "efficientnet-lite0-metric100"
SHIPPED = site.BASE_DIR / "ml" / "encoders" / NAME
FILES = {name: (SHIPPED / name).read_bytes() for name in ("card.json", "weights.safetensors", "model.onnx")}
SMALL = {"card.json": b"{}", "weights.safetensors": b"w", "model.onnx": b"m"}
PICKLE = b"\x80\x04cposix\nsystem\n(S'touch harm'\ntR."


@pytest.fixture(autouse=True)
def encoder_dir(tmp_path: Path, settings: Settings) -> Path:
    """The folder of uploaded encoders; it does not exist at first."""
    settings.ENCODER_DIRS = [tmp_path / "encoders"]
    return tmp_path / "encoders"


Addition = Callable[[zipfile.ZipFile], Any]


def zip_of(files: dict[str, bytes], folder: str = "enc/", add: Addition | None = None) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            compression = zipfile.ZIP_DEFLATED if content.count(0) == len(content) else zipfile.ZIP_STORED
            archive.writestr(folder + name, content, compression)
        if add:
            add(archive)
    return buffer


def with_card(**entries: Any) -> dict[str, bytes]:
    return FILES | {"card.json": json.dumps(json.loads(FILES["card.json"]) | entries).encode()}


def refusal(archive: Any, encoder_dir: Path, name: str = "") -> Refused:
    """Upload an archive that must be refused without leaving anything. Returns the error."""
    before = sorted(encoder_dir.rglob("*"))
    with pytest.raises(Refused) as refused:
        encoder_upload(archive=archive, name=name)
    assert sorted(path for path in encoder_dir.rglob("*") if path.exists()) == before
    assert not Encoder.objects.exclude(kind="existing").exists()
    assert str(encoder_dir) not in refused.value.detail
    return refused.value


def test_a_downloaded_encoder_can_be_uploaded_at_another_site(encoder_dir: Path) -> None:
    shutil.copytree(SHIPPED, encoder_dir / NAME)
    exported = make_encoder(NAME, kind="existing")
    archive = io.BytesIO(b"".join(encoder_download(encoder=exported)))
    exported.delete()
    shutil.rmtree(encoder_dir / NAME)
    assert zipfile.ZipFile(archive).testzip() is None
    encoder = encoder_upload(archive=archive)
    assert (encoder.name, encoder.kind, encoder.dim, encoder.state) == (NAME, "metric", 100, EncoderState.CANDIDATE)
    assert {path.name: path.read_bytes() for path in (encoder_dir / NAME).iterdir()} == FILES
    assert [path.name for path in encoder_dir.iterdir()] == [NAME]


def test_an_archive_without_a_folder_and_with_files_of_macos_is_accepted_under_another_name(encoder_dir: Path) -> None:
    extra = {"__MACOSX/._card.json": b"x", "README.md": b"Read me.", ".DS_Store": b"x"}
    encoder = encoder_upload(archive=zip_of(FILES | extra, folder=""), name="another")
    assert (encoder.name, encoder.folder) == ("another", encoder_dir / "another")
    assert {path.name for path in encoder.folder.iterdir()} == set(FILES)


def test_a_folder_left_by_a_crash_is_registered_and_uploading_again_is_idempotent(encoder_dir: Path) -> None:
    shutil.copytree(SHIPPED, encoder_dir / NAME)
    assert encoder_upload(archive=zip_of(FILES)) == encoder_upload(archive=zip_of(FILES))
    assert [path.name for path in encoder_dir.iterdir()] == [NAME]


def test_a_changed_byte_is_refused_by_the_name_of_its_file(encoder_dir: Path) -> None:
    weights = bytearray(FILES["weights.safetensors"])
    weights[5000] ^= 1
    refused = refusal(zip_of(FILES | {"weights.safetensors": bytes(weights)}), encoder_dir)
    assert refused.code == "encoder_unusable"
    assert refused.detail.startswith("weights.safetensors ")


def test_a_card_of_another_format_or_dimension_is_refused(encoder_dir: Path) -> None:
    for entry in ("format", "dim"):
        refused = refusal(zip_of(with_card(**{entry: 99})), encoder_dir)
        assert refused.code == "encoder_unusable"
        assert "99" in refused.detail


@pytest.mark.parametrize("entry", ["../evil.py", "model.pkl", "deep/card.json", "more/", "a\\b", "c:evil"])
def test_any_other_entry_is_refused_by_name(entry: str, encoder_dir: Path) -> None:
    refused = refusal(zip_of(SMALL | {entry: b"" if entry.endswith("/") else PICKLE}), encoder_dir)
    assert refused.code == "archive"
    assert repr(f"enc/{entry}") in refused.detail


@pytest.mark.parametrize("name", ["/etc/cron.d/evil", "../evil", "..", "other/card.json"])
def test_entries_outside_the_folder_are_refused(name: str, encoder_dir: Path) -> None:
    refused = refusal(zip_of(SMALL, add=lambda archive: archive.writestr(name, "x")), encoder_dir)
    assert refused.code == "archive"
    assert refused.status == 400


def test_a_link_is_refused(encoder_dir: Path) -> None:
    link = zipfile.ZipInfo("enc/model.onnx")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = {name: content for name, content in SMALL.items() if name != "model.onnx"}
    refused = refusal(zip_of(files, add=lambda archive: archive.writestr(link, "/etc/passwd")), encoder_dir)
    assert refused.code == "archive"
    assert "'enc/model.onnx'" in refused.detail


def test_a_duplicate_entry_is_refused_by_name(encoder_dir: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = zip_of(SMALL, add=lambda archive: archive.writestr("enc/model.onnx", "m"))
    refused = refusal(archive, encoder_dir)
    assert refused.code == "archive"
    assert "'enc/model.onnx'" in refused.detail


def test_missing_files_are_named(encoder_dir: Path) -> None:
    refused = refusal(zip_of({"card.json": b"{}"}), encoder_dir)
    assert refused.code == "archive"
    assert "weights.safetensors" in refused.detail and "model.onnx" in refused.detail


def test_a_zip_bomb_is_not_unpacked(encoder_dir: Path, settings: Settings) -> None:
    settings.ENCODER_MAX_MB = 1
    archive = zip_of(SMALL | {"model.onnx": bytes(2 << 20)})
    assert len(archive.getvalue()) < 100_000
    refused = refusal(archive, encoder_dir)
    assert refused.code == "archive"
    assert "1 MB" in refused.detail
    assert not encoder_dir.exists()


def test_an_archive_with_wrong_sizes_in_its_contents_is_refused(encoder_dir: Path) -> None:
    content = zip_of(SMALL | {"model.onnx": bytes(100_000)}).getvalue()
    forged = content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert forged != content
    assert refusal(io.BytesIO(forged), encoder_dir).code == "archive"


def test_a_long_list_of_contents_is_not_read(encoder_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zip_of({f"{number}": b"" for number in range(40)})
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("it was read"))
    assert refusal(archive, encoder_dir).code == "archive"


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"x" * 1000, b"PK\x05\x06" + bytes(18), PICKLE])
def test_other_files_are_refused(content: bytes, encoder_dir: Path) -> None:
    assert refusal(io.BytesIO(content), encoder_dir).code == "archive"


def test_an_incomplete_archive_is_refused(encoder_dir: Path) -> None:
    content = zip_of(SMALL).getvalue()
    for length in (len(content) // 2, len(content) - 1):
        assert refusal(io.BytesIO(content[:length]), encoder_dir).code == "archive"
    for cut in range(1, len(content) - 60, 7):
        assert refusal(io.BytesIO(content[:10] + content[10 + cut :]), encoder_dir).code == "archive"


def test_a_pickle_as_weights_is_refused(encoder_dir: Path) -> None:
    assert refusal(zip_of(FILES | {"weights.safetensors": PICKLE}), encoder_dir).code == "encoder_unusable"


def test_a_taken_name_is_refused_and_its_owner_stays(encoder_dir: Path) -> None:
    shutil.copytree(SHIPPED, encoder_dir / "kept")
    make_encoder("taken", kind="existing", card={"files": {"model.onnx": "0" * 64}})
    TrainingRun.objects.create(name="run")
    (encoder_dir / "kept" / "model.onnx").write_bytes(b"another")
    for name in ("taken", "run", "kept"):
        assert refusal(zip_of(FILES), encoder_dir, name).code == "encoder_name_taken"


@pytest.mark.parametrize("name", ["../up", "a b", ".hidden", "x.part", "a" * 101, "a/b"])
def test_an_invalid_name_is_refused(name: str, encoder_dir: Path) -> None:
    assert refusal(zip_of(FILES), encoder_dir, name).code == "encoder_name"


def test_folders_left_by_killed_uploads_are_deleted_after_an_hour(encoder_dir: Path) -> None:
    old, young = encoder_dir / f"{'a' * 32}.part", encoder_dir / f"{'b' * 32}.part"
    for part in (old, young):
        part.mkdir(parents=True)
    os.utime(old, (0, 0))
    with pytest.raises(Refused):
        encoder_upload(archive=zip_of(SMALL))
    assert [path.name for path in encoder_dir.iterdir()] == [young.name]


def test_an_encoder_without_a_folder_cannot_be_downloaded() -> None:
    with raises_code(Refused, "encoder_folder") as refused:
        encoder_download(encoder=make_encoder())
    assert refused.value.status == 404
