import asyncio
import itertools
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from playwright.async_api import async_playwright
from psycopg.conninfo import make_conninfo

from arauto.core.settings import Secret, Settings
from arauto.server import running
from tests.browser.shop import Shop
from tests.browser.stub import Stub
from tools.browser import ARGUMENTS, find_browser


def pytest_collection_modifyitems(items):
    """What these tests look at runs in other processes: tracing this one would only slow the browser's driver down."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.no_cover)


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
        context.set_default_timeout(60_000)
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


@pytest.fixture(scope="session")
def stage(postgres, template, tmp_path_factory):
    """A running server and its settings."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE browser TEMPLATE {template} STRATEGY FILE_COPY")
    url = Secret(make_conninfo(postgres, dbname="browser"))
    settings = Settings(home=tmp_path_factory.mktemp("browser"), database_url=url, port=0, rate_limit=0)
    with running(settings, timeout=300) as server:
        yield server, settings


@pytest.fixture(scope="session")
def names():
    """A new name for each site and its campaign."""
    return (f"shop-{number}" for number in itertools.count())


@pytest.fixture
async def shop(stage, names):
    with Stub() as pages:
        opened = Shop(*stage, pages, next(names))
        yield await opened.open()
        await opened.close()


async def until(check, *, seconds=60):
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


GLIMPSES = """async (times) => {
  let longest = 0, since = 0;
  const seen = new IntersectionObserver((all) => all.forEach((one) => {
    if (one.intersectionRatio >= 0.5) since ||= performance.now();
    else if (since) { longest = Math.max(longest, performance.now() - since); since = 0 }
  }), {threshold: 0.5});
  seen.observe(slot);
  const rest = () => new Promise((done) => setTimeout(done, 300));
  for (let n = 0; n < times; n++) { scrollTo(0, slot.offsetTop); await rest(); scrollTo(0, 0); await rest() }
  seen.disconnect();
  return since ? Infinity : longest;
}"""


async def glimpsed_only(page, times, told):
    """Show the slot below so often, for 300 ms each: what ``await told()`` says must not change.

    On a busy machine a glimpse may take a second, and then counts rightly: it is tried again.
    """
    for _ in range(20):
        before = await told()
        longest = await page.evaluate(GLIMPSES, times)
        after = await told()
        if 0 < longest < 900:
            assert after == before
            return
        await page.reload()
        await page.wait_for_selector("[data-arauto-variant]", state="attached")
    pytest.fail("this machine shows nothing for less than a second")
