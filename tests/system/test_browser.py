"""The pages in a real Chromium: with scripts, without them, by keyboard, on a narrow screen, and the staff's side."""

import contextlib
import json
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from demo.sample import sample_items
from tests.helpers.site import Phone, Site, wait_until
from tests.system.conftest import ITEMS, PHOTOGRAPHED

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver on PATH"),
]

FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "window-size=1280,900",
)
NO_SCRIPTS = {"profile.managed_default_content_settings.javascript": 2}
NOISE = "the server responded with a status of 4"  # Chromium's own remark on an answer that we mean
PASSWORD = "a long pass 77"

DROP = """
const [place, name, base64] = arguments;
const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], name, {type: "image/jpeg"}));
for (const kind of ["dragenter", "dragover", "drop"])
  place.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: data}));
"""

LOADED = "return [...document.querySelectorAll(arguments[0])].every((picture) => picture.naturalWidth)"


class Browser:
    """One person's Chromium, with cookies of its own, open at the site."""

    def __init__(self, site: Site, profile: Path, *, scripts: bool = True) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if not scripts:
            options.add_experimental_option("prefs", NO_SCRIPTS)
        self.site = site
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def open(self, path: str = "/") -> None:
        self.driver.get(self.site.address + path)

    @property
    def path(self) -> str:
        return urlsplit(self.driver.current_url).path

    @property
    def text(self) -> str:
        return self.one("body").text

    def shown(self, css: str) -> str:
        """The address of a picture; nothing if it is not there."""
        return next((str(one.get_attribute("src")) for one in self.all(css)), "")

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def choose(self, photo: Path) -> None:
        self.one("#photo").send_keys(str(photo))

    def send(self) -> None:
        self.one("#upload button").click()

    def wait(self, look: Callable[[], object], what: str) -> None:
        """Return once `look` sees it; a page that is just being replaced shows nothing."""

        def calmly() -> object:
            with contextlib.suppress(NoSuchElementException, StaleElementReferenceException):
                return look()
            return None

        wait_until(calmly, what)

    def names(self) -> list[str]:
        """The names of the items in the grid, best first, once there is a grid."""
        self.wait(lambda: self.all(".match"), "the grid")
        return [heading.text for heading in self.all(".match h2")]

    def press(self, key: str) -> None:
        """A key for whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(key).perform()

    def has_focus(self, element: WebElement) -> bool:
        return bool(self.driver.switch_to.active_element == element)

    def width(self, pixels: int) -> None:
        metrics = {"width": pixels, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def complaints(self) -> list[str]:
        """What the console holds against our pages, addresses elsewhere that were asked for, and lost files."""
        errors = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        answers = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
        lost = [one["url"] for one in answers if one["status"] >= 400 and "/static/" in one["url"]]
        ours = (self.site.address, "blob:", "data:", "chrome:", "chrome-untrusted:", "about:")  # and its own first page
        elsewhere = [url for url in asked if not url.startswith(ours)]
        return [error for error in errors if NOISE not in error] + elsewhere + lost


@pytest.fixture
def browser(site: Site, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must have nothing to complain about at the end."""
    browser = Browser(site, tmp_path / "profile")
    with browser.driver:
        browser.open()
        yield browser
        assert browser.complaints() == []


@pytest.fixture
def plain_browser(site: Site, tmp_path: Path) -> Iterator[Browser]:
    """A browser that runs no scripts."""
    browser = Browser(site, tmp_path / "plain", scripts=False)
    with browser.driver:
        browser.open()
        yield browser


@pytest.fixture
def picture(tmp_path: Path, photo: bytes) -> Path:
    file = tmp_path / "coat.jpg"
    file.write_bytes(photo)
    return file


@pytest.fixture
def no_picture(tmp_path: Path) -> Path:
    file = tmp_path / "notes.jpg"
    file.write_text("a shopping list")
    return file


def photographed() -> str:
    return sample_items(ITEMS)[PHOTOGRAPHED].name


def test_a_chosen_photo_is_shown_and_answered_on_the_same_page(browser: Browser, picture: Path) -> None:
    browser.run("window.mark = 'the same page'")
    browser.choose(picture)
    browser.wait(lambda: browser.one("#preview").is_displayed(), "the preview")
    assert browser.one("#photo-label").text == "coat.jpg"
    browser.run(
        "window.seen = [];"
        "new MutationObserver(() => seen.push(document.querySelector('h1').textContent))"
        ".observe(document.getElementById('main'), {childList: true})"
    )
    browser.send()
    assert photographed() in browser.names()[:3]
    assert browser.run("return window.mark") == "the same page"
    assert browser.run("return seen[0]").startswith("Finding")
    assert browser.path.startswith("/queries/")
    assert [rank.text.split()[-1] for rank in browser.all(".rank")] == [str(rank) for rank in range(1, 13)]
    assert "12 items found" in browser.run("return document.getElementById('announce').textContent")
    assert browser.has_focus(browser.one("h1"))
    assert all(browser.run("return [...document.images].map((image) => image.alt)")[1:])


