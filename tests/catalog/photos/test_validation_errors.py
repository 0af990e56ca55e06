"""`clean_photo` refuses unusable pictures with a code, whatever the bytes are (fuzzed)."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from catalog.errors import Refused
from catalog.photos import validation
from catalog.photos.validation import clean_photo
from tests.helpers.hypothesis_profiles import examples
from tests.helpers.pictures import (
    KINDS,
    encode_image,
    exif_with_orientation,
    four_colours,
    open_photo,
    png_that_claims,
)


def refusal(raw: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        clean_photo(raw)
    assert caught.value.detail.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    ("raw", "code", "status"),
    [
        (b"", validation.EMPTY, 400),
        (b"a text named .jpg", validation.UNREADABLE, 415),
        (b"\xff\xd8", validation.UNREADABLE, 415),
        (b"PK\x03\x04 a zip", validation.UNREADABLE, 415),
        (b"%PDF-1.7", validation.UNSUPPORTED, 415),
        (b"8BPS\0\1", validation.UNSUPPORTED, 415),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", validation.UNSUPPORTED, 415),
        (b"\0\0\0\x18ftypisom", validation.UNSUPPORTED, 415),
        (b"\xff\xd8\xff\xe0 and then nothing", validation.DAMAGED, 400),
        (b"\x89PNG\r\n\x1a\n", validation.DAMAGED, 400),
        (b"GIF89a", validation.DAMAGED, 400),
        (b"\0\0\0\x18ftypheic", validation.DAMAGED, 400),
        (b"\0\0\0\x18ftypmif1", validation.DAMAGED, 400),
    ],
)
def test_bytes_that_are_no_picture_are_refused(raw: bytes, code: str, status: int) -> None:
    error = refusal(raw)

    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM", "ICO", "EPS", "JPEG2000", "TGA"])
def test_an_unsupported_format_is_refused(kind: str) -> None:
    error = refusal(encode_image(four_colours(), kind))

    assert error.code in (validation.UNSUPPORTED, validation.UNREADABLE)
    assert "JPEG" in error.detail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(kind: str, share: float) -> None:
    raw = encode_image(Image.effect_noise((160, 120), 80).convert("RGB"), kind)

    assert refusal(raw[: int(len(raw) * share)]).code == validation.DAMAGED


def test_a_truncated_progressive_jpeg_is_refused() -> None:
    raw = encode_image(Image.effect_noise((160, 120), 80), "JPEG", progressive=True)

    assert refusal(raw[: len(raw) // 2]).code == validation.DAMAGED


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    tracemalloc.start()
    try:
        for size in ((9_000, 11_000), (60_000, 60_000)):
            error = refusal(png_that_claims(*size))
            assert (error.code, error.status) == (validation.TOO_MANY_PIXELS, 413)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_pixel_limit_is_a_setting(settings: Any) -> None:
    settings.MAX_PHOTO_MEGAPIXELS = 1
    raw = encode_image(Image.new("RGB", (1001, 1000)), "PNG")

    error = refusal(raw)
    assert error.code == validation.TOO_MANY_PIXELS
    assert "1 megapixels" in error.detail


def test_a_too_large_file_is_refused(settings: Any) -> None:
    settings.MAX_UPLOAD_MB = 1

    error = refusal(encode_image(four_colours(), "JPEG") + bytes(1024 * 1024))

    assert (error.code, error.status) == (validation.TOO_LARGE, 413)


@pytest.mark.parametrize("size", [(15, 400), (400, 15), (1, 1)])
def test_a_too_small_picture_is_refused(size: tuple[int, int]) -> None:
    assert refusal(encode_image(four_colours(size), "PNG")).code == validation.TOO_SMALL


def test_a_too_narrow_picture_is_refused() -> None:
    assert refusal(encode_image(four_colours((20, 5000)), "PNG")).code == validation.TOO_NARROW
    assert clean_photo(encode_image(four_colours((20, 1024)), "PNG")).width == 20


def test_a_jpeg_with_too_many_scans_is_refused() -> None:
    raw = encode_image(four_colours(), "JPEG")

    assert refusal(raw[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 5000 + raw[-2:]).code == validation.DAMAGED


def test_global_settings_of_pillow_are_unchanged() -> None:
    with pytest.raises(Refused):
        clean_photo(encode_image(four_colours(), "JPEG")[:-100])

    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


# --- fuzzing

SEEDS = {kind: encode_image(four_colours((64, 48)), kind) for kind in KINDS}
SEEDS["APNG"] = encode_image(
    four_colours(), "PNG", save_all=True, append_images=[four_colours().rotate(180)], exif=exif_with_orientation(6)
)
SEEDS["PROGRESSIVE"] = encode_image(four_colours(), "JPEG", progressive=True, exif=exif_with_orientation(3))
SEEDS["CMYK"] = encode_image(four_colours(mode="CMYK"), "JPEG")
SEEDS["PALETTE"] = encode_image(four_colours(mode="P"), "PNG", transparency=3)


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_mutated_picture_is_cleaned_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    raw = bytearray(SEEDS[kind])
    # The header decides how the rest is decoded, so half of the mutations hit it.
    places = st.one_of(st.integers(0, min(len(raw), 200) - 1), st.integers(0, len(raw) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=12)):
        raw[place] = value
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]

    _survives(bytes(raw))


@settings(max_examples=examples(200))
@given(st.sampled_from([b"", *(seed[:16] for seed in SEEDS.values())]), st.binary(max_size=400))
@example(b"RIFF\x10\0\0\0WEBPVP8X", b"")
def test_any_bytes_are_cleaned_or_refused_and_nothing_else(start: bytes, rest: bytes) -> None:
    _survives(start + rest)


def _survives(raw: bytes) -> None:
    try:
        photo = clean_photo(raw)
    except Refused as error:
        assert error.code.startswith("photo_")
    else:
        assert open_photo(photo).size == (photo.width, photo.height)
