"""A training run started and followed in a real browser, executed by a real train worker."""

import re

import pytest
from selenium.webdriver.support.ui import Select

from tests.helpers.browser import Browser, needs_browser
from tests.helpers.garments import write_garments
from tests.helpers.site import TIMEOUT, Site, wait_until

pytestmark = [pytest.mark.system, needs_browser]

NAME = "run-in-a-browser"
OPTIONS = {"epochs": 3, "batch_size": 12, "freeze_stages": 12, "views": 1, "side": 64, "threads": 1, "seed": 1}
SELECTED = {"source": "manifest", "manifest": "drawn/manifest.csv"}

RECORD_STATES = """
window.mark = "the same page";
window.states = new Set();
const record = () => states.add(document.getElementById("run-state").innerText);
new MutationObserver(record).observe(document.getElementById("run-state"), {childList: true, subtree: true});
record();
"""


def fill_form(staff: Browser) -> None:
    for name, value in SELECTED.items():
        Select(staff.one(f"#id_{name}")).select_by_value(value)
    staff.one("#run-others-summary").click()
    for name, value in OPTIONS.items():
        staff.one(f"#id_option_{name}").send_keys(str(value))
    staff.one("#id_name").send_keys(NAME)


def state(staff: Browser) -> str:
    return str(staff.run("return document.querySelector('#run-state .run-line span')?.textContent.trim()"))


def test_a_run_is_checked_started_and_followed_without_a_reload(staff: Browser, site: Site) -> None:
    write_garments(site.folder / "training-data" / "drawn")
    staff.open("/admin/catalog/trainingrun/add/")
    fill_form(staff)
    staff.run("window.mark = 'the same page'")
    staff.one("#run-check").click()
    staff.wait(lambda: "The run can start" in staff.one("#run-preflight").text, "the result of the pre-flight check")
    assert staff.has_focus(staff.one("#run-preflight"))
    assert staff.run("return window.mark") == "the same page"
    staff.one("[name=_start]").click()
    staff.wait(lambda: re.fullmatch(r"/admin/catalog/trainingrun/\d+/change/", staff.path), "the page of the run")
    staff.run(RECORD_STATES)
    staff.one("#run-clone").send_keys("")  # moves the focus there, as the Tab key does
    staff.wait(lambda: staff.all(".curves"), "the first curve")
    staff.run("document.getElementById('run-trace').open = true; window.scrollTo(0, 200)")
    wait_until(lambda: state(staff) in ("done", "failed"), "the end of the run", 4 * TIMEOUT)
    assert state(staff) == "done", staff.text
    assert staff.run("return window.mark") == "the same page"
    states = staff.run("return [...states].join('\\n')")
    assert {"1 of 3", "3 of 3"} <= set(re.findall(r"\d of 3", states)), states
    assert staff.has_focus(staff.one("#run-clone"))
    assert staff.run("return document.getElementById('run-trace').open")
    assert staff.run("return window.scrollY") == 200
    staff.wait(lambda: not staff.all("[hx-trigger='every 2s']"), "the end of polling")
    assert len(staff.all(".curves > svg[role=img]")) >= 3
    assert "epoch" in staff.one("#run-log-text").text
    pictures = staff.run("return [...document.querySelectorAll('#run-pictures img')].map((one) => one.naturalWidth)")
    assert len(pictures) >= 4
    assert min(pictures) > 0
    staff.set_width(400)
    assert staff.overflow() <= 0
    staff.open("/admin/catalog/trainingrun/add/")
    assert staff.overflow() <= 0
