"""Sample catalogue of garments drawn by code: identical on every machine and free of third-party pictures."""

from demo.sample.items import SampleItem, sample_items
from demo.sample.phone import phone_photo
from demo.sample.scene import draw_photo
from demo.sample.write import write_sample

__all__ = ["SampleItem", "draw_photo", "phone_photo", "sample_items", "write_sample"]
