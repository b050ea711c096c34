from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.serving.page.browser import open_browser


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with open_browser() as opened_browser:
        yield opened_browser
