"""The whole way with nothing in between: Chromium, the snippet, a server process, PostgreSQL."""

import asyncio
import json
import os
import signal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import pytest

from arauto.server import running
from tests.browser.conftest import glimpsed_only, until
from tests.browser.shop import Shop
from tests.browser.stub import Stub

pytestmark = pytest.mark.browser

VITALS = {"LCP", "INP", "CLS", "FCP", "TTFB", "load"}
BUY = """<script type="module">import {{track}} from '{url}/arauto.js';
  track('purchase', {{value: 1299.9, currency: 'BRL', order: 'A1'}});</script>"""


async def visitor_of(page):
    return json.loads(await page.evaluate("localStorage['arauto:visitor']"))


async def test_everything_a_visit_tells_is_in_the_store_once(shop, visit):
    shop.page(BUY.format(url=shop.url), "granted", path="/shop")
    body = f'<div data-arauto="{shop.name}" id="slot">default</div><button id="other">A button</button>'
    async with visit(shop.page(body, consent="granted")) as page:
        await until(shop_has(shop, "impression"))
        # An interaction whose frame is sure to be painted before the page ends.
        await page.click("#other")
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 200)))")
        variant = await page.get_attribute("#slot", "data-arauto-variant")
        assert await page.inner_text("#slot [data-arauto-title]") == f"Título {variant}"
        assert await page.inner_text("#slot [data-arauto-cta]") == "Saiba mais"
        visitor = await visitor_of(page)
        await page.click("#slot a")
        await page.wait_for_url("**/shop")
        await until(shop_has(shop, "purchase"))
        await page.goto("about:blank")
        await until(shop_has(shop, "web_vital", 6))
    assert await shop.types() == {"impression": 1, "click": 1, "purchase": 1, "web_vital": 6}
    metrics = await shop.rows(
        "SELECT metric::text, reading FROM events WHERE metric IS NOT NULL AND campaign_id = %s", shop.campaign
    )
    assert {metric for metric, _ in metrics} == VITALS
    report = await shop.report()
    totals = report["totals"]
    assert (totals["impressions"], totals["clicks"], totals["purchases"], totals["orders"]) == (1, 1, 1, 1)
    assert totals["revenue_cents"] == 129_990
    assert totals["vitals"]["load"]["readings"] == 1
    (told,) = [one for one in report["variants"] if one["impressions"]]
    assert told["name"] == variant
    visitors = await shop.rows("SELECT DISTINCT visitor_id FROM exposures WHERE campaign_id = %s", shop.campaign)
    assert visitors == [(UUID(visitor),)]


def shop_has(shop, kind, number=1):
    """Whether the store has (at least) so many events of a type by now."""

    async def check():
        return (await shop.types()).get(kind, 0) >= number

    return check


async def test_what_was_not_seen_for_a_second_is_no_impression(shop, visit):
    below = f'<div class="tall"></div><div data-arauto="{shop.name}" id="slot">default</div>'
    async with visit(shop.page(below)) as page:
        await page.wait_for_selector("[data-arauto-variant]", state="attached")

        async def told():
            await page.wait_for_timeout(1500)
            return await shop.types()

        assert await told() == {}
        await glimpsed_only(page, 1, told)
        await page.evaluate("scrollTo(0, 1e6)")
        await until(shop_has(shop, "impression"))


async def test_what_happened_offline_is_delivered_once(shop, visit):
    async with visit(shop.page(consent="granted")) as page:
        await page.wait_for_selector("[data-arauto-variant]")
        await page.context.set_offline(True)
        await page.wait_for_timeout(1300)
        await page.evaluate(f"async () => (await import('{shop.url}/arauto.js')).track('rating', {{score: 5}})")
        await page.wait_for_timeout(1500)
        assert await shop.types() == {}
        await page.context.set_offline(False)
        await until(shop_has(shop, "rating"))
        await page.reload()
        await until(shop_has(shop, "impression", 2))
    found = await shop.types()
    assert (found["impression"], found["rating"]) == (2, 1)
    totals = (await shop.report())["totals"]
    assert (totals["impressions"], totals["ratings"], totals["rating"]["value"]) == (2, 1, 5.0)


