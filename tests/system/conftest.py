"""Fixtures of the system tests: a site that the tests of a process share, since starting one takes 15 seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from demo.sample import write_sample
from tests.helpers.browser import Browser
from tests.helpers.run_files import make_once
from tests.helpers.sample_site import ITEMS, query_photo
from tests.helpers.site import Phone, Site

PASSWORD = "a long pass 77"


@pytest.fixture(scope="session")
def sample() -> Path:
    """Return the folder of the sample catalogue, drawn once for the test run."""
    return make_once("sample", lambda folder: write_sample(folder, ITEMS))


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
    """Yield the shared site with every process running; those that the test before killed are started again."""
    missing = [name for name in shared_site.commands if name not in shared_site.processes]
    shared_site.start(*missing) if missing else None
    shared_site.wait_until_ready()
    yield shared_site


@pytest.fixture
def phone(site: Site) -> Phone:
    """Return the phone of a new user."""
    return Phone(site, site.new_user_token())


@pytest.fixture(scope="session")
def photo() -> bytes:
    return query_photo()


@pytest.fixture
def browser(site: Site, tmp_path: Path) -> Iterator[Browser]:
    """Yield a browser at the start page; afterwards its console must be free of errors."""
    browser = Browser(site, tmp_path / "profile")
    with browser.driver:
        browser.open()
        yield browser
        assert browser.problems() == []


@pytest.fixture
def plain_browser(site: Site, tmp_path: Path) -> Iterator[Browser]:
    """Yield a browser that runs no scripts."""
    browser = Browser(site, tmp_path / "plain", scripts=False)
    with browser.driver:
        browser.open()
        yield browser


@pytest.fixture
def staff(browser: Browser, site: Site) -> Browser:
    """Return a browser whose user is signed in to the admin as a superuser."""
    site.shell(
        "from catalog.models import User;"
        "user, _ = User.objects.get_or_create(username='boss', defaults={'is_staff': True, 'is_superuser': True});"
        f"user.set_password({PASSWORD!r}); user.save()"
    )
    browser.open("/admin/")
    browser.one("[name=username]").send_keys("boss")
    browser.one("[name=password]").send_keys(PASSWORD, Keys.ENTER)
    browser.wait(lambda: "Site administration" in browser.text, "the admin")
    return browser
