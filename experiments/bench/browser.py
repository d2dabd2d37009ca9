"""A chromium without a screen, driven by selenium. Knows no page."""

import os
import shutil
from typing import Any

from worldsim.errors import MissingDependency, install_extra

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def chromium(*arguments: str) -> Any:
    """A selenium driver of a browser of its own, which keeps what pages say to its console; end it with `quit`.

    Raises:
        MissingDependency: no selenium, chromium or its driver.
    """
    try:
        from selenium import webdriver
    except ImportError as error:
        raise MissingDependency(f"driving a browser needs selenium; type: {install_extra('test')}") from error
    program, driver = next(filter(None, map(shutil.which, PROGRAMS)), None), shutil.which("chromedriver")
    if not (program and driver):
        raise MissingDependency("no browser; type: sudo apt-get install -y chromium chromium-driver")
    os.environ["SE_OFFLINE"] = "true"  # the driver is named, and selenium looks for none on the network
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (*QUIET, *arguments):
        options.add_argument(argument)
    return webdriver.Chrome(service=webdriver.ChromeService(driver), options=options)
