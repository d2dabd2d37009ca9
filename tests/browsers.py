"""A browser without a screen for tests of pages. Needs Debian's chromium and chromium-driver, and skips where they are missing."""

import os
import shutil
import time
from contextlib import contextmanager

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--window-size=1100,900")


@contextmanager
def browsing(*arguments):
    """A browser of its own; the driver is named, so that selenium looks for none on the network."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs a browser: sudo apt-get install -y chromium chromium-driver")
    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (*QUIET, *arguments):
        options.add_argument(argument)
    driver = webdriver.Chrome(service=webdriver.ChromeService(DRIVER), options=options)
    try:
        yield driver
    finally:
        driver.quit()


def until(condition, what):
    end = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def press(driver, keys):
    webdriver.ActionChains(driver).send_keys(keys).perform()


def text(driver, id):
    return driver.execute_script("return document.getElementById(arguments[0]).innerText", id)


def complaints(driver):
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
