"""Small pictures, made when they are asked for. Browsers keep them for a year, so nothing is stored here."""

from io import BytesIO

from django.db.models.fields.files import FieldFile
from PIL import Image

WIDTHS = {"160": 160, "320": 320, "640": 640}


def thumbnail(file: FieldFile, width: int) -> bytes:
    """A JPEG at most `width` wide, of a picture that was cleaned before it was stored."""
    with file.open("rb") as handle, Image.open(handle) as picture:
        picture.draft("RGB", (width, width))  # decode at a fraction of the size: several times faster
        height = max(1, round(picture.height * width / picture.width))
        if picture.width > width:
            picture.thumbnail((width, height), Image.Resampling.BICUBIC)
        target = BytesIO()
        picture.convert("RGB").save(target, "JPEG", quality=82, optimize=True)
    return target.getvalue()