def test_the_answer_outlives_a_reload_and_going_back_leads_to_the_form(browser: Browser, picture: Path) -> None:
    browser.choose(picture)
    browser.send()
    names = browser.names()
    browser.driver.refresh()
    assert browser.names() == names
    browser.driver.back()
    browser.wait(lambda: browser.path == "/" and browser.all("#photo"), "the form")


def test_a_photo_can_be_dropped_on_the_field(browser: Browser, photo: bytes) -> None:
    browser.run(DROP, browser.one("#drop"), "dropped.jpg", b64encode(photo).decode())
    browser.wait(lambda: browser.one("#preview").is_displayed(), "the preview")
    assert browser.one("#photo-label").text == "dropped.jpg"
    browser.send()
    assert photographed() in browser.names()[:3]


def test_without_scripts_the_form_the_thumbs_and_the_consent_work_too(plain_browser: Browser, picture: Path) -> None:
    assert not plain_browser.all(".drop.scripted")
    plain_browser.choose(picture)
    plain_browser.send()
    plain_browser.wait(lambda: plain_browser.path.startswith("/queries/"), "the page of the query")
    assert photographed() in plain_browser.names()[:3]
    page = plain_browser.path
    thumb(plain_browser, 2, "down").click()
    plain_browser.wait(lambda: is_pressed(plain_browser, 2, "down"), "the thumb")
    plain_browser.one("#may-train").click()
    plain_browser.one("#consent button").click()
    plain_browser.wait(lambda: plain_browser.one("#may-train").is_selected(), "the consent")
    assert plain_browser.path == page
    plain_browser.one(".delete summary").click()
    plain_browser.one(".delete button").click()
    plain_browser.wait(lambda: plain_browser.path == "/", "the start page")
    plain_browser.open(page)
    assert "There is nothing at this address" in plain_browser.text


@pytest.mark.parametrize("kind", ["browser", "plain_browser"])
def test_a_text_in_the_place_of_a_photo_gets_a_sentence_and_another_try(
    kind: str, request: pytest.FixtureRequest, picture: Path, no_picture: Path
) -> None:
    browser: Browser = request.getfixturevalue(kind)
    browser.choose(no_picture)
    browser.send()
    browser.wait(lambda: "This is not a picture." in browser.one("#refusal").text, "the sentence")
    assert browser.path == "/"
    browser.choose(picture)
    browser.send()
    assert photographed() in browser.names()[:3]


def test_somebody_elses_browser_sees_nothing_at_the_address(
    browser: Browser, plain_browser: Browser, picture: Path
) -> None:
    browser.choose(picture)
    browser.send()
    browser.names()
    plain_browser.open(browser.path)
    assert "There is nothing at this address, or it is not yours." in plain_browser.text
    assert not plain_browser.all(".match")


def test_nothing_is_wider_than_a_small_phone(browser: Browser, picture: Path) -> None:
    def overflow() -> int:
        return int(browser.run("return document.documentElement.scrollWidth - 360"))

    browser.width(360)
    assert overflow() <= 0
    browser.choose(picture)
    browser.wait(lambda: browser.one("#preview").is_displayed(), "the preview")
    assert overflow() <= 0
    browser.send()
    browser.names()
    assert overflow() <= 0
    browser.open("/nothing/here")
    assert overflow() <= 0


def test_the_form_can_be_used_with_the_keyboard_alone(browser: Browser, picture: Path) -> None:
    def outline(css: str) -> str:
        return str(browser.run("return getComputedStyle(document.querySelector(arguments[0])).outlineStyle", css))

    for _ in range(5):  # the link to the content, the name of the site, two links to elsewhere
        browser.press(Keys.TAB)
    assert browser.has_focus(browser.one("#photo"))
    assert outline("#drop") == "solid"
    browser.choose(picture)
    browser.press(Keys.TAB)
    assert browser.has_focus(browser.one("#upload button"))
    assert outline("#upload button") == "solid"
    browser.press(Keys.ENTER)
    assert photographed() in browser.names()[:3]


def announced(browser: Browser) -> str:
    return str(browser.run("return document.getElementById('announce').textContent"))


def thumb(browser: Browser, rank: int, side: str) -> WebElement:
    return browser.one(f"#match-{rank} .thumb-{side}")


