"""`clean_photo`: supported formats, orientation, colour profile, size, metadata, perceptual hash."""

import itertools
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from catalog.photos.validation import LONG_SIDE, CleanPhoto, clean_photo, source_hash
from tests.helpers.pictures import (
    BLUE,
    CORNERS,
    GREEN,
    KINDS,
    RED,
    YELLOW,
    encode_image,
    exif_with_orientation,
    four_colours,
    interlaced_png,
    open_photo,
    png16,
)


def quarter_colours(photo: CleanPhoto) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters."""
    image = open_photo(photo)
    left, right, top, bottom = image.width // 4, image.width * 3 // 4, image.height // 4, image.height * 3 // 4
    return [image.getpixel(place) for place in ((left, top), (right, top), (left, bottom), (right, bottom))]


def are_similar(actual: list[tuple[int, ...]], expected: Any, tolerance: int = 12) -> bool:
    pairs = zip(actual, expected, strict=True)
    return all(abs(a - b) <= tolerance for one, other in pairs for a, b in zip(one, other, strict=True))


# --- supported formats


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_picture(kind: str) -> None:
    photo = clean_photo(encode_image(four_colours(), kind))

    assert (photo.width, photo.height) == (96, 64)
    assert are_similar(quarter_colours(photo), CORNERS)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_an_ambiguous_container_brand_is_decoded(kind: str) -> None:
    raw = encode_image(four_colours(), kind)

    assert are_similar(quarter_colours(clean_photo(raw[:8] + b"mif1" + raw[12:])), CORNERS)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_are_decoded(mode: str) -> None:
    expected = four_colours(mode=mode).convert("RGB")

    photo = clean_photo(encode_image(four_colours(mode=mode), "JPEG"))

    assert are_similar(
        quarter_colours(photo), [expected.getpixel(place) for place in ((24, 16), (72, 16), (24, 48), (72, 48))]
    )


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA"])
def test_png_pixel_modes_are_decoded(mode: str) -> None:
    expected = four_colours(mode=mode).convert("RGB")

    photo = clean_photo(encode_image(four_colours(mode=mode), "PNG"))

    cleaned = open_photo(photo)
    assert cleaned.mode == "RGB"
    assert are_similar([cleaned.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))], [_mean(expected)])


def _mean(image: Image.Image) -> Any:
    return image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def test_a_progressive_jpeg_is_decoded() -> None:
    assert are_similar(quarter_colours(clean_photo(encode_image(four_colours(), "JPEG", progressive=True))), CORNERS)


def test_an_interlaced_png_is_decoded() -> None:
    assert are_similar(quarter_colours(clean_photo(interlaced_png())), [(90, 90, 90)] * 4)


@pytest.mark.parametrize(
    ("pixel", "clear", "shown"),
    [
        ((0x8000,), (), (128, 128, 128)),
        ((0x8000,), (0x8000,), (255, 255, 255)),
        ((0x8000,), (0x1000,), (128, 128, 128)),
        ((0x8000, 0x4000, 0xFF00), (), (128, 64, 255)),
        ((0x8000, 0x4000, 0xFF00), (0x8000, 0x4000, 0xFF00), (255, 255, 255)),
        ((0x0000, 0x0000, 0x0000, 0x8000), (), (127, 127, 127)),
    ],
)
def test_sixteen_bits_per_channel_are_scaled(
    pixel: tuple[int, ...], clear: tuple[int, ...], shown: tuple[int, ...]
) -> None:
    assert are_similar(quarter_colours(clean_photo(png16(pixel, clear=clear))), [shown] * 4, tolerance=4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "HEIF"])
def test_transparency_becomes_white(kind: str) -> None:
    image = four_colours(mode="RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 48, 32))

    assert are_similar(quarter_colours(clean_photo(encode_image(image, kind))), [(255, 255, 255), GREEN, BLUE, YELLOW])


def test_a_transparent_palette_colour_becomes_white() -> None:
    image = four_colours(mode="P")
    clear = image.getpixel((5, 5))

    photo = clean_photo(encode_image(image, "PNG", transparency=clear))

    assert are_similar(quarter_colours(photo)[:1], [(255, 255, 255)], tolerance=60)  # the palette is dithered


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN, BLUE)]

    for kind in ("GIF", "WEBP", "AVIF", "PNG"):
        raw = encode_image(frames[0], kind, save_all=True, append_images=frames[1:])
        assert are_similar(quarter_colours(clean_photo(raw)), [RED] * 4), kind


# --- normalisation

# The colours of the quarters for each EXIF orientation.
ORIENTED = {
    1: (RED, GREEN, BLUE, YELLOW),
    2: (GREEN, RED, YELLOW, BLUE),
    3: (YELLOW, BLUE, GREEN, RED),
    4: (BLUE, YELLOW, RED, GREEN),
    5: (RED, BLUE, GREEN, YELLOW),
    6: (BLUE, RED, YELLOW, GREEN),
    7: (YELLOW, GREEN, BLUE, RED),
    8: (GREEN, YELLOW, RED, BLUE),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_the_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    photo = clean_photo(encode_image(four_colours(), kind, exif=exif_with_orientation(orientation)))

    assert (photo.width, photo.height) == ((64, 96) if orientation > 4 else (96, 64))
    assert are_similar(quarter_colours(photo), ORIENTED[orientation])


def test_the_orientation_of_a_large_picture_is_applied() -> None:
    photo = clean_photo(encode_image(four_colours((2400, 1600)), "JPEG", exif=exif_with_orientation(6)))

    assert (photo.width, photo.height) == (683, LONG_SIDE)
    assert are_similar(quarter_colours(photo), ORIENTED[6])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_metadata_is_ignored() -> None:
    raw = encode_image(
        four_colours(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage", icc_profile=b"not a profile"
    )

    assert are_similar(quarter_colours(clean_photo(raw)), CORNERS)


def test_all_metadata_is_stripped() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngInfo()
    text.add_text("Author", "SecretName")
    sources = [
        encode_image(four_colours(), "JPEG", exif=exif.tobytes(), comment=b"SecretWords", icc_profile=profile),
        encode_image(four_colours(), "PNG", pnginfo=text, exif=exif.tobytes(), icc_profile=profile),
        encode_image(four_colours(), "GIF", comment=b"SecretWords"),
        encode_image(four_colours(), "WEBP", exif=exif.tobytes(), xmp=b"<x>Secret</x>"),
    ]

    for raw in sources:
        image = open_photo(clean_photo(raw))
        assert b"Secret" in raw
        assert b"Secret" not in clean_photo(raw).content
        assert not image.getexif()
        assert set(image.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_an_icc_profile_is_applied() -> None:
    swapped = _profile_with_red_and_green_swapped()

    photo = clean_photo(encode_image(Image.new("RGB", (32, 32), (250, 10, 10)), "PNG", icc_profile=swapped))

    red, green, _ = quarter_colours(photo)[0]
    assert green > 200 > 60 > red


def _profile_with_red_and_green_swapped() -> bytes:
    """An sRGB profile with red and green exchanged; ignoring it would show green as red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for one, other in ((b"rXYZ", b"gXYZ"),):
        # The names appear only in the tag table at the start.
        profile = profile.replace(one, b"????", 1).replace(other, one, 1).replace(b"????", other, 1)
    return profile


