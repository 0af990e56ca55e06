"""Untrusted pictures: checked, turned upright, stripped of metadata, re-encoded.

Nothing of a picture is kept but its pixels, and the same bytes always give the same result.
"""

import hashlib
import io
import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext as _
from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from catalog.errors import Refused
from ml.formats.image_hash import difference_hash, hash_to_text

# These make Pillow know the formats; without the imports it would load all of its forty readers to find one.
_READERS: Final = (AvifImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)

LONG_SIDE: Final = 1024  # pixels; encoders look at 224 to 384, people at about 800
_LONG_ENOUGH = 960  # a quarter of a phone's 4000 or 4032: the decoder gives it at once, and nothing is left to resize
SHORT_SIDE: Final = 16  # below this there is nothing to recognise
QUALITY: Final = 95
SMALL: Final = 400  # pixels of the long side up to which nothing is spared: what an encoder sees would move
MAX_SCANS: Final = 100  # a progressive JPEG has about ten; thousands keep a decoder busy for minutes
TAKEN: Final = "JPEG, PNG, WebP, AVIF, HEIC, GIF"

# The codes of what is refused. They never change; the sentences may.
EMPTY: Final = "photo_empty"
TOO_LARGE: Final = "photo_too_large"
UNREADABLE: Final = "photo_unreadable"
UNSUPPORTED: Final = "photo_format_unsupported"
DAMAGED: Final = "photo_damaged"
TOO_MANY_PIXELS: Final = "photo_too_many_pixels"
TOO_SMALL: Final = "photo_too_small"
TOO_NARROW: Final = "photo_too_narrow"

_BAND_PIXELS = 1 << 20  # how much of a large picture is converted at a time