async def test_two_tabs_are_one_visitor_and_count_once_each(shop, visit):
    url = shop.page(consent="granted")
    async with visit(url) as page:
        await until(shop_has(shop, "impression"))
        other = await page.context.new_page()
        await other.goto(url)
        await until(shop_has(shop, "impression", 2))
        for tab in (page, other):
            await tab.evaluate(f"async () => (await import('{shop.url}/arauto.js')).track('cart', {{item: 'w1'}})")
        await until(shop_has(shop, "cart", 2))
        visitor = await visitor_of(page)
        await page.reload()
        await other.close()
        await until(shop_has(shop, "impression", 3))
    assert (await shop.types())["cart"] == 2
    visitors = await shop.rows("SELECT DISTINCT visitor_id FROM exposures WHERE campaign_id = %s", shop.campaign)
    assert visitors == [(UUID(visitor),)]
    assert (await shop.report())["totals"]["impressions"] == 3


@pytest.mark.parametrize("refusal", ["global privacy control", "denied", "nothing said"])
async def test_without_consent_it_counts_and_nobody_is_known(shop, visit, refusal):
    gpc = refusal == "global privacy control"
    sent = []
    async with visit("", gpc=gpc) as page:
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await page.goto(shop.page(consent={"denied": "denied", "nothing said": ""}.get(refusal, "granted")))
        if gpc:
            await page.evaluate(f"async () => (await import('{shop.url}/arauto.js')).consent('granted')")
        await until(shop_has(shop, "impression"))
        await page.evaluate(
            f"""async () => {{ const {{track}} = await import('{shop.url}/arauto.js');
            track('purchase', {{value: 5, currency: 'BRL', order: 'secret-order'}});
            track('cart', {{item: 'secret-item'}});
            track('signup', {{mail: 'secret-mail'}}) }}"""
        )
        await page.click("#slot a", modifiers=["ControlOrMeta"])
        await until(shop_has(shop, "custom"))
        await until(shop_has(shop, "click"))
        stored = await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
    assert "visitor" not in stored
    assert not [line for line in sent if '"visitor"' in line or "secret-" in line]
    personal = await shop.rows(
        "SELECT count(*) FROM events WHERE campaign_id = %s AND"
        " (visitor_id IS NOT NULL OR ref <> '' OR props IS NOT NULL)",
        shop.campaign,
    )
    assert personal == [(0,)]
    assert await shop.rows(
        "SELECT count(*) FROM exposures WHERE campaign_id = %s AND visitor_id IS NOT NULL", shop.campaign
    ) == [(0,)]
    assert "secret-" not in await shop.dump()
    totals = (await shop.report())["totals"]
    assert (totals["impressions"], totals["clicks"], totals["purchases"]) == (1, 1, 1)


async def test_forget_leaves_no_row_of_the_visitor(shop, visit):
    async with visit(shop.page(consent="granted")) as page:
        await until(shop_has(shop, "impression"))
        visitor = await visitor_of(page)
        await page.evaluate(f"async () => (await import('{shop.url}/arauto.js')).track('rating', {{score: 5}})")
        await until(shop_has(shop, "rating"))
        assert visitor in await shop.dump()
        assert await page.evaluate(f"async () => (await import('{shop.url}/arauto.js')).forget()") is True
        assert visitor not in await page.evaluate("JSON.stringify(localStorage)")
        await page.goto("about:blank")
        dump = await shop.dump()
    assert visitor not in dump
    assert UUID(visitor).hex not in dump
    assert (await shop.report())["totals"]["impressions"] == 0


