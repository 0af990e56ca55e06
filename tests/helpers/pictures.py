"""Small generated pictures in every format, valid and malformed."""

import io
import struct
import zlib
from typing import Any

import pillow_heif
from PIL import Image, ImageDraw

from catalog.photos.validation import CleanPhoto

RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 160, 30), (30, 30, 200), (220, 210, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)  # top left, top right, bottom left, bottom right


KINDS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF")  # the formats that clean_photo supports


def four_colours(size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """Four quarters in four colours, so that every rotation and flip is visible."""
    width, height = size
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    for number, colour in enumerate(CORNERS):
        left, top = number % 2 * width // 2, number // 2 * height // 2
        draw.rectangle((left, top, left + width // 2, top + height // 2), fill=colour)
    return image.convert(mode)


def encode_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encode an image in a Pillow format."""
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of(image: Image.Image) -> bytes:
    """Encode a picture as a phone would send it."""
    return encode_image(image, "JPEG", quality=88)


def png16(pixel: tuple[int, ...], size: tuple[int, int] = (32, 32), *, clear: tuple[int, ...] = ()) -> bytes:
    """A PNG of one colour with 16 bits per channel, which Pillow cannot write; `clear` is its transparent colour."""
    width, height = size
    kind = {1: 0, 3: 2, 4: 6}[len(pixel)]
    row = b"\0" + struct.pack(f">{len(pixel)}H", *pixel) * width
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if clear:
        chunks.append(_chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)))
    chunks += [_chunk(b"IDAT", zlib.compress(row * height)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_that_claims(width: int, height: int) -> bytes:
    """A decompression bomb: a small PNG whose header declares a huge picture."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + _chunk(b"IEND", b"")


def interlaced_png() -> bytes:
    """A grey 20 x 20 Adam7 PNG; every pixel is 90."""
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    data = b""
    for left, top, across, down in steps:
        width, height = -(-(20 - left) // across), -(-(20 - top) // down)
        data += (b"\0" + b"\x5a" * width) * height
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 20, 8, 0, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(data)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def exif_with_orientation(orientation: int) -> bytes:
    """EXIF data with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def open_photo(photo: CleanPhoto) -> Image.Image:
    return Image.open(io.BytesIO(photo.content))
