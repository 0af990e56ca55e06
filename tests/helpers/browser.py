"""Chromium driven through ChromeDriver, open at a site."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.helpers.site import Site, wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver on PATH")

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
EXPECTED_ERROR = "the server responded with a status of 4"  # Chromium logs every 4xx response as an error
IMAGES_LOADED = "return [...document.querySelectorAll(arguments[0])].every((picture) => picture.naturalWidth)"


class Browser:
    """A Chromium with a profile, and so cookies, of its own, open at the site."""

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

    def image_url(self, css: str) -> str:
        """Return the address of a picture, or an empty string if there is none."""
        return next((str(element.get_attribute("src")) for element in self.all(css)), "")

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def choose_photo(self, photo: Path) -> None:
        self.one("#photo").send_keys(str(photo))

    def send_photo(self) -> None:
        self.one("#upload button").click()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Return once `condition` is true; elements may be missing while the page is being replaced."""

        def holds() -> object:
            with contextlib.suppress(NoSuchElementException, StaleElementReferenceException):
                return condition()
            return None

        wait_until(holds, what)

    def item_names(self) -> list[str]:
        """Wait for the grid of matches and return the names of its items, best first."""
        self.wait(lambda: self.all(".match"), "the grid")
        return [heading.text for heading in self.all(".match h2")]

    def press(self, key: str) -> None:
        """Send a key to the element that has the focus."""
        webdriver.ActionChains(self.driver).send_keys(key).perform()

    def has_focus(self, element: WebElement) -> bool:
        return bool(self.driver.switch_to.active_element == element)

    def set_width(self, pixels: int) -> None:
        metrics = {"width": pixels, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.run("return document.documentElement.scrollWidth - window.innerWidth"))

    def problems(self) -> list[str]:
        """Return errors of the console, requests to other hosts, and static files that failed to load."""
        errors = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        requested = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        responses = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
        failed = [one["url"] for one in responses if one["status"] >= 400 and "/static/" in one["url"]]
        local = (self.site.address, "blob:", "data:", "chrome:", "chrome-untrusted:", "about:")  # Chromium's own pages
        other_hosts = [url for url in requested if not url.startswith(local)]
        return [error for error in errors if EXPECTED_ERROR not in error] + other_hosts + failed
