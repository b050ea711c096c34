"""The drawing page in a real browser, with the real server and small exported generators."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from tests.serving.live_server import RunningServer
from tests.serving.page.browser import (
    ACROSS,
    SIZES,
    SQUARE,
    PageDriver,
    TouchInput,
    decode_pixels,
    open_page,
    request_picture,
)


@pytest.fixture
def driver(browser: Browser, server: RunningServer) -> Iterator[PageDriver]:
    with open_page(browser, server.address) as driver:
        driver.expect_state("empty")
        yield driver


def test_mouse_drawing_shows_a_picture(driver: PageDriver, server: RunningServer) -> None:
    driver.expect_notice("Your picture appears here")
    picture = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
    (drawing,) = driver.sent_drawings
    assert (
        decode_pixels(picture).tolist()
        == decode_pixels(request_picture(server, "bags", drawing)).tolist()
    )
    assert driver.measure_ink(0.15, 0.15, 0.25, 0.85) > 0.05
    expect(
        driver.page.get_by_role("img", name="The picture made from your drawing")
    ).to_be_visible()
    expect(driver.page.get_by_role("status")).to_have_text("Your picture is ready.")


def test_touch_drawing_shows_a_picture(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "phone", has_touch=True, is_mobile=True) as driver:
        touch_input = TouchInput(driver)
        driver.wait_for_new_picture(lambda: touch_input.draw(SQUARE))
        assert len(driver.sent_drawings[0]["strokes"]) == 1
        # Drawing does not scroll the page.
        assert driver.page.evaluate("window.scrollY") == 0


def test_pen_pressure_widens_the_line(driver: PageDriver) -> None:
    touch_input = TouchInput(driver)
    for y, force in ((0.3, 0.2), (0.7, 1.0)):
        touch_input.pen("press", 0.2, y, force)
        for x in (0.4, 0.6, 0.8):
            touch_input.pen("move", x, y, force)
        touch_input.pen("release", 0.8, y, 0)
    light, hard = driver.measure_ink(0.3, 0.2, 0.7, 0.4), driver.measure_ink(0.3, 0.6, 0.7, 0.8)
    assert hard > 2 * light > 0


def test_palm_is_ignored_while_a_pen_draws(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "tablet", has_touch=True) as driver:
        touch_input = TouchInput(driver)
        # The palm touches first, and stays.
        touch_input.touch(0, 0.8, 0.8)
        touch_input.move(0, 0.85, 0.9)
        assert driver.measure_ink(0.7, 0.7) > 0
        touch_input.pen("press", 0.2, 0.2)
        touch_input.pen("move", 0.5, 0.2)
        touch_input.move(0, 0.9, 0.95)
        touch_input.touch(1, 0.7, 0.9)
        touch_input.pen("release", 0.5, 0.2)
        touch_input.lift(1)
        touch_input.lift(0)
        assert driver.measure_ink(0.6, 0.6) == 0
        assert driver.measure_ink(0, 0, 0.6, 0.4) > 0


def test_finger_draws_while_a_palm_rests(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "tablet", has_touch=True) as driver:
        touch_input = TouchInput(driver)
        touch_input.touch(0, 0.9, 0.9)
        touch_input.touch(1, 0.2, 0.2)
        touch_input.move(1, 0.5, 0.5)
        touch_input.lift(1)
        touch_input.lift(0)
        assert driver.measure_ink(0.1, 0.1, 0.6, 0.6) > 0
        assert driver.measure_ink(0.8, 0.8) == 0


def test_undo_redo_and_clear(driver: PageDriver) -> None:
    first = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
    second = driver.wait_for_new_picture(lambda: driver.draw(ACROSS))
    assert first != second
    assert driver.measure_ink(0.3, 0.45, 0.7, 0.55) > 0

    assert driver.wait_for_new_picture(lambda: driver.press("Undo")) == first
    assert driver.measure_ink(0.3, 0.45, 0.7, 0.55) == 0
    assert driver.wait_for_new_picture(lambda: driver.press("Redo")) == second

    driver.press("New sheet")
    assert driver.measure_ink() == 0
    driver.expect_state("empty")
    expect(driver.page.locator("#picture")).to_be_hidden()
    driver.page.keyboard.press("Control+z")
    driver.expect_picture()
    assert driver.get_shown_picture() == second
    driver.page.keyboard.press("Control+z")
    driver.page.keyboard.press("Control+z")
    expect(driver.page.get_by_role("button", name="Undo")).to_be_disabled()
    driver.page.keyboard.press("Control+Shift+z")
    assert driver.measure_ink(0.15, 0.15, 0.25, 0.85) > 0


def test_eraser_splits_strokes(driver: PageDriver) -> None:
    driver.wait_for_new_picture(lambda: driver.draw(ACROSS))
    driver.pick("Eraser")
    driver.wait_for_new_picture(lambda: driver.draw([(0.5, 0.3), (0.5, 0.7)]))
    # The eraser's radius is 0.032 of the sheet's side.
    assert driver.measure_ink(0.5 - 0.031, 0.4, 0.5 + 0.031, 0.6) == 0
    assert driver.measure_ink(0.1, 0.45, 0.45, 0.55) > 0
    assert driver.measure_ink(0.55, 0.45, 0.9, 0.55) > 0
    left, right = driver.sent_drawings[-1]["strokes"]
    assert max(x for x, _ in left["points"]) < 468 < 532 < min(x for x, _ in right["points"])

    driver.press("Undo")
    assert driver.measure_ink(0.48, 0.45, 0.52, 0.55) > 0
    driver.pick("Thick pen")
    previous = driver.measure_ink()
    driver.draw([(0.2, 0.8), (0.8, 0.8)])
    assert driver.measure_ink() - previous > 1.5 * previous


def test_choosing_a_model_shows_its_picture(driver: PageDriver, server: RunningServer) -> None:
    bag = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
    shoe = driver.wait_for_new_picture(lambda: driver.pick("Shoes"))
    assert (
        decode_pixels(shoe).tolist()
        == decode_pixels(request_picture(server, "shoes", driver.sent_drawings[-1])).tolist()
    )
    assert bag != shoe
    card = driver.page.locator(".card", has_text="Shoes").locator("img")
    assert card.evaluate("it => it.complete && it.naturalWidth") == 64

    driver.page.reload()
    driver.expect_picture()
    expect(driver.page.get_by_role("radio", name="Shoes")).to_be_checked()
    assert driver.get_shown_picture() == shoe


def test_outline_is_shown_below_and_not_sent(driver: PageDriver) -> None:
    driver.pick("Outline 2")
    outline = driver.page.locator("#traced-outline")
    expect(outline).to_be_visible()
    assert outline.evaluate("it => it.complete && it.naturalWidth") == 256
    assert float(outline.evaluate("it => getComputedStyle(it).opacity")) < 0.5
    # It is not part of the drawing.
    assert driver.measure_ink() == 0
    driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
    assert len(driver.sent_drawings[-1]["strokes"]) == 1
    driver.pick("Empty sheet")
    expect(outline).to_be_hidden()


def test_drawing_survives_a_reload(driver: PageDriver) -> None:
    previous = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
    ink = driver.measure_ink()
    driver.page.reload()
    driver.expect_picture()
    assert driver.measure_ink() == pytest.approx(ink, rel=0.01)
    assert driver.get_shown_picture() == previous
    assert driver.page.context.cookies() == []


def test_page_is_translated_to_korean_and_english(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "phone", locale="ko-KR") as driver:
        expect(driver.page.locator("html")).to_have_attribute("lang", "ko")
        expect(driver.page.get_by_role("button", name="저장")).to_be_visible()
        driver.expect_notice("그려 보세요")
        # Only the language button, the titles and the name of a key are not translated.
        latin_words = driver.page.evaluate("document.body.innerText.match(/[A-Za-z]+/g)")
        assert set(latin_words) == {"Bags", "Shoes", "English", "Shift"}
        driver.press("English")
        expect(driver.page.locator("html")).to_have_attribute("lang", "en")
        expect(driver.page.get_by_role("button", name="Save")).to_be_visible()
        driver.page.reload()
        expect(driver.page.get_by_role("button", name="Undo")).to_be_visible()
        assert driver.page.title().startswith("icanvas: draw")


def test_save_downloads_drawing_and_picture_side_by_side(
    driver: PageDriver, tmp_path: Path
) -> None:
    driver.pick("Outline 1")
    # Saving waits for the picture.
    driver.draw(SQUARE)
    with driver.page.expect_download() as download:
        driver.press("Save")
    assert download.value.suggested_filename.startswith("icanvas-bags-")
    saved = tmp_path / "saved.png"
    download.value.save_as(saved)
    image = np.asarray(Image.open(saved).convert("RGB")).astype(int)
    assert image.shape == (1152, 2240, 3)
    drawing, picture = image[64:-64, 64:1088], image[64:-64, 1152:2176]
    dark = drawing.max(2) < 100
    # The square without the outline below it.
    assert dark[195:215, 300:700].any() and dark[300:700, 195:215].any()
    assert not dark[300:700, 300:700].any() and (drawing[300:700, 300:700] == 255).all()
    small = Image.fromarray(picture.astype(np.uint8)).resize((64, 64), Image.Resampling.BOX)
    shown = decode_pixels(driver.get_shown_picture())
    assert np.corrcoef(np.asarray(small).ravel(), shown.ravel())[0, 1] > 0.9


def test_keyboard_draws_and_chooses(driver: PageDriver) -> None:
    page = driver.page
    page.get_by_role("radio", name="Medium pen").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Thick pen")).to_be_checked()
    page.get_by_role("application", name="Drawing sheet").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Pen down")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowLeft"):
        for _ in range(4):
            page.keyboard.press(key)
    driver.wait_for_new_picture(lambda: page.keyboard.press("Space"))
    (stroke,) = driver.sent_drawings[-1]["strokes"]
    assert stroke["points"][0] == [500, 500] and stroke["points"][-1] == [500, 700]
    # With the pen up, moving draws nothing.
    page.keyboard.press("ArrowLeft")
    assert driver.measure_ink(0, 0, 0.45, 1) == 0


def test_undo_lifts_the_keyboards_pen(driver: PageDriver) -> None:
    page = driver.page
    driver.wait_for_new_picture(lambda: driver.draw(ACROSS))
    page.get_by_role("application", name="Drawing sheet").focus()
    cursor = page.locator("#keyboard-cursor.down")
    page.keyboard.press("Space")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowDown")
    assert driver.measure_ink(0.4, 0.6, 0.6, 0.8) > 0
    page.keyboard.press("Control+z")
    expect(cursor).to_have_count(0)
    assert driver.measure_ink(0.4, 0.6, 0.6, 0.8) == 0
    # The pen goes down again where it is.
    page.keyboard.press("Space")
    expect(cursor).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_have_text("Pen up")
    assert driver.measure_ink(0.35, 0.6, 0.45, 0.8) > 0


def test_dot_shows_the_empty_state(driver: PageDriver) -> None:
    with driver.page.expect_response("**/generate") as response_info:
        driver.draw([(0.5, 0.5), (0.5, 0.5)])
    assert response_info.value.json()["error"] == "empty"
    driver.expect_state("empty")
    assert driver.measure_ink(0.45, 0.45, 0.55, 0.55) > 0


def test_lines_are_clipped_at_the_edge(driver: PageDriver) -> None:
    driver.wait_for_new_picture(
        lambda: driver.draw([(0.5, 0.5), (1.02, 0.5), (1.02, 0.7), (0.5, 0.7)])
    )
    strokes = driver.sent_drawings[-1]["strokes"]
    assert len(strokes) == 2
    assert max(x for stroke in strokes for x, _ in stroke["points"]) == 1000


def test_rotating_the_device_keeps_the_drawing_sharp(
    browser: Browser, server: RunningServer
) -> None:
    with open_page(browser, server.address, "tablet", device_scale_factor=2) as driver:
        driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
        ink = driver.measure_ink()
        driver.page.set_viewport_size({"width": 1180, "height": 820})
        sheet = driver.page.locator("#sheet")
        expect(sheet).to_have_js_property(
            "width", 2 * round(sheet.evaluate("it => it.clientWidth"))
        )
        assert driver.measure_ink() == pytest.approx(ink, rel=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_layout_fits_every_viewport(browser: Browser, server: RunningServer, size: str) -> None:
    with open_page(browser, server.address, size) as driver:
        driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
        width, height = SIZES[size]
        assert driver.page.evaluate("document.documentElement.scrollWidth") <= width
        # Sheet and picture are visible without scrolling.
        for part in ("#sheet", "#frame", "#undo", "#save"):
            box = driver.page.locator(part).bounding_box()
            assert box is not None and box["y"] + box["height"] <= height, part
        for target in driver.page.locator("button:visible, label:visible").all():
            box = target.bounding_box()
            assert box is not None and min(box["width"], box["height"]) >= 48


def test_page_works_below_a_path_prefix(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address) as driver:
        prefix = f"{server.address}/for/children/"

        def forward(route: Route) -> None:
            url = route.request.url.replace(prefix, f"{server.address}/")
            route.fulfill(response=route.fetch(url=url))

        driver.page.route(f"{prefix}**", forward)
        driver.page.goto(prefix)
        previous = len(driver.requests)
        driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
        urls = [
            request.url for request in driver.requests[previous:] if request.url.startswith("http")
        ]
        assert urls and all(url.startswith(prefix) for url in urls)
