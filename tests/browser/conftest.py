import asyncio
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import async_playwright

from tests.browser.stub import Stub
from tools.browser import ARGUMENTS, find_browser


@pytest.fixture(scope="session")
async def browser():
    path = await asyncio.to_thread(find_browser)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=str(path), args=list(ARGUMENTS))
        yield launched
        await launched.close()


@pytest.fixture
def stub():
    """A server that answers as Arauto's would, or misbehaves as told, and remembers what it was asked."""
    with Stub() as stub:
        yield stub


@pytest.fixture
def visit(browser):
    """``async with visit(url, **context options) as page``: a new visitor's page, where any error fails the test."""

    @asynccontextmanager
    async def open_page(url, *, gpc=False, wait=True, **options):
        context = await browser.new_context(**options)
        if gpc:
            await context.set_extra_http_headers({"Sec-GPC": "1"})
            await context.add_init_script(
                "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
            )
        page = await context.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))
        if url:
            await page.goto(url, wait_until="load" if wait else "commit")
        try:
            yield page
        finally:
            await context.close()
        assert not errors

    return open_page


async def until(check, *, seconds=20):
    """Wait until ``check()``, or what it awaits, is true; return it. The deadline only ends a test that fails."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        result = check()
        if hasattr(result, "__await__"):
            result = await result
        if result:
            return result
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.05)