async def test_markup_in_a_text_is_shown_as_text(stage, names, visit):
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    with Stub() as pages:
        shop = Shop(*stage, pages, next(names))
        await shop.open(copies=[{"title": evil, "description": evil, "image_suggestion": evil}])
        async with visit(shop.page()) as page:
            await page.wait_for_selector("[data-arauto-variant]")
            assert await page.inner_text("#slot [data-arauto-title]") == evil
            await page.wait_for_timeout(300)
            assert await page.query_selector("#slot img, #slot script") is None
            assert await page.evaluate("window.hacked") is None
        await shop.close()


async def test_the_default_stays_when_the_campaign_is_paused(shop, visit):
    await shop.ask("POST", f"/v1/campaigns/{shop.campaign}/state", state="paused")
    async with visit("") as page:
        async with page.expect_response("**/v1/decide") as decided:
            await page.goto(shop.page())
        assert (await decided.value).status == 404
        assert await page.inner_text("#slot") == "default"


async def test_the_default_stays_when_the_server_is_gone(stage, names, visit, tmp_path):
    """The page has the module in its cache, and the server has ended since."""
    _, settings = stage
    with Stub() as pages, running(msgspec.structs.replace(settings, home=tmp_path), timeout=300) as server:
        shop = Shop(server, settings, pages, next(names))
        await shop.open()
        await shop.close()
        url = shop.page(f'<div data-arauto="{shop.name}" id="slot">default</div>')
        async with visit(url) as page:
            await page.wait_for_selector("[data-arauto-variant]")
            context = page.context
            # The next visit finds the module still fresh.
            await page.goto("about:blank")
            await stop_and_look(context, server, url)


async def stop_and_look(context, server, url):
    os.kill(server.pid, signal.SIGTERM)
    address = urlsplit(server.url)

    async def shut():
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            return True
        writer.close()
        return False

    # Asking the socket costs nothing, and loading a page half a second of a core.
    await until(shut)
    page = await context.new_page()
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))

    async def gone():
        await page.goto(url)
        return await page.inner_text("#slot") == "default" and any("/v1/decide" in one for one in failed)

    await until(gone)
    await page.wait_for_timeout(1000)
    assert await page.inner_text("#slot") == "default"


async def test_the_demo_shop_by_both_answers(shop, stage, names, visit):
    """Accept: the purchase is the visitor's. Reject, in another browser: it counts, and nothing is kept there."""
    url = f"{shop.url}/demo?campaign={shop.name}"
    problems = []

    async def walk(choice, bought):
        async with visit("") as page:
            page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
            before = (await shop.types()).get("impression", 0)
            await page.goto(url)
            await page.click(choice)
            # What was decided before the answer stays nobody's; the next page is decided after it.
            await until(shop_has(shop, "impression", before + 1))
            await page.reload()
            await page.wait_for_selector("#slot[data-arauto-variant]")
            assert not await page.is_visible("#consent")
            await until(shop_has(shop, "impression", before + 2))
            await page.click("#buy")
            await page.click(".stars label:nth-child(4)")
            assert await page.inner_text("#sold") != ""
            await until(shop_has(shop, "purchase", bought))
            await until(shop_has(shop, "rating", bought))
            return await page.evaluate("JSON.stringify(localStorage)")

    assert await walk("#accept", 1) != "{}"
    assert await walk("#reject", 2) == '{"arauto:consent":"\\"denied\\""}'
    assert problems == []
    totals = (await shop.report())["totals"]
    assert (totals["purchases"], totals["revenue_cents"], totals["rating"]["value"]) == (2, 179_800, 4.0)
    kept = await shop.rows(
        "SELECT visitor_id IS NOT NULL, count(*) FROM exposures"
        " WHERE campaign_id = %s AND purchased_ms IS NOT NULL GROUP BY 1",
        shop.campaign,
    )
    assert sorted(kept) == [(False, 1), (True, 1)]
