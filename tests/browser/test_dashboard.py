"""The dashboard as a person uses it: by eye, by keyboard, on a phone, while the numbers change."""

import itertools

import httpx
import pytest

from arauto.core.i18n import number, percent
from arauto.dashboard import SESSION_COOKIE
from arauto.store import Store
from tests.browser.conftest import until

pytestmark = pytest.mark.browser

TITLES = {"pt-BR": ("Impressões", "Cliques", "Taxa de cliques"), "en": ("Impressions", "Clicks", "Click rate")}


TOO_WIDE = """[...document.querySelectorAll('body *')]
  .filter((one) => one.checkVisibility() && !one.closest('.sr, .skip, thead, .scroll'))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="session")
def session(stage):
    """The administrator's, begun once: the flows sign in as a person does."""
    server, _ = stage
    told = httpx.post(
        f"{server.url}/login", data={"token": server.token}, headers={"Origin": server.url}, timeout=60, verify=False
    )
    return told.cookies[SESSION_COOKIE]


@pytest.fixture
def desk(visit, shop, session):
    """``async with desk() as page``: signed in, on the page of the shop's campaign. An error in the console fails."""

    class Desk:
        def __init__(self, **options):
            self.options = {"locale": "en-US", **options}
            self.problems = []

        async def __aenter__(self):
            self.entered = visit("", **self.options)
            page = await self.entered.__aenter__()
            page.on("console", lambda told: self.problems.append(told.text) if told.type == "error" else None)
            await page.context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": shop.url}])
            await page.goto(f"{shop.url}/dashboard/campaigns/{shop.campaign}")
            return page

        async def __aexit__(self, *raised):
            await self.entered.__aexit__(*raised)
            assert self.problems == []

    return Desk


async def tile(page, title):
    """The number of a tile."""
    return await page.inner_text(f".tile:has(dt:text-is('{title}')) b")


async def test_a_link_signs_in_once_and_lists_the_campaigns(shop, stage, visit):
    async with await Store.open(stage[1]) as store:
        code = await store.new_login_code()
    async with visit("", locale="en-US") as page:
        await page.goto(f"{shop.url}/login?code={code}")
        await page.wait_for_url("**/dashboard")
        assert await page.get_by_role("heading", name="Campaigns").is_visible()
        await page.get_by_role("link", name="relógio").first.click()
        await page.wait_for_url("**/dashboard/campaigns/*")
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/login")
        await page.goto(f"{shop.url}/dashboard")
        await page.wait_for_url("**/login")
        await page.goto(f"{shop.url}/login?code={code}")
        assert await page.get_by_role("alert").is_visible()


async def test_a_wrong_token_is_told_at_its_field(shop, visit):
    async with visit(f"{shop.url}/login", locale="en-US") as page:
        await page.get_by_label("Admin token").fill("wrong")
        await page.get_by_role("button", name="Sign in with the token").click()
        assert "not the admin token" in await page.get_by_role("alert").inner_text()
        assert await page.get_by_label("Admin token").get_attribute("aria-invalid") == "true"


@pytest.mark.parametrize(("language", "locale"), [("pt-BR", "pt-BR"), ("en", "en-GB")])
async def test_the_numbers_are_those_of_the_store(shop, desk, language, locale):
    await shop.visits(40, clicks=9, load=300)
    ((impressions, clicks),) = await shop.rows(
        "SELECT count(shown_ms), count(clicked_ms) FROM exposures WHERE campaign_id = %s", shop.campaign
    )
    assert (impressions, clicks) == (40, 9)
    async with desk(locale=locale) as page:
        assert await page.get_attribute("html", "lang") == language
        written = [number(40, language), number(9, language), percent(9 / 40, language)]
        assert [await tile(page, title) for title in TITLES[language]] == written
        totals = await page.locator("#variants ~ table tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].slice(1, 3).map((cell) => Number(cell.innerText)))"
        )
        report = await shop.report()
        assert totals == [[one["impressions"], one["clicks"]] for one in report["variants"]]
        assert sum(row[0] for row in totals) == 40