# How other common files begin, so that the sentence can name them.
_OTHERS = (
    (b"II*\0", "TIFF or camera raw"),
    (b"MM\0*", "TIFF or camera raw"),
    (b"BM", "BMP"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\0\0\1\0", "icon"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL", "JPEG XL"),
    (b"<svg", "SVG"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the EXIF tag

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanPhoto:
    """A picture that is safe to keep and to show: an upright RGB JPEG in sRGB, without metadata."""

    content: bytes
    width: int
    height: int
    sha256: str  # of the content
    perceptual_hash: str  # 64 bits as 16 hexadecimal digits; few bits differ between alike pictures


def source_hash(raw: bytes) -> str:
    """The SHA-256 of a file as it was given."""
    return hashlib.sha256(raw).hexdigest()


def clean_photo(raw: bytes) -> CleanPhoto:
    """The picture in `raw`, made safe. Whatever the bytes are, it returns or raises `Refused`, nothing else.

    Of an animation it is the first frame; what is transparent becomes white.
    """
    return _encode(_opened(raw))


def photo_hash(raw: bytes, box: tuple[int, int, int, int] | None = None) -> str:
    """The perceptual hash alone of the picture in `raw`, or of the part in `box`: left, top, right, bottom in pixels.

    Raises `Refused` as `clean_photo` does, which gives the same hash.
    """
    image = _opened(raw)
    return _perceptual_hash(image.crop(box) if box else image)


def _opened(raw: bytes) -> Image.Image:
    formats = _formats_of(raw)
    try:
        # The bytes come from anyone, and Pillow's readers answer broken ones with whatever they stumble over: OSError,
        # SyntaxError, struct.error, EOFError, KeyError, MemoryError, zlib.error and more.
        return _decode(raw, formats)
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels() from None
    except Exception as error:
        logger.debug("A picture could not be decoded: %r", error)
        raise Refused(DAMAGED, "The picture is damaged or incomplete. Please send it again.") from error


def _formats_of(raw: bytes) -> list[str]:
    """The Pillow readers to try, by how the file begins. Refused if there is none."""
    if not raw:
        raise Refused(EMPTY, "The file is empty. Please choose another picture.")
    if len(raw) > settings.MAX_UPLOAD_MB * 1024 * 1024:
        detail = _("The picture is larger than {limit} MB, the most we take. Please send a smaller one.")
        raise Refused(TOO_LARGE, detail.format(limit=settings.MAX_UPLOAD_MB), status=413)
    if raw.startswith(b"\xff\xd8\xff"):
        return ["JPEG"]
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return ["PNG"]
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return ["GIF"]
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return ["WEBP"]
    if raw[4:8] == b"ftyp":
        return _container_formats(raw[8:12])
    raise _not_taken(raw)


def _container_formats(brand: bytes) -> list[str]:
    """HEIC and AVIF are the same container, and some brands leave open which of the two it is."""
    if brand in (b"avif", b"avis"):
        return ["AVIF"]
    if brand in (*_HEIC_BRANDS, b"mif1", b"msf1"):
        _learn_heic()
        return ["HEIF"] if brand in _HEIC_BRANDS else ["AVIF", "HEIF"]
    detail = _("This looks like a film. Please send a picture of one of these kinds: {taken}.").format(taken=TAKEN)
    raise Refused(UNSUPPORTED, detail, status=415)


def _not_taken(raw: bytes) -> Refused:
    head = raw[:512].lstrip()
    name = next((name for start, name in _OTHERS if raw.startswith(start) or head.startswith(start)), None)
    if name is None and b"<svg" in head:
        name = "SVG"
    if name is None:
        detail = _("This is not a picture. Please send one of these kinds: {taken}.").format(taken=TAKEN)
        return Refused(UNREADABLE, detail, status=415)
    detail = _("Files of the kind {name} are not taken. Please send the picture as one of these: {taken}.")
    return Refused(UNSUPPORTED, detail.format(name=name, taken=TAKEN), status=415)


@cache
def _learn_heic() -> None:
    """Teach Pillow HEIC, at the first such picture: the library takes a tenth of a second to load."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _decode(raw: bytes, formats: list[str]) -> Image.Image:
    """The picture upright, in sRGB, no larger than it is kept."""
    if formats == ["JPEG"] and raw.count(b"\xff\xda") > MAX_SCANS:
        raise Refused(DAMAGED, "The picture is stored in a wasteful way. Please save it as a plain JPEG.")
    with Image.open(io.BytesIO(raw), formats=formats) as image:
        _check_measures(*image.size)
        _prepare(image)
        image.load()
        small = _fit(_shrink(image))
        return _turned(_in_srgb(small, image.info.get("icc_profile")), _orientation(image))


def _check_measures(width: int, height: int) -> None:
    """Judge a picture by its header alone, so that a huge one costs nothing."""
    if width * height > settings.MAX_PHOTO_MEGAPIXELS * 1_000_000:
        raise _too_many_pixels()
    if min(width, height) < SHORT_SIDE:
        detail = _(
            "The picture has {width} x {height} pixels; {least} on each side are needed. Please send a larger one."
        )
        raise Refused(TOO_SMALL, detail.format(width=width, height=height, least=SHORT_SIDE))
    if min(width, height) * LONG_SIDE < SHORT_SIDE * max(width, height):
        raise Refused(TOO_NARROW, "The picture is a very narrow strip. Please crop it to the garment.")


def _too_many_pixels() -> Refused:
    detail = _("The picture has more than {limit} megapixels, the most we take. Please send a smaller one.")
    return Refused(TOO_MANY_PIXELS, detail.format(limit=settings.MAX_PHOTO_MEGAPIXELS), status=413)


def _prepare(image: Image.Image) -> None:
    """Settle, before the pixels are read, what the reader can do better than we can later."""
    width, height = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile) and max(width, height) > LONG_SIDE:
        scale = _LONG_ENOUGH / max(width, height)
        # The decoder shrinks by 2, 4 or 8 on its way, to this or more: a phone's photo takes a seventh of the time.
        image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile and str(image.tile[0].args).endswith(";16B"):
        _halve_transparency(image.info)


def _halve_transparency(info: dict[Any, Any]) -> None:
    """A 16-bit PNG names its transparent colour in 16 bits, its pixels are read in 8."""
    key = info.get("transparency")
    if isinstance(key, int):
        info["transparency"] = key >> 8
    elif isinstance(key, tuple):
        info["transparency"] = tuple(part >> 8 for part in key)


def _shrink(image: Image.Image) -> Image.Image:
    """The picture without transparency as L, RGB or CMYK, averaged down to at most four times what is kept.

    Band by band, so that a large picture takes little more memory than its own pixels.
    """
    width, height = image.size
    factor = max(1, max(width, height) // (2 * LONG_SIDE))
    if factor == 1:
        return _plain(image)
    rows = max(1, _BAND_PIXELS // (width * factor)) * factor
    bands = [
        _plain(image.crop((0, top, width, min(height, top + rows)))).reduce(factor) for top in range(0, height, rows)
    ]
    small = Image.new(bands[0].mode, (bands[0].width, -(-height // factor)))
    for number, band in enumerate(bands):
        small.paste(band, (0, number * rows // factor))
    return small


def _plain(band: Image.Image) -> Image.Image:
    """The band as L, RGB or CMYK, on white where it is transparent."""
    key = band.info.get("transparency")
    if band.mode.startswith("I"):
        band = band.point(lambda value: value * (1 / 256)).convert("L")  # convert alone would clip, not scale
        if key is not None:
            band.info["transparency"] = key
    if key is not None or band.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        band = band.convert("RGBA")
        white = Image.new("RGB", band.size, "white")
        white.paste(band.convert("RGB"), mask=band.getchannel("A"))
        return white
    if band.mode in ("L", "RGB", "CMYK"):
        return band
    return band.convert("L" if band.mode == "1" else "RGB")


def _fit(image: Image.Image) -> Image.Image:
    """The picture with its long side at most `LONG_SIDE`; a small one stays as it is."""
    scale = LONG_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB. A profile that is broken, or not for such pixels, is taken for absent."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == "RGB" and image.mode == "L":
                image = image.convert("RGB")  # a grey picture may carry the profile of the screen it was made on
            converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8. pillow-heif turns its pictures itself and then says 1."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata, in as many ways as there are cameras, is no reason to refuse a good picture
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _encode(image: Image.Image) -> CleanPhoto:
    image.info = {}  # what the encoder finds there it would write
    buffer = io.BytesIO()
    quality = 100 if max(image.size) <= SMALL else QUALITY
    image.save(buffer, "JPEG", quality=quality, subsampling="4:4:4")  # coarser colours would move it as well
    content = buffer.getvalue()
    return CleanPhoto(content, image.width, image.height, source_hash(content), _perceptual_hash(image))


def _perceptual_hash(image: Image.Image) -> str:
    return hash_to_text(difference_hash(image))
