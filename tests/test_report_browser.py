"""The report in a real browser from a file, at the width of a desk and of a phone. Needs Debian's chromium and chromium-driver."""

import base64
import json
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from test_label_browser import browsing
from test_report import CONFIG, OUTCOMES, fill
from test_report_episodes import complete

from worldsim.report.page import write_report
from worldsim.report.run_folder import RunFolder

pytestmark = pytest.mark.slow
WIDTHS = {"desk": (1280, 900), "phone": (360, 800)}
NASTY = {
    '"><img src=x onerror=alert(1)>' + "y" * 90: ("1110000000", "1100000000"),
    "</style></svg><script>alert(1)</script>": ("10000?0000", "0000000001"),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a run that has everything, with hostile and endless names."""
    with RunFolder.open(tmp_path_factory.mktemp("report") / "my run", CONFIG) as run:
        complete(fill(run, OUTCOMES | NASTY))
        return write_report(run)


@pytest.fixture(scope="module")
def driver():
    with browsing("--window-size=1280,900") as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        yield driver


def opened(driver, page, width):
    """Open the page at this width, and return what the browser asked for while it loaded."""
    across, down = WIDTHS[width]
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": across, "height": down, "deviceScaleFactor": 1, "mobile": width == "phone"}
    )
    driver.get_log("browser")
    driver.get(page.as_uri())
    return driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")


def settled(driver):
    """Scroll through the page, so that all that loads late has loaded."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    for top in range(0, height, 700):
        driver.execute_script("window.scrollTo(0, arguments[0])", top)
        time.sleep(0.02)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_complained_of_and_nothing_remote_is_asked_for(driver, page, width):
    asked = opened(driver, page, width)
    settled(driver)
    assert driver.get_log("browser") == []
    addresses = driver.execute_script(
        "return [...document.querySelectorAll('[src], [href], [poster]')].flatMap((e) => [e.src, e.href, e.poster])"
    )
    assert {urlsplit(address).scheme for address in (*asked, *filter(lambda each: isinstance(each, str), addresses)) if address} <= {
        "file",
        "data",
    }
    assert driver.execute_script("return document.querySelectorAll('script').length") == 0


def test_the_page_could_not_ask_for_anything_remote_if_it_wanted(driver, page):
    opened(driver, page, "desk")
    blocked = driver.execute_async_script("""
        const done = arguments[0];
        document.addEventListener("securitypolicyviolation", (event) => done(event.violatedDirective));
        const image = new Image();
        image.src = "https://example.invalid/pixel.png";
        document.body.append(image);
        setTimeout(() => done("nothing"), 5000);
    """)
    assert blocked == "img-src"
    driver.get_log("browser")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_video_plays_and_every_image_shows(driver, page, width):
    opened(driver, page, width)
    played = driver.execute_async_script("""
        const done = arguments[0];
        const play = async (video) => {
            await video.play();
            await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
            video.pause();
            return [video.readyState >= 2, video.videoWidth, video.error === null, video.muted, video.loop];
        };
        Promise.all([...document.querySelectorAll("video")].map(play)).then(done, (error) => done(String(error)));
    """)
    assert played == [[True, 520, True, True, True]] * len(list(page.parent.glob("videos/*.mp4")))
    assert len(played) == 6 + 3 + 2 + 1  # pairs, false successes, missed ones, unscored ones
    sizes = driver.execute_script("return [...document.images].map((image) => [image.complete, image.naturalWidth])")
    assert all(complete and across > 0 for complete, across in sizes)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(driver, page, width):
    opened(driver, page, width)
    driver.execute_script("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[width][0]
    out = driver.execute_script("""
        const held = (element) => element.closest(".wide, svg");
        return [...document.querySelectorAll("main *")].filter((e) => !held(e) && e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => e.outerHTML.slice(0, 120));
    """)
    assert out == []


def test_every_anchor_leads_to_something_that_then_shows(driver, page):
    opened(driver, page, "desk")
    anchors = driver.execute_script("return [...new Set([...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash.slice(1)))]")
    assert {"policy-1", "false-successes", "missed-successes", "unscored", "probe-2", "episodes"} <= set(anchors)
    for anchor in anchors:
        driver.execute_script("location.hash = arguments[0]", anchor)
        assert driver.execute_script("const e = document.getElementById(arguments[0]); return e !== null && e.checkVisibility()", anchor), (
            anchor
        )


def test_every_file_that_is_linked_exists(driver, page):
    opened(driver, page, "desk")
    links = driver.execute_script("return [...document.querySelectorAll('a[href], video')].map((e) => e.href || e.src)")
    files = {unquote(urlsplit(link).path) for link in links}
    assert len(files) > 10
    assert all(Path(file).is_file() for file in files)


def test_in_print_every_list_is_open(driver, page):
    opened(driver, page, "desk")
    assert not driver.execute_script("return document.getElementById('false-successes').checkVisibility()")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = driver.execute_script(
        "return [...document.querySelectorAll('details > div')].map((e) => e.checkVisibility() && e.offsetHeight > 0)"
    )
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown
    assert all(shown)
    printed = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")


def test_names_stay_text(driver, page):
    opened(driver, page, "desk")
    results = json.loads((page.parents[1] / "results.json").read_text())
    text = driver.execute_script("return document.body.textContent")
    assert all(policy["name"] in text for policy in results["policies"])
    assert driver.execute_script("return document.querySelectorAll('[onerror], [onload], img[src=\"x\"]').length") == 0
    assert driver.execute_script("return document.querySelectorAll('svg').length") == 5
