"""One site for all tests of this folder: starting one takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.sample import phone_photo, sample_items, write_sample
from tests.helpers.pictures import jpeg_of
from tests.helpers.site import Phone, Site

ITEMS = 40


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, ITEMS)
    return folder


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.set_up(sample)
        yield site
    finally:
        site.stop()


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The shared site with every process running, whatever the test before has killed."""
    missing = [name for name in shared_site.commands if name not in shared_site.processes]
    shared_site.start(*missing) if missing else None
    shared_site.wait_until_ready()
    yield shared_site


@pytest.fixture
def phone(site: Site) -> Phone:
    """The phone of a user whom no other test knows."""
    return Phone(site, site.new_user_token())


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A phone photo of the item at `PHOTOGRAPHED`."""
    return jpeg_of(phone_photo(sample_items(ITEMS)[PHOTOGRAPHED]))


PHOTOGRAPHED = 7
