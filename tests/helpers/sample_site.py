"""The sample catalogue that the sites of system tests are filled with."""

from typing import Final

from demo.sample import phone_photo, sample_items
from demo.sample.items import SampleItem
from tests.helpers.pictures import jpeg_of

ITEMS: Final = 40


def photographed_item() -> SampleItem:
    """Return the item that `query_photo` shows."""
    return sample_items(ITEMS)[7]


def query_photo() -> bytes:
    """Draw a phone photo of the item, as JPEG."""
    return jpeg_of(phone_photo(photographed_item()))
