"""The voting page in a browser, loaded from a file."""

import functools
import json
import operator
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, sync_playwright

from model.evaluation.votes import count_votes, read_votes
from reports.vote_page import render_vote_page
from tests.reports.comparisons import CHECKPOINT_COLORS, PRODUCTION, make_comparison

FINGERPRINT = "0123456789ab"
TITLE = "Shoes </script><b>& more"

# Returns the checkpoint of each button by the color of its picture: red, green or blue.
READ_SHOWN_COLORS = """
() => [...document.querySelectorAll("#grid .pick img:not(.over)")].map((image) => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = canvas.height = 1;
  pen.drawImage(image, 0, 0, 1, 1);
  const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data;
  return [red, green, blue].indexOf(Math.max(red, green, blue));
})
"""
ARE_IMAGES_LOADED = "() => [...document.images].every((image) => image.complete)"


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        yield page
        browser.close()


@pytest.fixture
def page(browser_page: Page, tmp_path: Path) -> Iterator[Page]:
    """The voting page of a new comparison, without saved votes."""
    file = tmp_path / "vote.html"
    html = render_vote_page(
        TITLE, "shoes", FINGERPRINT, make_comparison(), {"edges": {"threshold": 0.5}}
    )
    file.write_text(html)
    requests: list[str] = []
    errors: list[str] = []
    browser_page.on("request", lambda request: requests.append(request.url))
    browser_page.on("pageerror", lambda error: errors.append(str(error)))
    browser_page.goto(file.as_uri())
    browser_page.evaluate("sessionStorage.clear()")
    browser_page.reload()
    yield browser_page
    assert not errors
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    assert not outside, "the page sends requests"


def read_shown_checkpoints(page: Page) -> list[str]:
    page.wait_for_function(ARE_IMAGES_LOADED)
    names = list(CHECKPOINT_COLORS)
    return [names[which] for which in page.evaluate(READ_SHOWN_COLORS)]


def read_visible_text(page: Page) -> str:
    text = page.evaluate("""() => document.body.innerText + [...document.body.querySelectorAll('*')]
        .filter((it) => it.offsetParent)
        .map((it) => ['title', 'alt', 'aria-label'].map((name) => it.getAttribute(name)).join(' '))
        .join(' ')""")
    return str(text)


def assert_checkpoints_hidden(page: Page) -> None:
    text = read_visible_text(page)
    for secret in (*CHECKPOINT_COLORS, "production", "L1", "edge F1", "0.123"):
        assert secret not in text, f"{secret} is visible before voting"


def test_votes_are_blind_and_saved_correctly(page: Page, tmp_path: Path) -> None:
    assert "Shoes </script><b>& more" in read_visible_text(page)
    assert_checkpoints_hidden(page)
    assert page.locator("#finish").is_disabled()
    orders = [read_shown_checkpoints(page)]
    assert sorted(orders[0]) == sorted(CHECKPOINT_COLORS), "a checkpoint is missing"
    # Vote by key, by click, and for none.
    page.keyboard.press("2")
    assert "Drawing 2 of 3; 1 with a vote" in read_visible_text(page)
    assert_checkpoints_hidden(page)
    orders.append(read_shown_checkpoints(page))
    page.locator("#grid .pick").nth(2).click()
    orders.append(read_shown_checkpoints(page))
    page.keyboard.press("1")
    page.keyboard.press("0")
    assert page.locator("#none").get_attribute("aria-pressed") == "true"
    # Change a vote.
    page.keyboard.press("ArrowLeft")
    assert read_shown_checkpoints(page) == orders[1], "the order changes within a drawing"
    assert page.locator("#grid .pick[aria-pressed=true]").count() == 1
    page.keyboard.press("1")
    # A digit typed into the name is not a vote.
    page.fill("#voter", "Kim ")
    page.keyboard.press("1")
    assert_checkpoints_hidden(page)
    page.click("#finish")

    text = read_visible_text(page)
    for name in (*CHECKPOINT_COLORS, f"{PRODUCTION} (in production)", "L1", "0.123", "<empty>.png"):
        assert name in text
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == f"votes-shoes-{FINGERPRINT}-Kim-1.json"
    download.value.save_as(tmp_path / "votes.json")
    data = (tmp_path / "votes.json").read_bytes()
    votes = read_votes(data)
    assert (votes.dataset, votes.comparison, votes.voter) == ("shoes", FINGERPRINT, "Kim 1")
    chosen = [(vote.sketch, vote.chosen) for vote in votes.votes]
    expected = [orders[0][1], orders[1][0], None]
    assert chosen == [(f"line/{at}.png", name) for at, name in enumerate(expected)]
    assert sum(count_votes([votes]).values()) == 3
    assert json.loads(page.input_value("#text")) == json.loads(data)


def test_votes_survive_reload_and_early_finish_is_confirmed(page: Page) -> None:
    page.keyboard.press("1")
    page.reload()
    assert "Drawing 2 of 3; 1 with a vote" in read_visible_text(page)
    messages: list[str] = []

    def refuse(dialog: Dialog) -> None:
        messages.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    page.click("#finish")
    assert "2 drawings have no vote" in messages[0]
    assert_checkpoints_hidden(page)
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#finish")
    assert len(json.loads(page.input_value("#text"))["votes"]) == 1
    # After finishing, voting is closed.
    page.reload()
    assert page.locator("#voting").is_hidden()
    assert PRODUCTION in read_visible_text(page)


def test_order_of_checkpoints_is_random(page: Page) -> None:
    loads = []
    for _ in range(12):
        page.reload()
        orders = []
        for number in range(3):
            page.locator("#dots button").nth(number).click()
            orders.append(tuple(read_shown_checkpoints(page)))
        loads.append(orders)
    assert len(set(functools.reduce(operator.iadd, loads, []))) > 2, "the order is always the same"
    assert any(len(set(orders)) > 1 for orders in loads), "all drawings have the same order"


def test_html_without_data_contains_no_names() -> None:
    html = render_vote_page(TITLE, "shoes", FINGERPRINT, make_comparison(), {})
    body = re.sub(r"<template.*?</template>|<script.*?</script>", "", html, flags=re.DOTALL)
    for secret in (*CHECKPOINT_COLORS, "0.123"):
        assert secret not in body
    assert "http://" not in html and "https://" not in html
