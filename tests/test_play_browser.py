"""The page that a world is played on, in a real browser without a screen. Needs Debian's chromium and chromium-driver."""

import pytest
from browsers import browsing, complaints, press, text, until, webdriver
from played import played, pressed_game, robot_game

from worldsim.data.csgo_actions import Press, decode
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

pytestmark = pytest.mark.slow
KEYS = webdriver.Keys


@pytest.fixture(scope="module")
def driver():
    with browsing() as driver:
        yield driver


@pytest.fixture
def browser(driver):
    """The one browser of this file, at its usual size and without complaints of earlier tests."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    complaints(driver)
    return driver


def moment(driver):
    """The number of the moment that the page shows, once it is at rest."""
    script = "return document.body.dataset.busy ? '' : document.body.dataset.moment ?? ''"
    return int(until(lambda: driver.execute_script(script), "the page is not at rest"))


def reached(driver, id):
    until(lambda: moment(driver) == id, f"the page does not come to moment {id}")


def click(driver, id):
    driver.find_element("id", id).click()


def choose(driver, id, value):
    set_value = "const field = document.getElementById(arguments[0]); field.value = arguments[1]; field.dispatchEvent(new Event('change'))"
    driver.execute_script(set_value, id, value)


def test_a_hundred_presses_a_rewind_a_branch_and_a_recording(browser, tmp_path):
    game = robot_game()
    with played(game, tmp_path) as server:
        browser.get(server.address)
        assert moment(browser) == 0
        assert "token" not in browser.current_url
        assert text(browser, "instruction") == "close the drawer"
        choose(browser, "pace", "0")
        press(browser, 20 * f"{KEYS.ARROW_RIGHT}{KEYS.ARROW_UP}w{KEYS.ARROW_LEFT}s")
        reached(browser, 100)
        line = game.story.line(100)
        assert [each.action.tolist() for each in line[1:6]] == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0, -1]]
        press(browser, 4 * KEYS.BACKSPACE)
        reached(browser, 96)
        press(browser, f"{KEYS.ARROW_UP}w{KEYS.ARROW_LEFT}s")  # what was done from there before
        reached(browser, 104)
        shown = "return [...document.querySelectorAll('#frames button')].length + ' ' + document.querySelectorAll('#lines button').length"
        assert browser.execute_script(shown) == "101 2"
        again = game.story.line(104)
        assert [each.id for each in again[:97]] == list(range(97))
        assert all((before.frame == after.frame).all() for before, after in zip(line, again, strict=True))
        press(browser, "k")
        until(lambda: "Recorded" in text(browser, "status"), "nothing was recorded")
        assert [len(read_trajectory(path)) for path in trajectory_paths(tmp_path)] == [100, 100]
        assert complaints(browser) == []


def test_settings_a_policy_and_how_a_frame_came_about(browser, tmp_path):
    game = robot_game()
    with played(game, tmp_path) as server:
        browser.get(server.address)
        moment(browser)
        choose(browser, "steps", "3")
        until(lambda: game.tuning.steps == 3, "the steps are not set")
        choose(browser, "history", "window")
        until(lambda: game.tuning.history == "window", "the history mode is not set")
        moment(browser)
        choose(browser, "guidance", "1000")
        until(lambda: "guidance 100 at most" in text(browser, "status"), "a refusal is not said")
        assert browser.find_element("id", "guidance").get_property("value") == "1"
        press(browser, "m")
        until(lambda: game.latest.step >= 3, "the policy does not drive")
        press(browser, "m")
        until(lambda: browser.find_element("id", "hand").get_attribute("aria-pressed") == "false", "it is not taken back")
        assert {each.by for each in game.story.line(moment(browser))[1:]} == {"same"}
        press(browser, "v")
        pictures = "return [...document.querySelectorAll('#unrolled img')].filter((each) => each.naturalWidth === 16).length"
        until(lambda: browser.execute_script(pictures) == 4 + 3, "the frame's way out of noise is not shown")
        press(browser, "v")
        moment(browser)
        press(browser, "n")
        until(lambda: game.latest.number == 1, "no new start")
        until(lambda: browser.find_element("id", "start").get_property("value") == "1", "the start is not named")
        assert all("400" in each for each in complaints(browser))  # a browser notes the refusal


def test_a_second_tab_takes_over_plainly_and_a_reload_takes_back(browser, tmp_path):
    game = robot_game(truth=False)
    with played(game, tmp_path) as server:
        browser.get(server.address)
        moment(browser)
        press(browser, KEYS.ARROW_RIGHT)
        reached(browser, 1)
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(f"http://127.0.0.1:{server.port}/")
        assert moment(browser) == 1  # the game as it stands
        press(browser, KEYS.ARROW_RIGHT)
        reached(browser, 2)
        browser.close()
        browser.switch_to.window(first)
        press(browser, KEYS.ARROW_RIGHT)
        until(lambda: browser.find_element("id", "here").is_displayed(), "the first tab does not say that another one drives")
        assert game.latest.id == 2
        click(browser, "here")
        reached(browser, 2)


def test_a_gamepad_drives(browser, tmp_path):
    with played(game := robot_game(truth=False), tmp_path) as server:
        browser.get(server.address)
        moment(browser)
        pad = "window.pad = {axes: [0.5, -1, 0, 0], buttons: []}; navigator.getGamepads = () => [null, window.pad]"
        browser.execute_script(pad)
        until(lambda: game.latest.step >= 2, "the gamepad does not drive")
        browser.execute_script("window.pad = null")
        assert game.latest.action.tolist() == [0.5, 1, 0]


def test_a_world_of_keys_and_mouse_is_driven_by_keys_buttons_and_dragging(browser, tmp_path):
    game = pressed_game()
    with played(game, tmp_path) as server:
        browser.get(server.address)
        moment(browser)
        for number, key in enumerate(["w", " ", "c", KEYS.ARROW_LEFT, "f"], 1):
            press(browser, key)
            reached(browser, number)
        found = [decode(each.action) for each in game.story.line(5)[1:]]
        expected = [Press(("w",)), Press(("space",)), Press(("ctrl",)), Press(mouse_x=-60.0), Press(clicks=("left",))]
        assert found == expected
        assert browser.find_element("css selector", ".presses [aria-pressed=true]").accessible_name == "left button"
        picture = browser.find_element("id", "imagined")
        webdriver.ActionChains(browser).click_and_hold(picture).move_by_offset(30, 4).release().perform()
        until(
            lambda: sum(decode(each.action).mouse_x for each in game.story.line(game.latest.id)[6:]) >= 30, "dragging does not look around"
        )
        browser.find_element("css selector", ".push[aria-label='a']").click()
        until(lambda: decode(game.latest.action).keys == ("a",), "a button of the page does not drive")
        assert complaints(browser) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_and_all_has_a_name_at_any_width(browser, tmp_path, width):
    game = robot_game()
    with played(game, tmp_path) as server:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(server.address)
        moment(browser)
        browser.find_element("css selector", ".push[aria-label='y more']").click()
        reached(browser, 1)
        assert game.latest.action.tolist() == [0, 1, 0]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        for each in browser.find_elements("css selector", "main:not([hidden]) :is(button, input, select, img)"):
            if each.is_displayed() and not each.find_elements("xpath", "ancestor::*[@id='frames']"):
                box = each.rect
                assert each.accessible_name, each.get_attribute("outerHTML")
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width, each.get_attribute("id")
        press(browser, "?")
        assert browser.find_element("id", "keys").is_displayed()
        assert "hand over to the policy" in text(browser, "keys")


def test_a_program_that_has_ended_is_said(browser, tmp_path):
    with played(robot_game(truth=False), tmp_path) as server:
        browser.get(server.address)
        moment(browser)
    press(browser, KEYS.ARROW_RIGHT)
    until(lambda: "type worldsim play to go on" in text(browser, "status"), "nothing is said")
