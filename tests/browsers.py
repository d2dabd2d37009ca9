"""A browser without a screen for tests of pages. Needs Debian's chromium and chromium-driver, and skips where they are missing."""

import time
from contextlib import contextmanager

import pytest

from worldsim.errors import MissingDependency
from worldsim.experiments.bench.browser import chromium

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")


@contextmanager
def browsing(*arguments):
    """A browser of its own."""
    try:
        driver = chromium("--window-size=1100,900", *arguments)
    except MissingDependency as error:
        pytest.skip(str(error))
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
