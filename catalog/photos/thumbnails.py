"""Small pictures, made when they are asked for. Browsers keep them for a year, so nothing is stored here."""

from io import BytesIO

from django.db.models.fields.files import FieldFile
from PIL import Image

from catalog.photos.crops import Crop, crop_box

WIDTHS = {"160": 160, "320": 320, "640": 640}


def thumbnail(file: FieldFile, width: int, crop: Crop | None = None) -> bytes:
    """A JPEG at most `width` wide, of a picture that was cleaned before it was stored, or of a part of it."""
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