async def test_numbers_change_under_the_reader_and_nothing_else_does(shop, desk):
    await shop.visits(6, clicks=1)
    async with desk(viewport={"width": 900, "height": 500}) as page:
        summary = page.locator("#rates ~ details summary")
        await summary.click()
        await summary.focus()
        scrolled = await page.evaluate("scrollY")
        assert scrolled > 0
        await shop.visits(5, clicks=5)
        await until(lambda: page.evaluate("document.querySelector('.tile b').textContent === '11'"))
        assert await summary.evaluate("(one) => document.activeElement === one && one.parentElement.open")
        assert abs(await page.evaluate("scrollY") - scrolled) < 2
        cells = await page.locator("#rates ~ details tbody tr").all_inner_texts()
        report = await shop.report()
        assert [percent(one["ctr"]["value"], "en") in cell for one, cell in zip(report["variants"], cells, strict=True)]


async def test_updates_can_be_paused(shop, desk):
    async with desk() as page:
        await page.get_by_role("button", name="Pause updates").click()
        assert await page.get_by_role("status").inner_text() == "updates paused"
        await shop.visits(3)
        await page.wait_for_timeout(3000)
        assert await tile(page, "Impressions") == "0"
        await page.get_by_role("button", name="Resume updates").click()
        await until(lambda: page.evaluate("document.querySelector('.tile b').textContent === '3'"))


async def test_a_lost_connection_is_said_and_found_again(shop, desk):
    view = desk()
    async with view as page:
        await page.context.set_offline(True)
        await until(
            lambda: page.evaluate("document.querySelector('[role=status]').innerText.startsWith('no connection')")
        )
        await page.context.set_offline(False)
        await until(lambda: page.evaluate("document.querySelector('[role=status]').innerText === 'live'"))
        view.problems.clear()


async def test_everything_has_a_name_for_a_screen_reader(shop, desk):
    await shop.visits(8, clicks=2)
    async with desk() as page:
        for name in ("Click rate, with its 95% interval", "Share of the traffic over time"):
            charts = page.get_by_role("img", name=name)
            assert await charts.evaluate_all("all => all.filter((one) => one.checkVisibility()).length") == 1
        assert await page.get_by_role("table", name="The variants compared").count() == 1
        assert await page.get_by_role("rowheader").count() >= 2
        headings = await page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.tagName[1]))"
        )
        assert headings[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
        unnamed = await page.evaluate(
            """[...document.querySelectorAll('a, button, input:not([type=hidden]), [role=region]')]
            .filter((one) => !one.ariaLabel &&
            !one.textContent.trim() && !one.labels?.length).map((one) => one.outerHTML)"""
        )
        assert unnamed == []


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(shop, desk):
    await shop.visits(4)
    async with desk() as page:
        reached = []
        for _ in range(40):
            await page.keyboard.press("Tab")
            at = await page.evaluate(
                """() => { const one = document.activeElement; const style = getComputedStyle(one);
                return one === document.body ? null : [one.innerText.trim(), style.outlineStyle] }"""
            )
            if at is None:
                break
            reached.append(at)
        texts = [text for text, _ in reached]
        assert texts[0] == "Skip to the content"
        for wanted in ("Sign out", "Pause updates", "Campaigns", "Show as a table", "Download report"):
            assert wanted in texts
        assert {outline for _, outline in reached} == {"solid"}


async def test_no_width_is_too_narrow(shop, desk):
    await shop.visits(12, clicks=3, load=400)
    async with desk() as page:
        for address in ("/dashboard", f"/dashboard/campaigns/{shop.campaign}", "/demo"):
            for language in ("pt-BR", "en"):
                await page.goto(f"{shop.url}{address}?lang={language}")
                for width in (320, 390, 768, 1280):
                    await page.set_viewport_size({"width": width, "height": 800})
                    if address == "/demo":
                        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                    else:
                        assert await page.evaluate(TOO_WIDE) == []