def test_an_icc_profile_for_another_pixel_mode_is_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    assert clean_photo(encode_image(four_colours(mode="CMYK"), "JPEG", icc_profile=profile)).width == 96
    assert clean_photo(encode_image(four_colours(mode="L"), "JPEG", icc_profile=profile)).width == 96


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "expected"), [((1025, 500), (1024, 500)), ((3000, 2000), (1024, 683)), ((500, 5000), (102, 1024))]
)
def test_a_large_picture_is_resized_with_its_aspect_ratio(
    kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    photo = clean_photo(encode_image(four_colours(size), kind))

    assert (photo.width, photo.height) == expected
    assert are_similar(quarter_colours(photo), CORNERS)


def test_a_phone_photo_is_scaled_by_the_jpeg_decoder() -> None:
    photo = clean_photo(encode_image(four_colours((4032, 3024)), "JPEG"))

    assert (photo.width, photo.height) == (1008, 756)
    assert are_similar(quarter_colours(photo), CORNERS)


def test_reducing_in_bands_leaves_no_seams() -> None:
    gradient = Image.linear_gradient("L").resize((3000, 6001), Image.Resampling.BICUBIC)

    image = open_photo(clean_photo(encode_image(gradient, "PNG"))).convert("L")

    column = [image.getpixel((image.width // 2, y)) for y in range(image.height)]
    assert column[0] < 4
    assert column[-1] > 250
    assert all(-1 <= after - before <= 2 for before, after in itertools.pairwise(column))


def test_a_small_picture_is_not_enlarged() -> None:
    assert clean_photo(encode_image(four_colours((16, 20)), "PNG")).width == 16


def test_the_same_bytes_give_the_same_result() -> None:
    for kind in KINDS:
        raw = encode_image(four_colours(), kind)
        assert clean_photo(raw) == clean_photo(raw)


def test_the_sha256_is_that_of_the_content() -> None:
    photo = clean_photo(encode_image(four_colours(), "PNG"))

    assert photo.sha256 == source_hash(photo.content)
    assert source_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_similar_pictures_have_similar_perceptual_hashes() -> None:
    noise = Image.effect_noise((300, 300), 90).resize((600, 600))
    other = Image.effect_noise((300, 300), 90)
    first = _bits(clean_photo(encode_image(noise, "PNG")))

    again = _bits(clean_photo(encode_image(noise.resize((400, 400)), "JPEG", quality=50)))
    different = _bits(clean_photo(encode_image(other, "PNG")))

    assert (first ^ again).bit_count() <= 10
    assert (first ^ different).bit_count() > 16


def test_the_perceptual_hash_compares_brightness_from_left_to_right() -> None:
    rising = Image.linear_gradient("L").rotate(90)

    assert clean_photo(encode_image(rising, "PNG")).perceptual_hash == "f" * 16
    assert clean_photo(encode_image(rising.rotate(180), "PNG")).perceptual_hash == "0" * 16


def _bits(photo: CleanPhoto) -> int:
    assert len(photo.perceptual_hash) == 16
    return int(photo.perceptual_hash, 16)


def test_a_thin_line_survives_resizing() -> None:
    image = Image.new("RGB", (4000, 4000), "white")
    ImageDraw.Draw(image).line((0, 2000, 4000, 2000), fill="black", width=40)

    assert open_photo(clean_photo(encode_image(image, "PNG"))).getpixel((512, 512)) == (0, 0, 0)
