"""What is taken, and how it comes out."""

import itertools
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from catalog.photos.clean import LONG_SIDE, CleanPhoto, clean_photo, source_hash
from tests.helpers.pictures import (
    BLUE,
    CORNERS,
    GREEN,
    KINDS,
    RED,
    YELLOW,
    drawing,
    interlaced_png,
    opened,
    png16,
    stored,
    turned,
)


def corners(photo: CleanPhoto) -> list[tuple[int, ...]]:
    """The colours at the middles of the four quarters."""
    image = opened(photo)
    left, right, top, bottom = image.width // 4, image.width * 3 // 4, image.height // 4, image.height * 3 // 4
    return [image.getpixel(place) for place in ((left, top), (right, top), (left, bottom), (right, bottom))]


def alike(found: list[tuple[int, ...]], wanted: Any, tolerance: int = 12) -> bool:
    pairs = zip(found, wanted, strict=True)
    return all(abs(a - b) <= tolerance for one, other in pairs for a, b in zip(one, other, strict=True))


# --- what is taken


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_picture(kind: str) -> None:
    photo = clean_photo(stored(drawing(), kind))

    assert (photo.width, photo.height) == (96, 64)
    assert alike(corners(photo), CORNERS)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_container_that_does_not_say_which_kind_it_is_is_taken(kind: str) -> None:
    raw = stored(drawing(), kind)

    assert alike(corners(clean_photo(raw[:8] + b"mif1" + raw[12:])), CORNERS)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_may_be_grey_or_made_for_print(mode: str) -> None:
    wanted = drawing(mode=mode).convert("RGB")

    photo = clean_photo(stored(drawing(mode=mode), "JPEG"))

    assert alike(corners(photo), [wanted.getpixel(place) for place in ((24, 16), (72, 16), (24, 48), (72, 48))])


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA"])
def test_a_png_may_have_any_kind_of_pixel(mode: str) -> None:
    wanted = drawing(mode=mode).convert("RGB")

    photo = clean_photo(stored(drawing(mode=mode), "PNG"))

    found = opened(photo)
    assert found.mode == "RGB"
    assert alike([found.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))], [_mean(wanted)])


def _mean(image: Image.Image) -> Any:
    return image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def test_a_progressive_jpeg_is_taken() -> None:
    assert alike(corners(clean_photo(stored(drawing(), "JPEG", progressive=True))), CORNERS)


def test_an_interlaced_png_is_taken() -> None:
    assert alike(corners(clean_photo(interlaced_png())), [(90, 90, 90)] * 4)


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
def test_sixteen_bits_a_channel_are_scaled_not_cut(
    pixel: tuple[int, ...], clear: tuple[int, ...], shown: tuple[int, ...]
) -> None:
    assert alike(corners(clean_photo(png16(pixel, clear=clear))), [shown] * 4, tolerance=4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "HEIF"])
def test_what_is_transparent_becomes_white(kind: str) -> None:
    image = drawing(mode="RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 48, 32))

    assert alike(corners(clean_photo(stored(image, kind))), [(255, 255, 255), GREEN, BLUE, YELLOW])


def test_a_palette_with_a_transparent_colour_is_shown_on_white() -> None:
    image = drawing(mode="P")
    clear = image.getpixel((5, 5))

    photo = clean_photo(stored(image, "PNG", transparency=clear))

    assert alike(corners(photo)[:1], [(255, 255, 255)], tolerance=60)  # the palette is dithered


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN, BLUE)]

    for kind in ("GIF", "WEBP", "AVIF", "PNG"):
        raw = stored(frames[0], kind, save_all=True, append_images=frames[1:])
        assert alike(corners(clean_photo(raw)), [RED] * 4), kind


# --- how it comes out

