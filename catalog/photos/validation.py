"""Validate and normalise an untrusted photo: EXIF orientation, sRGB, metadata stripped, re-encoded as JPEG.

Only the pixels are kept. Deterministic: the same bytes always give the same result. Decompression bombs are refused by
the header, before any pixel is decoded.
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

# Importing the plugins registers the formats; otherwise Pillow imports all of its forty plugins to find one.
_PLUGINS: Final = (AvifImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)

LONG_SIDE: Final = 1024  # pixels; encoders use 224 to 384, pages show about 800
# A quarter of a phone's 4000 or 4032: the JPEG decoder scales to it directly, without a resize afterwards.
_DRAFT_SIDE = 960
SHORT_SIDE: Final = 16  # smaller photos show nothing recognisable
QUALITY: Final = 95
FULL_QUALITY_SIDE: Final = (
    400  # long side in pixels up to which quality 100 is used: compression would change the embedding
)
MAX_SCANS: Final = 100  # a progressive JPEG has about ten; thousands keep a decoder busy for minutes
SUPPORTED: Final = "JPEG, PNG, WebP, AVIF, HEIC, GIF"

# Error codes: part of the API, never changed.
EMPTY: Final = "photo_empty"
TOO_LARGE: Final = "photo_too_large"
UNREADABLE: Final = "photo_unreadable"
UNSUPPORTED: Final = "photo_format_unsupported"
DAMAGED: Final = "photo_damaged"
TOO_MANY_PIXELS: Final = "photo_too_many_pixels"
TOO_SMALL: Final = "photo_too_small"
TOO_NARROW: Final = "photo_too_narrow"

_BAND_PIXELS = 1 << 20  # a large picture is converted in bands of this size

# Signatures of common unsupported files, so that the error message can name the format.
_UNSUPPORTED_SIGNATURES = (
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
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112  # the EXIF tag

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanPhoto:
    """A photo that is safe to store and serve: an upright JPEG in sRGB without metadata."""

    content: bytes
    width: int
    height: int
    sha256: str  # of the content
    perceptual_hash: str  # 64 bits as 16 hexadecimal digits; similar pictures differ in few bits


def source_hash(raw: bytes) -> str:
    """The SHA-256 of the original file, in hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


def clean_photo(raw: bytes) -> CleanPhoto:
    """Validate and normalise the picture in `raw`. Raises `Refused`, and nothing else, for any bytes.

    An animation gives its first frame; transparency becomes white.
    """
    return _encode(_open_image(raw))


def compute_perceptual_hash(raw: bytes, box: tuple[int, int, int, int] | None = None) -> str:
    """The perceptual hash of the picture in `raw`, or of its part in `box` (left, top, right, bottom in pixels).

    The same hash as that of `clean_photo`, and the same `Refused`.
    """
    image = _open_image(raw)
    return _perceptual_hash(image.crop(box) if box else image)


def _open_image(raw: bytes) -> Image.Image:
    formats = _detect_formats(raw)
    try:
        # The bytes are untrusted. Pillow's plugins raise OSError, SyntaxError, struct.error, EOFError, KeyError,
        # MemoryError, zlib.error and more for corrupt files.
        return _decode(raw, formats)
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels() from None
    except Exception as error:
        logger.debug("A picture could not be decoded: %r", error)
        raise Refused(DAMAGED, "The picture is damaged or incomplete. Please send it again.") from error


def _detect_formats(raw: bytes) -> list[str]:
    """The Pillow formats to try, by the file signature. Refused if there is none."""
    if not raw:
        raise Refused(EMPTY, "The file is empty. Please choose another picture.")
    if len(raw) > settings.MAX_UPLOAD_MB * 1024 * 1024:
        detail = _("The picture is larger than {limit} MB, the maximum size. Please send a smaller one.")
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
        return _detect_heif_or_avif(raw[8:12])
    raise _unsupported_format(raw)


def _detect_heif_or_avif(brand: bytes) -> list[str]:
    """Tell HEIC from AVIF by the brand of their common container; some brands can be either."""
    if brand in (b"avif", b"avis"):
        return ["AVIF"]
    if brand in (*_HEIC_BRANDS, b"mif1", b"msf1"):
        _register_heif()
        return ["HEIF"] if brand in _HEIC_BRANDS else ["AVIF", "HEIF"]
    detail = _("This looks like a video. Please send a picture of one of these types: {supported}.").format(
        supported=SUPPORTED
    )
    raise Refused(UNSUPPORTED, detail, status=415)


