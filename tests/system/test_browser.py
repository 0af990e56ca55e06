"""The web pages and the admin in a real Chromium: with and without scripts, by keyboard, on a narrow screen."""

from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.helpers.browser import IMAGES_LOADED, Browser, needs_browser
from tests.helpers.sample_site import photographed_item
from tests.helpers.site import Phone, Site

pytestmark = [pytest.mark.system, needs_browser]

DROP_FILE = """
const [target, name, base64] = arguments;
const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], name, {type: "image/jpeg"}));
for (const kind of ["dragenter", "dragover", "drop"])
  target.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: data}));
"""


@pytest.fixture
def picture(tmp_path: Path, photo: bytes) -> Path:
    file = tmp_path / "coat.jpg"
    file.write_bytes(photo)
    return file


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    file = tmp_path / "notes.jpg"
    file.write_text("a shopping list")
    return file


def test_a_chosen_photo_is_shown_and_answered_on_the_same_page(browser: Browser, picture: Path) -> None:
    browser.run("window.mark = 'the same page'")
    browser.choose_photo(picture)
    browser.wait(lambda: browser.one("#preview").is_displayed(), "the preview")
    assert browser.one("#photo-label").text == "coat.jpg"
    browser.run(
        "window.headings = [];"
        "new MutationObserver(() => headings.push(document.querySelector('h1').textContent))"
        ".observe(document.getElementById('main'), {childList: true})"
    )
    browser.send_photo()
    assert photographed_item().name in browser.item_names()[:3]
    assert browser.run("return window.mark") == "the same page"
    assert browser.run("return headings[0]").startswith("Finding")
    assert browser.path.startswith("/queries/")
    assert [rank.text.split()[-1] for rank in browser.all(".rank")] == [str(rank) for rank in range(1, 13)]
    assert "12 items found" in browser.run("return document.getElementById('announce').textContent")
    assert browser.has_focus(browser.one("h1"))
    assert all(browser.run("return [...document.images].map((image) => image.alt)")[1:])


def test_the_answer_survives_a_reload_and_the_back_button_leads_to_the_form(browser: Browser, picture: Path) -> None:
    browser.choose_photo(picture)
    browser.send_photo()
    names = browser.item_names()
    browser.driver.refresh()
    assert browser.item_names() == names
    browser.driver.back()
    browser.wait(lambda: browser.path == "/" and browser.all("#photo"), "the form")


def test_a_photo_can_be_dropped_on_the_field(browser: Browser, photo: bytes) -> None:
    browser.run(DROP_FILE, browser.one("#drop"), "dropped.jpg", b64encode(photo).decode())
    browser.wait(lambda: browser.one("#preview").is_displayed(), "the preview")
    assert browser.one("#photo-label").text == "dropped.jpg"
    browser.send_photo()
    assert photographed_item().name in browser.item_names()[:3]


def test_form_thumbs_and_consent_work_without_scripts(plain_browser: Browser, picture: Path) -> None:
    assert not plain_browser.all(".drop.scripted")
    plain_browser.choose_photo(picture)
    plain_browser.send_photo()
    plain_browser.wait(lambda: plain_browser.path.startswith("/queries/"), "the page of the query")
    assert photographed_item().name in plain_browser.item_names()[:3]
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
def test_a_text_file_shows_an_error_and_the_form_can_be_used_again(
    kind: str, request: pytest.FixtureRequest, picture: Path, text_file: Path
) -> None:
    browser: Browser = request.getfixturevalue(kind)
    browser.choose_photo(text_file)
    browser.send_photo()
    browser.wait(lambda: "This is not a picture." in browser.one("#refusal").text, "the error")
    assert browser.path == "/"
    browser.choose_photo(picture)
    browser.send_photo()
    assert photographed_item().name in browser.item_names()[:3]


def test_the_page_of_a_query_is_not_found_in_another_browser(
    browser: Browser, plain_browser: Browser, picture: Path
) -> None:
    browser.choose_photo(picture)
    browser.send_photo()
    browser.item_names()
    plain_browser.open(browser.path)
    assert "There is nothing at this address, or it is not yours." in plain_browser.text
    assert not plain_browser.all(".match")


def test_pages_fit_a_window_of_360_pixels(browser: Browser, picture: Path) -> None:
    browser.set_width(360)
    assert browser.overflow() <= 0
    browser.choose_photo(picture)
    browser.wait(lambda: browser.one("#preview").is_displayed(), "the preview")
    assert browser.overflow() <= 0
    browser.send_photo()
    browser.item_names()
    assert browser.overflow() <= 0
    browser.open("/nothing/here")
    assert browser.overflow() <= 0


