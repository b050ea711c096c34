"""The drawing page in a real browser, with the real server and small exported generators."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from tests.serving.live_server import RunningServer
from tests.serving.page.browser import ACROSS, SIZES, SQUARE, PageDriver, TouchInput, request_picture, open_page, decode_pixels


@pytest.fixture
def desk(browser: Browser, server: RunningServer) -> Iterator[PageDriver]:
    with open_page(browser, server.address) as found:
        found.expect_state("empty")
        yield found


def test_what_is_drawn_by_mouse_becomes_a_picture(desk: PageDriver, server: RunningServer) -> None:
    desk.expect_notice("Your picture appears here")
    shown = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
    (drawing,) = desk.sent_drawings
    assert decode_pixels(shown).tolist() == decode_pixels(request_picture(server, "bags", drawing)).tolist()
    assert desk.measure_ink(0.15, 0.15, 0.25, 0.85) > 0.05
    expect(desk.page.get_by_role("img", name="The picture made from your drawing")).to_be_visible()
    expect(desk.page.get_by_role("status")).to_have_text("Your picture is ready.")


def test_what_is_drawn_by_finger_becomes_a_picture(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "phone", has_touch=True, is_mobile=True) as desk:
        fingers = TouchInput(desk)
        desk.wait_for_new_picture(lambda: fingers.draw(SQUARE))
        assert len(desk.sent_drawings[0]["strokes"]) == 1
        # The sheet does not scroll away below the finger.
        assert desk.page.evaluate("window.scrollY") == 0


def test_a_pen_that_presses_draws_wider(desk: PageDriver) -> None:
    fingers = TouchInput(desk)
    for y, force in ((0.3, 0.2), (0.7, 1.0)):
        fingers.pen("press", 0.2, y, force)
        for x in (0.4, 0.6, 0.8):
            fingers.pen("move", x, y, force)
        fingers.pen("release", 0.8, y, 0)
    light, hard = desk.measure_ink(0.3, 0.2, 0.7, 0.4), desk.measure_ink(0.3, 0.6, 0.7, 0.8)
    assert hard > 2 * light > 0


def test_a_palm_draws_nothing_beside_a_pen(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "tablet", has_touch=True) as desk:
        fingers = TouchInput(desk)
        # The palm comes first, and stays.
        fingers.touch(0, 0.8, 0.8)
        fingers.move(0, 0.85, 0.9)
        assert desk.measure_ink(0.7, 0.7) > 0
        fingers.pen("press", 0.2, 0.2)
        fingers.pen("move", 0.5, 0.2)
        fingers.move(0, 0.9, 0.95)
        fingers.touch(1, 0.7, 0.9)
        fingers.pen("release", 0.5, 0.2)
        fingers.lift(1)
        fingers.lift(0)
        assert desk.measure_ink(0.6, 0.6) == 0
        assert desk.measure_ink(0, 0, 0.6, 0.4) > 0


def test_a_finger_draws_beside_a_hand_that_rests(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "tablet", has_touch=True) as desk:
        fingers = TouchInput(desk)
        fingers.touch(0, 0.9, 0.9)
        fingers.touch(1, 0.2, 0.2)
        fingers.move(1, 0.5, 0.5)
        fingers.lift(1)
        fingers.lift(0)
        assert desk.measure_ink(0.1, 0.1, 0.6, 0.6) > 0
        assert desk.measure_ink(0.8, 0.8) == 0


def test_steps_go_back_and_forth(desk: PageDriver) -> None:
    first = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
    second = desk.wait_for_new_picture(lambda: desk.draw(ACROSS))
    assert first != second
    assert desk.measure_ink(0.3, 0.45, 0.7, 0.55) > 0

    assert desk.wait_for_new_picture(lambda: desk.press("Undo")) == first
    assert desk.measure_ink(0.3, 0.45, 0.7, 0.55) == 0
    assert desk.wait_for_new_picture(lambda: desk.press("Redo")) == second

    desk.press("New sheet")
    assert desk.measure_ink() == 0
    desk.expect_state("empty")
    expect(desk.page.locator("#picture")).to_be_hidden()
    desk.page.keyboard.press("Control+z")
    desk.expect_picture()
    assert desk.get_shown_picture() == second
    desk.page.keyboard.press("Control+z")
    desk.page.keyboard.press("Control+z")
    expect(desk.page.get_by_role("button", name="Undo")).to_be_disabled()
    desk.page.keyboard.press("Control+Shift+z")
    assert desk.measure_ink(0.15, 0.15, 0.25, 0.85) > 0


def test_the_eraser_cuts_strokes(desk: PageDriver) -> None:
    desk.wait_for_new_picture(lambda: desk.draw(ACROSS))
    desk.pick("Eraser")
    desk.wait_for_new_picture(lambda: desk.draw([(0.5, 0.3), (0.5, 0.7)]))
    # Its radius is 32 thousandths of the sheet.
    assert desk.measure_ink(0.5 - 0.031, 0.4, 0.5 + 0.031, 0.6) == 0
    assert desk.measure_ink(0.1, 0.45, 0.45, 0.55) > 0
    assert desk.measure_ink(0.55, 0.45, 0.9, 0.55) > 0
    left, right = desk.sent_drawings[-1]["strokes"]
    assert max(x for x, _ in left["points"]) < 468 < 532 < min(x for x, _ in right["points"])

    desk.press("Undo")
    assert desk.measure_ink(0.48, 0.45, 0.52, 0.55) > 0
    desk.pick("Thick pen")
    before = desk.measure_ink()
    desk.draw([(0.2, 0.8), (0.8, 0.8)])
    assert desk.measure_ink() - before > 1.5 * before


def test_another_model_draws_another_picture(desk: PageDriver, server: RunningServer) -> None:
    bag = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
    shoe = desk.wait_for_new_picture(lambda: desk.pick("Shoes"))
    assert decode_pixels(shoe).tolist() == decode_pixels(request_picture(server, "shoes", desk.sent_drawings[-1])).tolist()
    assert bag != shoe
    card = desk.page.locator(".card", has_text="Shoes").locator("img")
    assert card.evaluate("it => it.complete && it.naturalWidth") == 64

    desk.page.reload()
    desk.expect_picture()
    expect(desk.page.get_by_role("radio", name="Shoes")).to_be_checked()
    assert desk.get_shown_picture() == shoe


def test_an_outline_lies_below_and_is_never_sent(desk: PageDriver) -> None:
    desk.pick("Outline 2")
    below = desk.page.locator("#outline-below")
    expect(below).to_be_visible()
    assert below.evaluate("it => it.complete && it.naturalWidth") == 256
    assert float(below.evaluate("it => getComputedStyle(it).opacity")) < 0.5
    # Nothing is drawn by it.
    assert desk.measure_ink() == 0
    desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
    assert len(desk.sent_drawings[-1]["strokes"]) == 1
    desk.pick("Empty sheet")
    expect(below).to_be_hidden()


def test_the_drawing_outlives_a_reload(desk: PageDriver) -> None:
    before = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
    ink = desk.measure_ink()
    desk.page.reload()
    desk.expect_picture()
    assert desk.measure_ink() == pytest.approx(ink, rel=0.01)
    assert desk.get_shown_picture() == before
    assert desk.page.context.cookies() == []


def test_it_speaks_korean_and_english(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "phone", locale="ko-KR") as desk:
        expect(desk.page.locator("html")).to_have_attribute("lang", "ko")
        expect(desk.page.get_by_role("button", name="저장")).to_be_visible()
        desk.expect_notice("그려 보세요")
        # Nothing of the other language is left but the way there, titles and the name of a key.
        words = desk.page.evaluate("document.body.innerText.match(/[A-Za-z]+/g)")
        assert set(words) == {"Bags", "Shoes", "English", "Shift"}
        desk.press("English")
        expect(desk.page.locator("html")).to_have_attribute("lang", "en")
        expect(desk.page.get_by_role("button", name="Save")).to_be_visible()
        desk.page.reload()
        expect(desk.page.get_by_role("button", name="Undo")).to_be_visible()
        assert desk.page.title().startswith("icanvas: draw")


def test_both_are_saved_side_by_side(desk: PageDriver, tmp_path: Path) -> None:
    desk.pick("Outline 1")
    # Saved before the picture is there: it is waited for.
    desk.draw(SQUARE)
    with desk.page.expect_download() as download:
        desk.press("Save")
    assert download.value.suggested_filename.startswith("icanvas-bags-")
    saved = tmp_path / "saved.png"
    download.value.save_as(saved)
    image = np.asarray(Image.open(saved).convert("RGB")).astype(int)
    assert image.shape == (1152, 2240, 3)
    drawing, picture = image[64:-64, 64:1088], image[64:-64, 1152:2176]
    dark = drawing.max(2) < 100
    # The square alone, and not the outline below it.
    assert dark[195:215, 300:700].any() and dark[300:700, 195:215].any()
    assert not dark[300:700, 300:700].any() and (drawing[300:700, 300:700] == 255).all()
    small = Image.fromarray(picture.astype(np.uint8)).resize((64, 64), Image.Resampling.BOX)
    shown = decode_pixels(desk.get_shown_picture())
    assert np.corrcoef(np.asarray(small).ravel(), shown.ravel())[0, 1] > 0.9


def test_keys_draw_and_choose(desk: PageDriver) -> None:
    page = desk.page
    page.get_by_role("radio", name="Medium pen").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Thick pen")).to_be_checked()
    page.get_by_role("application", name="Drawing sheet").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Pen down")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowLeft"):
        for _ in range(4):
            page.keyboard.press(key)
    desk.wait_for_new_picture(lambda: page.keyboard.press("Space"))
    (stroke,) = desk.sent_drawings[-1]["strokes"]
    assert stroke["points"][0] == [500, 500] and stroke["points"][-1] == [500, 700]
    # Without the pen it moves, and draws nothing.
    page.keyboard.press("ArrowLeft")
    assert desk.measure_ink(0, 0, 0.45, 1) == 0


def test_undoing_lifts_the_pen_of_the_keys(desk: PageDriver) -> None:
    page = desk.page
    desk.wait_for_new_picture(lambda: desk.draw(ACROSS))
    page.get_by_role("application", name="Drawing sheet").focus()
    marker = page.locator("#marker.down")
    page.keyboard.press("Space")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowDown")
    assert desk.measure_ink(0.4, 0.6, 0.6, 0.8) > 0
    page.keyboard.press("Control+z")
    expect(marker).to_have_count(0)
    assert desk.measure_ink(0.4, 0.6, 0.6, 0.8) == 0
    # Down again with one key, where it is.
    page.keyboard.press("Space")
    expect(marker).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_have_text("Pen up")
    assert desk.measure_ink(0.35, 0.6, 0.45, 0.8) > 0


def test_a_dot_invites_to_draw_more(desk: PageDriver) -> None:
    with desk.page.expect_response("**/generate") as answer:
        desk.draw([(0.5, 0.5), (0.5, 0.5)])
    assert answer.value.json()["error"] == "empty"
    desk.expect_state("empty")
    assert desk.measure_ink(0.45, 0.45, 0.55, 0.55) > 0


def test_lines_end_at_the_edge(desk: PageDriver) -> None:
    desk.wait_for_new_picture(lambda: desk.draw([(0.5, 0.5), (1.02, 0.5), (1.02, 0.7), (0.5, 0.7)]))
    strokes = desk.sent_drawings[-1]["strokes"]
    assert len(strokes) == 2
    assert max(x for stroke in strokes for x, _ in stroke["points"]) == 1000


def test_turning_the_tablet_keeps_the_drawing_sharp(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address, "tablet", device_scale_factor=2) as desk:
        desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
        ink = desk.measure_ink()
        desk.page.set_viewport_size({"width": 1180, "height": 820})
        sheet = desk.page.locator("#sheet")
        expect(sheet).to_have_js_property(
            "width", 2 * round(sheet.evaluate("it => it.clientWidth"))
        )
        assert desk.measure_ink() == pytest.approx(ink, rel=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_everything_has_room(browser: Browser, server: RunningServer, size: str) -> None:
    with open_page(browser, server.address, size) as desk:
        desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
        width, height = SIZES[size]
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= width
        # Sheet and picture are seen at once.
        for part in ("#sheet", "#frame", "#undo", "#save"):
            box = desk.page.locator(part).bounding_box()
            assert box is not None and box["y"] + box["height"] <= height, part
        for target in desk.page.locator("button:visible, label:visible").all():
            box = target.bounding_box()
            assert box is not None and min(box["width"], box["height"]) >= 48


def test_it_works_below_a_prefix(browser: Browser, server: RunningServer) -> None:
    with open_page(browser, server.address) as desk:
        prefix = f"{server.address}/for/children/"

        def forward(route: Route) -> None:
            url = route.request.url.replace(prefix, f"{server.address}/")
            route.fulfill(response=route.fetch(url=url))

        desk.page.route(f"{prefix}**", forward)
        desk.page.goto(prefix)
        before = len(desk.requests)
        desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
        asked = [each.url for each in desk.requests[before:] if each.url.startswith("http")]
        assert asked and all(url.startswith(prefix) for url in asked)