def _unsupported_format(raw: bytes) -> Refused:
    head = raw[:512].lstrip()
    name = next(
        (name for start, name in _UNSUPPORTED_SIGNATURES if raw.startswith(start) or head.startswith(start)), None
    )
    if name is None and b"<svg" in head:
        name = "SVG"
    if name is None:
        detail = _("This is not a picture. Please send a file of one of these types: {supported}.").format(
            supported=SUPPORTED
        )
        return Refused(UNREADABLE, detail, status=415)
    detail = _("{name} files are not supported. Please send the picture as one of these: {supported}.")
    return Refused(UNSUPPORTED, detail.format(name=name, supported=SUPPORTED), status=415)


@cache
def _register_heif() -> None:
    """Register HEIC with Pillow at the first such picture, because importing the library takes 0.1 s."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _decode(raw: bytes, formats: list[str]) -> Image.Image:
    """Decode to an upright sRGB picture of at most `LONG_SIDE`."""
    if formats == ["JPEG"] and raw.count(b"\xff\xda") > MAX_SCANS:
        raise Refused(DAMAGED, "The picture is stored in a wasteful way. Please save it as a plain JPEG.")
    with Image.open(io.BytesIO(raw), formats=formats) as image:
        _check_dimensions(*image.size)
        _configure_decoder(image)
        image.load()
        small = _fit(_shrink(image))
        return _apply_orientation(_convert_to_srgb(small, image.info.get("icc_profile")), _exif_orientation(image))


def _check_dimensions(width: int, height: int) -> None:
    """Check the size in the header, so that a decompression bomb is refused before decoding."""
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
    detail = _("The picture has more than {limit} megapixels, the maximum. Please send a smaller one.")
    return Refused(TOO_MANY_PIXELS, detail.format(limit=settings.MAX_PHOTO_MEGAPIXELS), status=413)


def _configure_decoder(image: Image.Image) -> None:
    """Set decoder options before the pixels are read: scaled JPEG decoding, 8-bit transparency."""
    width, height = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile) and max(width, height) > LONG_SIDE:
        scale = _DRAFT_SIDE / max(width, height)
        # The decoder scales by 2, 4 or 8 to at least this size: a phone photo takes a seventh of the time.
        image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile and str(image.tile[0].args).endswith(";16B"):
        _halve_transparency(image.info)


def _halve_transparency(info: dict[Any, Any]) -> None:
    """Scale the transparent colour of a 16-bit PNG to 8 bits, in which Pillow reads the pixels."""
    key = info.get("transparency")
    if isinstance(key, int):
        info["transparency"] = key >> 8
    elif isinstance(key, tuple):
        info["transparency"] = tuple(part >> 8 for part in key)


def _shrink(image: Image.Image) -> Image.Image:
    """Convert to L, RGB or CMYK without transparency and box-reduce to less than `4 * LONG_SIDE`.

    Works in bands, so a large picture takes little more memory than its own pixels.
    """
    width, height = image.size
    factor = max(1, max(width, height) // (2 * LONG_SIDE))
    if factor == 1:
        return _flatten(image)
    rows = max(1, _BAND_PIXELS // (width * factor)) * factor
    bands = [
        _flatten(image.crop((0, top, width, min(height, top + rows)))).reduce(factor) for top in range(0, height, rows)
    ]
    small = Image.new(bands[0].mode, (bands[0].width, -(-height // factor)))
    for number, band in enumerate(bands):
        small.paste(band, (0, number * rows // factor))
    return small


def _flatten(band: Image.Image) -> Image.Image:
    """Convert a band to L, RGB or CMYK on a white background."""
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
    """Resize so that the long side is at most `LONG_SIDE`; smaller pictures are unchanged."""
    scale = LONG_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from the embedded ICC profile to sRGB. A broken or unsuitable profile is ignored."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == "RGB" and image.mode == "L":
                image = image.convert("RGB")  # a grey picture may carry the RGB profile of a screen
            converted = ImageCms.profileToProfile(image, source, _srgb_profile(), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


@cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. pillow-heif applies it itself and then reports 1."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata of any kind is no reason to refuse a good picture
        return 1


def _apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def _encode(image: Image.Image) -> CleanPhoto:
    image.info = {}  # strip metadata: the JPEG encoder writes what it finds here
    buffer = io.BytesIO()
    quality = 100 if max(image.size) <= FULL_QUALITY_SIDE else QUALITY
    # Without chroma subsampling, which would change the embedding too.
    image.save(buffer, "JPEG", quality=quality, subsampling="4:4:4")
    content = buffer.getvalue()
    return CleanPhoto(content, image.width, image.height, source_hash(content), _perceptual_hash(image))


def _perceptual_hash(image: Image.Image) -> str:
    return hash_to_text(difference_hash(image))