# Where the four corners end up for each way of holding the camera.
TURNED = {
    1: (RED, GREEN, BLUE, YELLOW),
    2: (GREEN, RED, YELLOW, BLUE),
    3: (YELLOW, BLUE, GREEN, RED),
    4: (BLUE, YELLOW, RED, GREEN),
    5: (RED, BLUE, GREEN, YELLOW),
    6: (BLUE, RED, YELLOW, GREEN),
    7: (YELLOW, GREEN, BLUE, RED),
    8: (GREEN, YELLOW, RED, BLUE),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_every_picture_comes_out_upright_and_is_turned_once(kind: str, orientation: int) -> None:
    photo = clean_photo(stored(drawing(), kind, exif=turned(orientation)))

    assert (photo.width, photo.height) == ((64, 96) if orientation > 4 else (96, 64))
    assert alike(corners(photo), TURNED[orientation])


def test_a_large_picture_is_turned_as_well_as_a_small_one() -> None:
    photo = clean_photo(stored(drawing((2400, 1600)), "JPEG", exif=turned(6)))

    assert (photo.width, photo.height) == (683, LONG_SIDE)
    assert alike(corners(photo), TURNED[6])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_metadata_does_not_spoil_a_good_picture() -> None:
    raw = stored(drawing(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage", icc_profile=b"not a profile")

    assert alike(corners(clean_photo(raw)), CORNERS)


def test_nothing_but_the_picture_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngInfo()
    text.add_text("Author", "SecretName")
    sources = [
        stored(drawing(), "JPEG", exif=exif.tobytes(), comment=b"SecretWords", icc_profile=profile),
        stored(drawing(), "PNG", pnginfo=text, exif=exif.tobytes(), icc_profile=profile),
        stored(drawing(), "GIF", comment=b"SecretWords"),
        stored(drawing(), "WEBP", exif=exif.tobytes(), xmp=b"<x>Secret</x>"),
    ]

    for raw in sources:
        image = opened(clean_photo(raw))
        assert b"Secret" in raw
        assert b"Secret" not in clean_photo(raw).content
        assert not image.getexif()
        assert set(image.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_a_wide_gamut_picture_is_shown_in_the_colours_it_means() -> None:
    swapped = _profile_with_red_and_green_swapped()

    photo = clean_photo(stored(Image.new("RGB", (32, 32), (250, 10, 10)), "PNG", icc_profile=swapped))

    red, green, _ = corners(photo)[0]
    assert green > 200 > 60 > red


def _profile_with_red_and_green_swapped() -> bytes:
    """sRGB with the two colours exchanged: whoever ignores it shows green as red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for one, other in ((b"rXYZ", b"gXYZ"),):
        # The table of tags comes first, and only there the names appear.
        profile = profile.replace(one, b"????", 1).replace(other, one, 1).replace(b"????", other, 1)
    return profile


def test_a_profile_for_other_pixels_is_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    assert clean_photo(stored(drawing(mode="CMYK"), "JPEG", icc_profile=profile)).width == 96
    assert clean_photo(stored(drawing(mode="L"), "JPEG", icc_profile=profile)).width == 96


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "kept"), [((1025, 500), (1024, 500)), ((3000, 2000), (1024, 683)), ((500, 5000), (102, 1024))]
)
def test_a_large_picture_is_reduced_and_keeps_its_shape(
    kind: str, size: tuple[int, int], kept: tuple[int, int]
) -> None:
    photo = clean_photo(stored(drawing(size), kind))

    assert (photo.width, photo.height) == kept
    assert alike(corners(photo), CORNERS)


def test_a_phone_photo_takes_the_size_that_its_decoder_gives() -> None:
    photo = clean_photo(stored(drawing((4032, 3024)), "JPEG"))

    assert (photo.width, photo.height) == (1008, 756)
    assert alike(corners(photo), CORNERS)


def test_reducing_in_bands_leaves_no_seams() -> None:
    gradient = Image.linear_gradient("L").resize((3000, 6001), Image.Resampling.BICUBIC)

    image = opened(clean_photo(stored(gradient, "PNG"))).convert("L")

    column = [image.getpixel((image.width // 2, y)) for y in range(image.height)]
    assert column[0] < 4
    assert column[-1] > 250
    assert all(-1 <= after - before <= 2 for before, after in itertools.pairwise(column))


def test_a_small_picture_is_not_enlarged() -> None:
    assert clean_photo(stored(drawing((16, 20)), "PNG")).width == 16


def test_the_same_bytes_give_the_same_result() -> None:
    for kind in KINDS:
        raw = stored(drawing(), kind)
        assert clean_photo(raw) == clean_photo(raw)


def test_the_hash_is_that_of_the_content() -> None:
    photo = clean_photo(stored(drawing(), "PNG"))

    assert photo.sha256 == source_hash(photo.content)
    assert source_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_alike_pictures_have_alike_hashes() -> None:
    noise = Image.effect_noise((300, 300), 90).resize((600, 600))
    other = Image.effect_noise((300, 300), 90)
    first = _bits(clean_photo(stored(noise, "PNG")))

    again = _bits(clean_photo(stored(noise.resize((400, 400)), "JPEG", quality=50)))
    different = _bits(clean_photo(stored(other, "PNG")))

    assert (first ^ again).bit_count() <= 10
    assert (first ^ different).bit_count() > 16


def test_the_perceptual_hash_reads_brightness_from_left_to_right() -> None:
    rising = Image.linear_gradient("L").rotate(90)

    assert clean_photo(stored(rising, "PNG")).perceptual_hash == "f" * 16
    assert clean_photo(stored(rising.rotate(180), "PNG")).perceptual_hash == "0" * 16


def _bits(photo: CleanPhoto) -> int:
    assert len(photo.perceptual_hash) == 16
    return int(photo.perceptual_hash, 16)


def test_a_drawing_of_a_line_survives_the_reduction() -> None:
    image = Image.new("RGB", (4000, 4000), "white")
    ImageDraw.Draw(image).line((0, 2000, 4000, 2000), fill="black", width=40)

    assert opened(clean_photo(stored(image, "PNG"))).getpixel((512, 512)) == (0, 0, 0)
