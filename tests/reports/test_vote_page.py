"""The voting page in a browser, from a file."""

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

# Which checkpoint drew the picture of each button, by its colour: red, green or blue.
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
        pytest.skip("there is no chromium; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        yield page
        browser.close()


@pytest.fixture
def page(browser_page: Page, tmp_path: Path) -> Iterator[Page]:
    """A page of a comparison of its own, for what was voted on is remembered."""
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
    assert not outside, "the page asks elsewhere"


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


def assert_blind(page: Page) -> None:
    text = read_visible_text(page)
    for secret in (*CHECKPOINT_COLORS, "production", "L1", "edge F1", "0.123"):
        assert secret not in text, f"{secret} is seen before voting"


def test_votes_are_blind_and_come_out_right(page: Page, tmp_path: Path) -> None:
    assert "Shoes </script><b>& more" in read_visible_text(page)
    assert_blind(page)
    assert page.locator("#finish").is_disabled()
    orders = [read_shown_checkpoints(page)]
    assert sorted(orders[0]) == sorted(CHECKPOINT_COLORS), "one of them is not among them"
    # By keys, by click, and for none of them.
    page.keyboard.press("2")
    assert "Drawing 2 of 3; 1 voted on" in read_visible_text(page)
    assert_blind(page)
    orders.append(read_shown_checkpoints(page))
    page.locator("#grid .pick").nth(2).click()
    orders.append(read_shown_checkpoints(page))
    page.keyboard.press("1")
    page.keyboard.press("0")
    assert page.locator("#none").get_attribute("aria-pressed") == "true"
    # Changing one's mind.
    page.keyboard.press("ArrowLeft")
    assert read_shown_checkpoints(page) == orders[1], "they are mixed again while one looks"
    assert page.locator("#grid .pick[aria-pressed=true]").count() == 1
    page.keyboard.press("1")
    # A figure in a name is no vote.
    page.fill("#voter", "Kim ")
    page.keyboard.press("1")
    assert_blind(page)
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


def test_what_was_voted_on_is_remembered_and_finishing_early_is_asked_about(page: Page) -> None:
    page.keyboard.press("1")
    page.reload()
    assert "Drawing 2 of 3; 1 voted on" in read_visible_text(page)
    messages: list[str] = []

    def refuse(dialog: Dialog) -> None:
        messages.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    page.click("#finish")
    assert "2 drawings are not voted on" in messages[0]
    assert_blind(page)
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#finish")
    assert len(json.loads(page.input_value("#text"))["votes"]) == 1
    # Who has seen which is which does not vote on.
    page.reload()
    assert page.locator("#voting").is_hidden()
    assert PRODUCTION in read_visible_text(page)


def test_columns_are_mixed(page: Page) -> None:
    loads = []
    for _ in range(12):
        page.reload()
        orders = []
        for number in range(3):
            page.locator("#dots button").nth(number).click()
            orders.append(tuple(read_shown_checkpoints(page)))
        loads.append(orders)
    assert len(set(functools.reduce(operator.iadd, loads, []))) > 2, "the columns keep their places"
    assert any(len(set(orders)) > 1 for orders in loads), "all drawings have one order"


def test_nothing_but_the_data_knows_names_before_voting() -> None:
    html = render_vote_page(TITLE, "shoes", FINGERPRINT, make_comparison(), {})
    body = re.sub(r"<template.*?</template>|<script.*?</script>", "", html, flags=re.DOTALL)
    for secret in (*CHECKPOINT_COLORS, "0.123"):
        assert secret not in body
    assert "http://" not in html and "https://" not in html