def is_pressed(browser: Browser, rank: int, side: str) -> bool:
    return thumb(browser, rank, side).get_attribute("aria-pressed") == "true"


def test_thumbs_work_by_keyboard_and_say_so(browser: Browser, picture: Path, site: Site) -> None:
    browser.choose(picture)
    browser.send()
    browser.names()
    for key in (Keys.ENTER, Keys.SPACE):
        before = is_pressed(browser, 2, "up")
        browser.run("arguments[0].focus()", thumb(browser, 2, "up"))
        browser.press(key)
        browser.wait(lambda before=before: is_pressed(browser, 2, "up") != before, "the thumb")  # type: ignore[misc]
        assert browser.has_focus(thumb(browser, 2, "up"))
        assert announced(browser) == ("Your mark is removed." if before else "Marked as a good match.")
    thumb(browser, 3, "down").click()
    browser.wait(lambda: is_pressed(browser, 3, "down"), "the other thumb")
    link = "const a = document.createElement('a'); a.href = '#there'; a.dataset.opens = arguments[0]; a.id = 'link';"
    browser.run(link + "document.querySelector('#match-1 h2').append(a); a.click()", thumbs_of(browser, 1))
    browser.run("document.getElementById('may-train').click()")
    browser.wait(lambda: "may be learned from" in announced(browser), "the consent")
    said = (
        "from catalog.models import Feedback, UploadedPhoto as U;"
        f"mine = Feedback.objects.filter(recommendation__query='{browser.path.split('/')[2]}');"
        "print(*[(one.recommendation.rank, one.verdict, bool(one.clicked_at)) for one in mine.order_by('pk')],"
        "U.objects.filter(may_train=True).count())"
    )
    browser.wait(lambda: "(3, 'down', False) (1, '', True) 1" in site.shell(said), "what was said")


def thumbs_of(browser: Browser, rank: int) -> str:
    return browser.one(f"#match-{rank} .thumbs").get_attribute("id") or ""


@pytest.fixture
def staff(browser: Browser, site: Site) -> Browser:
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


def test_staff_open_every_list_and_a_query_with_its_matches(staff: Browser, phone: Phone, photo: bytes) -> None:
    query = phone.post(photo, wait=20, k=3).json()
    paths = {urlsplit(link.get_attribute("href") or "").path for link in staff.all("#nav-sidebar a[href^='/admin/']")}
    lists = {path for path in paths if path.count("/") == 4}  # /admin/application/model/
    assert len(lists) >= 10
    for path in sorted(lists):
        staff.open(path)
        staff.wait(lambda: staff.all("#changelist, #result_list"), path)  # a driver may return a moment too early
    staff.open(f"/admin/catalog/similarityquery/{query['id']}/change/")
    staff.wait(lambda: len(staff.all("img[src*='/photos/items/']")) == 3, "the three matches")
    assert query["recommendations"][0]["item"]["name"] in staff.text


def test_staff_decide_about_triplets_with_keys_alone(staff: Browser, site: Site, phone: Phone, photo: bytes) -> None:
    site.shell("from catalog.models import Triplet; Triplet.objects.all().delete()")
    found = phone.post(photo, wait=20, k=4).json()["recommendations"]
    for one, verdict in zip(found, ("up", "down", "down", "down"), strict=True):
        address = f"{site.address}/api/v1/recommendations/{one['id']}/feedback/"
        said = {"verdict": verdict, "may_train": True}
        assert requests.post(address, json=said, headers=phone.headers, timeout=20).json() == said | {"clicked": False}
    staff.open("/admin/")
    staff.one("#nav-sidebar a[href$='/triplet/review/']").click()
    staff.run("window.mark = 'the same page'")
    seen = []
    for key in ("y", "n", Keys.ARROW_LEFT, "s", "y"):
        before = staff.one("#review-photo").get_attribute("src")
        seen.append(staff.one(".review-progress").text)
        staff.wait(lambda: staff.run(LOADED, ".review-pictures img"), "the pictures")
        staff.press(key)
        staff.wait(lambda before=before: staff.shown("#review-photo") != before, "the next one")  # type: ignore[misc]
    assert seen == ["1 of 3", "2 of 3", "3 of 3", "2 of 3", "3 of 3"]
    assert "Nothing waits for a decision now." in staff.text
    assert staff.run("return window.mark") == "the same page"
    states = "from catalog.models import Triplet as T; print(*T.objects.order_by('pk').values_list('state', flat=True))"
    assert site.shell(states).split() == ["accepted", "skipped", "accepted"]
    staff.width(360)
    assert staff.run("return document.documentElement.scrollWidth") <= 360
