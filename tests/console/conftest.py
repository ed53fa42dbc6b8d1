"""Chromium for the tests of the page."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, ViewportSize

from tests.console.browser import browser


@pytest.fixture(scope="module")
async def chromium(processes: None) -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    opened = await chromium.new_context(
        viewport=ViewportSize(width=1280, height=900), color_scheme="light", reduced_motion="no-preference"
    )
    opened.set_default_timeout(15_000)
    yield opened
    await opened.close()
