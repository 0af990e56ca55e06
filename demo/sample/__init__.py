"""A sample catalogue of garments drawn by code: the same on every machine, and nobody else's picture in it."""

from demo.sample.items import SampleItem, sample_items
from demo.sample.phone import phone_photo
from demo.sample.scene import draw_photo
from demo.sample.write import write_sample

__all__ = ["SampleItem", "draw_photo", "phone_photo", "sample_items", "write_sample"]
