"""The UI in a browser: the form of `extract`, and the artifacts of its run."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from storage.pair_sets import read_current, read_settings
from tests.operations.conftest import RunningStack

pytestmark = pytest.mark.slow


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 970})
        page.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        yield page
        browser.close()


def test_extract_starts_from_its_form(
    stack: RunningStack, page: Page, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    shots = Path(pytestconfig.getoption("--shots") or tmp_path)
    quick = {"border": 2, "limit": 16}
    stack.wait_completed(stack.start("prepare/prepare", source="demo", options=quick))

    page.goto(f"{stack.url}/deployments")
    page.get_by_role("link", name="extract", exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.get_by_text("Custom run").click()
    expect(page.get_by_text("Edge probability")).to_be_visible()
    selects, numbers = page.locator(".p-select-button__control"), page.locator("[type=number]")
    # A click by Playwright opens the list and closes it at once.
    selects.nth(0).press("Space")
    page.get_by_role("option", name="demo", exact=True).click()
    numbers.nth(0).fill("0.3")
    numbers.nth(2).fill("2")
    page.screenshot(path=shots / "extract-form.png")
    for _ in range(20):
        with page.expect_response(re.compile("create_flow_run")) as answer:
            page.get_by_role("button", name="Submit").click()
        # SQLite under load returns 503; click again.
        if answer.value.status != 503:
            break
    assert answer.value.ok, answer.value.text()

    run = answer.value.json()["id"]
    stack.wait_completed(UUID(run))
    page.goto(f"{stack.url}/runs/flow-run/{run}")
    # The generated name of the flow run.
    expect(page.get_by_text("extract demo: threshold 0.3, border 2").first).to_be_visible()

    for artifact, shot in (("pairs-demo", "extract-run"), ("against-demo", "extract-against")):
        page.goto(f"{stack.url}/artifacts/key/{artifact}")
        page.locator("a[href*='/artifacts/artifact/']").first.click()
        picture = page.locator("img[src^='data:image/jpeg']").first
        expect(picture).to_be_visible()
        assert picture.evaluate("it => it.complete && it.naturalWidth") >= 500
        expect(page.get_by_role("cell", name="pairs", exact=True).first).to_be_visible()
        page.screenshot(path=shots / f"{shot}.png")

    current = read_current(stack.store, "demo")
    assert current is not None
    assert read_settings(stack.store, "demo", current.fingerprint)["edges"]["threshold"] == 0.3
