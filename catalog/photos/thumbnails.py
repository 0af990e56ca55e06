"""Thumbnails, made on request and not stored: browsers cache them for a year."""

from io import BytesIO

from django.db.models.fields.files import FieldFile
from PIL import Image

from catalog.photos.crops import Crop, crop_box

WIDTHS = {"160": 160, "320": 320, "640": 640}


def thumbnail(file: FieldFile, width: int, crop: Crop | None = None) -> bytes:
    """Scale a stored photo, or a crop of it, to a JPEG of at most `width` pixels."""
    with file.open("rb") as handle, Image.open(handle) as stored:
        picture: Image.Image = stored
        if crop is None:
            stored.draft("RGB", (width, width))  # decode at a fraction of the size: several times faster
        else:
            picture = stored.crop(crop_box(crop, *stored.size))
        height = max(1, round(picture.height * width / picture.width))
        if picture.width > width:
            picture.thumbnail((width, height), Image.Resampling.BICUBIC)
        target = BytesIO()
        picture.convert("RGB").save(target, "JPEG", quality=82, optimize=True)
    return target.getvalue()