def test_the_form_works_by_keyboard(browser: Browser, picture: Path) -> None:
    def outline(css: str) -> str:
        return str(browser.run("return getComputedStyle(document.querySelector(arguments[0])).outlineStyle", css))

    for _ in range(5):  # skip link, site name, two links
        browser.press(Keys.TAB)
    assert browser.has_focus(browser.one("#photo"))
    assert outline("#drop") == "solid"
    browser.choose_photo(picture)
    browser.press(Keys.TAB)
    assert browser.has_focus(browser.one("#upload button"))
    assert outline("#upload button") == "solid"
    browser.press(Keys.ENTER)
    assert photographed_item().name in browser.item_names()[:3]


def announcement(browser: Browser) -> str:
    return str(browser.run("return document.getElementById('announce').textContent"))


def thumb(browser: Browser, rank: int, side: str) -> WebElement:
    return browser.one(f"#match-{rank} .thumb-{side}")


def is_pressed(browser: Browser, rank: int, side: str) -> bool:
    return thumb(browser, rank, side).get_attribute("aria-pressed") == "true"


def test_thumbs_work_by_keyboard_and_are_announced(browser: Browser, picture: Path, site: Site) -> None:
    browser.choose_photo(picture)
    browser.send_photo()
    browser.item_names()
    for key in (Keys.ENTER, Keys.SPACE):
        before = is_pressed(browser, 2, "up")
        browser.run("arguments[0].focus()", thumb(browser, 2, "up"))
        browser.press(key)
        browser.wait(lambda before=before: is_pressed(browser, 2, "up") != before, "the thumb")  # type: ignore[misc]
        assert browser.has_focus(thumb(browser, 2, "up"))
        assert announcement(browser) == ("Your mark was removed." if before else "Marked as a good match.")
    thumb(browser, 3, "down").click()
    browser.wait(lambda: is_pressed(browser, 3, "down"), "the other thumb")
    link = "const a = document.createElement('a'); a.href = '#there'; a.dataset.opens = arguments[0]; a.id = 'link';"
    browser.run(link + "document.querySelector('#match-1 h2').append(a); a.click()", thumbs_id(browser, 1))
    browser.run("document.getElementById('may-train').click()")
    browser.wait(lambda: announcement(browser).startswith("Thank you."), "the consent")
    feedback_rows = (
        "from catalog.models import Feedback, UploadedPhoto as U;"
        f"rows = Feedback.objects.filter(recommendation__query='{browser.path.split('/')[2]}');"
        "print(*[(one.recommendation.rank, one.verdict, bool(one.clicked_at)) for one in rows.order_by('pk')],"
        "U.objects.filter(may_train=True).count())"
    )
    browser.wait(lambda: "(3, 'down', False) (1, '', True) 1" in site.shell(feedback_rows), "the stored feedback")


def thumbs_id(browser: Browser, rank: int) -> str:
    return browser.one(f"#match-{rank} .thumbs").get_attribute("id") or ""


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


def test_staff_review_triplets_by_keyboard(staff: Browser, site: Site, phone: Phone, photo: bytes) -> None:
    site.shell("from catalog.models import Triplet; Triplet.objects.all().delete()")
    matches = phone.post(photo, wait=20, k=4).json()["recommendations"]
    for one, verdict in zip(matches, ("up", "down", "down", "down"), strict=True):
        address = f"{site.address}/api/v1/recommendations/{one['id']}/feedback/"
        feedback = {"verdict": verdict, "may_train": True}
        assert requests.post(address, json=feedback, headers=phone.headers, timeout=20).json() == feedback | {
            "clicked": False
        }
    staff.open("/admin/")
    staff.one("#nav-sidebar a[href$='/triplet/review/']").click()
    staff.run("window.mark = 'the same page'")
    progress = []
    for key in ("y", "n", Keys.ARROW_LEFT, "s", "y"):
        before = staff.one("#review-photo").get_attribute("src")
        progress.append(staff.one(".review-progress").text)
        staff.wait(lambda: staff.run(IMAGES_LOADED, ".review-pictures img"), "the pictures")
        staff.press(key)
        staff.wait(lambda before=before: staff.image_url("#review-photo") != before, "the next one")  # type: ignore[misc]
    assert progress == ["1 of 3", "2 of 3", "3 of 3", "2 of 3", "3 of 3"]
    assert not staff.all("#review-photo")
    assert "3 of 3" in staff.one(".review-progress").text
    assert staff.run("return window.mark") == "the same page"
    states = "from catalog.models import Triplet as T; print(*T.objects.order_by('pk').values_list('state', flat=True))"
    assert site.shell(states).split() == ["accepted", "skipped", "accepted"]
    staff.set_width(360)
    assert staff.overflow() <= 0
