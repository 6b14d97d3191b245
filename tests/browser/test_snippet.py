"""arauto.js in a real Chromium, against a scripted server that can be slow, broken or malicious."""

import json
from uuid import UUID

import pytest

from arauto.edge import file_name, shipped
from tests.browser.conftest import glimpsed_only, until

pytestmark = pytest.mark.browser

GRANTED = 'data-consent="granted"'
SLOT = '<div data-arauto="watch" id="slot">default</div>'
STORED = "() => JSON.stringify(localStorage)"
WAITING = "Object.keys(localStorage).filter((k) => k.startsWith('arauto:0'))"


async def call(page, code):
    """Run ``code`` in the page with the snippet's exports in scope."""
    return await page.evaluate(
        "async () => { const {track, consent, forget} = await import('/arauto.js'); " + code + " }"
    )


async def test_a_decision_is_rendered_and_its_impression_told_once(stub, visit):
    async with visit(stub.page()) as page:
        await until(lambda: stub.events("impression"))
        assert await page.inner_text("#slot [data-arauto-title]") == "Um título"
        assert await page.get_attribute("#slot a", "href") == stub.link
        assert await page.get_attribute("#slot", "data-arauto-variant") == "a"
    (asked,) = stub.asked
    assert asked == {"key": "pk_test", "consent": "denied", "campaign": "watch", "device": "desktop"}
    (told,) = stub.events("impression")
    assert told["receipt"] == "receipt-1"
    assert UUID(told["id"]).version == 7
    assert abs((UUID(told["id"]).int >> 80) - told["at"]) < 1000
    assert stub.types() == ["impression"]


CHOOSE = """const {{decide, render}} = await import('/arauto.js');
  const decision = await decide('watch', {choose}, 4);
  if (decision) render(document.getElementById('own'), decision); return decision"""


async def test_the_page_chooses_among_candidates_and_the_chance_goes_with_every_event(stub, visit):
    choose = "(all, {shares, floor}) => ({pick: 2, propensity: floor * shares[2] + 0.1 + (all.length - 3)})"
    stub.link = stub.page("the shop", path="/shop")
    async with visit(stub.page('<div id="own">default</div>')) as page:
        decision = await page.evaluate("async () => { " + CHOOSE.format(choose=choose) + " }")
        await until(lambda: stub.events("impression"))
        await page.click("#own a")
        await page.wait_for_url("**/shop")
        await until(lambda: stub.events("click"))
    assert (decision["variant"], decision["chance"]) == ("c", pytest.approx(0.15))
    assert stub.asked[0]["candidates"] == 4
    told = stub.events("impression", "click")
    assert {(one["receipt"], round(one["chance"], 6)) for one in told} == {("receipt-c", 0.15)}


@pytest.mark.parametrize("choose", ["() => { throw 0 }", "() => ({pick: 7, propensity: 1})"])
async def test_a_choice_that_fails_leaves_the_default(choose, stub, visit):
    async with visit(stub.page('<div id="own">default</div>')) as page:
        assert await page.evaluate("async () => { " + CHOOSE.format(choose=choose) + " }") is None
        assert await page.inner_text("#own") == "default"


GREETING = """<h1 data-arauto-greeting><span>Hello</span><template data-mood="positive">How nice</template></h1>
<textarea id="message" data-arauto-listen></textarea>
<script type="module" src="/edge/arauto-edge.js" data-consent="granted"></script>
<script type="module" src="/edge/arauto-edge-release.js" data-campaign="edge-model"></script>"""


@pytest.mark.parametrize("model", [file_name(shipped()), "sentiment." + "0" * 64 + ".bin"])
async def test_a_campaign_chooses_the_edge_model_and_hears_how_it_went(model, stub, visit):
    stub.copy["title"] = model
    good = model == file_name(shipped())
    async with visit(stub.page(GREETING)) as page:
        if good:
            await page.wait_for_selector("[data-arauto-heard]")
            for _ in range(5):
                await page.fill("#message", "amei, lindo demais")
                await page.fill("#message", "recomendo, perfeito")
            await until(lambda: len({e["metric"] for e in stub.events("web_vital")} & {"load", "INP"}) == 2)
            assert "How nice" in await page.inner_text("h1")
        else:
            await until(lambda: stub.events("custom"))
            assert await page.inner_text("h1") == "Hello"
    assert stub.asked[0]["campaign"] == "edge-model"
    told = [e for e in stub.events("web_vital", "custom") if e.get("metric") != "TTFB"]
    assert {e["receipt"] for e in told} == {"receipt-1"}
    assert [e["name"] for e in stub.events("custom")] == ([] if good else ["error"])
    assert "amei" not in json.dumps(stub.batches)


async def test_no_impression_while_less_than_half_is_in_view(stub, visit):
    body = f'<div class="tall"></div>{SLOT}<style>#slot{{height:400px}}</style>'
    async with visit(stub.page(body)) as page:
        await page.wait_for_selector("[data-arauto-variant]", state="attached")
        await page.evaluate("scrollTo(0, slot.offsetTop - innerHeight + 150)")
        await page.wait_for_timeout(1500)
        assert stub.types() == []
        await page.evaluate("scrollTo(0, slot.offsetTop - innerHeight + 300)")
        await until(lambda: stub.types() == ["impression"])


async def test_no_impression_when_it_leaves_the_view_before_a_second(stub, visit):
    """Seen three times for about a third of a second: the times do not add up."""
    async with visit(stub.page('<div class="tall"></div>' + SLOT + '<div class="tall"></div>')) as page:
        await page.wait_for_selector("[data-arauto-variant]", state="attached")

        async def told():
            await page.wait_for_timeout(1500)
            return stub.types()

        await glimpsed_only(page, 3, told)


async def test_no_impression_while_the_page_is_hidden(stub, visit):
    hidden = """Object.defineProperty(Document.prototype, 'hidden', {get: () => window.away !== false})"""
    async with visit("") as page:
        await page.add_init_script(hidden)
        await page.goto(stub.page())
        await page.wait_for_selector("[data-arauto-variant]")
        await page.wait_for_timeout(1500)
        assert stub.types() == []
        await page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')) }")
        await until(lambda: stub.types() == ["impression"])


async def test_a_click_is_told_though_the_page_ends_with_it(stub, visit):
    stub.link = stub.page("the shop", path="/shop")
    async with visit(stub.page()) as page:
        await page.click("#slot a")
        await page.wait_for_url("**/shop")
        await until(lambda: stub.events("click"))
    assert stub.events("click")[0]["receipt"] == "receipt-1"


async def test_own_elements_and_templates_are_filled(stub, visit):
    body = """
      <div data-arauto="watch" id="slot"><h2 data-arauto-title>t</h2><p data-arauto-description>d</p>
        <a data-arauto-cta href="/default">c</a></div>
      <div data-arauto="watch" id="other">default<template><h3 data-arauto-title></h3>
        <a data-arauto-cta></a></template></div>"""
    async with visit(stub.page(body)) as page:
        await page.wait_for_selector("#other[data-arauto-variant]")
        assert await page.inner_text("#slot h2") == "Um título"
        assert await page.inner_text("#slot p") == "Uma descrição"
        assert await page.get_attribute("#slot a", "href") == stub.link
        assert await page.inner_text("#other") == "Um título\nSaiba mais"
        assert await page.get_attribute("#other a", "href") == stub.link
    assert len(stub.asked) == 1, "one campaign, one decision a page"


async def test_malicious_copy_is_shown_as_text(stub, visit):
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    stub.copy = {"title": evil, "description": evil, "image_suggestion": evil}
    stub.cta = evil
    stub.link = "javascript:window.hacked=1"
    body = SLOT + '<div data-arauto="watch" id="own"><b data-arauto-title></b><a data-arauto-cta>x</a></div>'
    async with visit(stub.page(body)) as page:
        await page.wait_for_selector("#own[data-arauto-variant]")
        assert await page.inner_text("#slot [data-arauto-title]") == evil
        assert await page.query_selector("#slot img, #own img, #slot script, #slot a, #own a[href]") is None
        await page.click("#own a")
        assert await page.evaluate("window.hacked") is None


async def test_it_works_under_a_strict_content_security_policy(stub, visit):
    policy = (
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'self'; require-trusted-types-for 'script'; style-src 'self' 'unsafe-inline'\">"
    )
    async with visit(stub.page(policy + SLOT)) as page:
        await page.wait_for_selector("[data-arauto-variant]")
        assert await page.inner_text("#slot [data-arauto-cta]") == "Saiba mais"


@pytest.mark.parametrize("fault", ["slow", "missing", "broken", "not json"])
async def test_the_default_stays_when_the_server_cannot_decide(stub, visit, fault):
    if fault == "slow":
        stub.slow = 5
    elif fault == "not json":
        stub._decision = lambda query: "nothing"
    else:
        stub.decide_status = {"missing": 404, "broken": 500}[fault]
    async with visit(stub.page()) as page:
        await until(lambda: stub.asked)
        await page.wait_for_timeout(2000)
        assert await page.inner_text("#slot") == "default"
    assert stub.events() == []


async def test_the_default_stays_when_the_server_is_down(stub, visit):
    async with visit("") as page:
        await page.route("**/v1/**", lambda route: route.abort())
        await page.goto(stub.page())
        await call(page, "track('purchase', {value: 1, currency: 'BRL'})")
        await page.wait_for_timeout(500)
        assert await page.inner_text("#slot") == "default"


async def test_another_origin_can_use_it(stub, visit):
    """The page is at localhost, the server at 127.0.0.1; nothing of it needs a preflight."""
    preflights = []
    page_url = stub.page(script=f"{stub.url}/arauto.js").replace("127.0.0.1", "localhost")
    async with visit("") as page:
        page.on("request", lambda request: preflights.append(request) if request.method == "OPTIONS" else None)
        await page.goto(page_url)
        await until(lambda: stub.types() == ["impression"])
    assert preflights == []


async def test_a_purchase_on_a_later_page_carries_the_receipt(stub, visit):
    shop = stub.page("", path="/shop")
    async with visit(stub.page(more=GRANTED)) as page:
        await until(lambda: stub.events("impression"))
        await page.goto(shop)
        await call(page, "track('purchase', {value: 0.1 + 0.2, currency: 'BRL', order: 'A1'})")
        await until(lambda: stub.events("purchase"))
    (sold,) = stub.events("purchase")
    assert (sold["value"], sold["currency"], sold["order"]) == ("0.30", "BRL", "A1")
    assert sold["receipt"] == "receipt-1"
    assert sold["visitor"] == stub.asked[0]["visitor"]


async def test_outcomes_have_the_fields_the_server_knows(stub, visit):
    async with visit(stub.page(more=GRANTED)) as page:
        await until(lambda: stub.events("impression"))
        await call(
            page,
            """track('view', {item: 'w1'}); track('cart', {item: 'w1', campaign: 'watch'}); track('rating', {score: 5});
            track('signup', {plan: 'pro', n: 2}); track('cart', {item: 'w2', campaign: 'other'});""",
        )
        await until(lambda: len(stub.types()) == 6)
    extra = {"id", "type", "at", "receipt", "visitor"}
    facts = [
        {k: v for k, v in event.items() if k not in extra} for event in stub.events("view", "cart", "rating", "custom")
    ]
    assert {"item": "w1"} in facts
    assert {"score": 5} in facts
    assert {"name": "signup", "props": {"plan": "pro", "n": 2}} in facts
    (other,) = [event for event in stub.events("cart") if event["item"] == "w2"]
    assert "receipt" not in other, "nothing of that campaign was shown"


async def test_web_vitals_are_tied_to_the_receipt_and_told_once(stub, visit):
    async with visit(stub.page(SLOT + "<button id=b>b</button><div id=z></div>")) as page:
        await until(lambda: stub.events("impression"))
        await page.evaluate(
            "b.onclick = () => { const end = performance.now() + 60; while (performance.now() < end); }"
        )
        await page.click("#b")
        await page.evaluate("() => { z.style.height = '300px'; slot.before(z) }")
        await page.wait_for_timeout(700)
        await page.evaluate("z.style.height = '0'")
        await page.wait_for_timeout(200)
        await page.goto("about:blank")
        await until(lambda: len({e["metric"] for e in stub.events("web_vital")}) == 6)
    told = stub.events("web_vital")
    readings = {event["metric"]: event["reading"] for event in told}
    assert len(told) == 6
    assert {event["receipt"] for event in told} == {"receipt-1"}
    assert readings["INP"] >= 56
    assert 0 < readings["CLS"] < 2
    assert 0 < readings["TTFB"] <= readings["FCP"] <= readings["LCP"]
    assert readings["load"] >= readings["TTFB"]


async def test_nothing_personal_without_consent(stub, visit):
    body = SLOT + "<button id=b>b</button>"
    async with visit(stub.page(body)) as page:
        await until(lambda: stub.events("impression"))
        await call(
            page,
            """track('purchase', {value: 5, currency: 'BRL', order: 'A1'}); track('cart', {item: 'w1'});
            track('signup', {mail: 'x@y.z'});""",
        )
        await until(lambda: stub.events("custom"))
        assert await page.evaluate(STORED) == "{}"
    assert "visitor" not in stub.asked[0]
    assert {batch["consent"] for batch in stub.batches} == {"denied"}
    for event in stub.events():
        assert not {"visitor", "order", "item", "props"} & set(event)
    assert stub.types() == ["cart", "custom", "impression", "purchase"]


async def test_global_privacy_control_wins_over_consent(stub, visit):
    async with visit(stub.page(more=GRANTED), gpc=True) as page:
        await call(page, "return consent('granted')")
        await until(lambda: stub.events("impression"))
        await call(page, "return track('cart', {item: 'w1'})")
        await until(lambda: stub.events("cart"))
        assert await page.evaluate(STORED) == "{}"
    assert "visitor" not in json.dumps(stub.asked + stub.batches)
    assert "w1" not in json.dumps(stub.batches)


async def test_withdrawing_consent_removes_the_id_and_the_queue_in_every_tab(stub, visit):
    url = stub.page(more=GRANTED)
    async with visit(url) as page:
        other = await page.context.new_page()
        await other.goto(url)
        visitor = json.loads(await page.evaluate("localStorage['arauto:visitor']"))
        assert UUID(visitor).version == 4
        stub.events_status = 503
        await call(other, "track('cart', {item: 'secret'})")
        await call(page, "return consent('denied')")
        await until(lambda: page.evaluate("Object.keys(localStorage).join() === 'arauto:consent'"))
        await page.wait_for_timeout(200)
        stub.events_status = 200
        stub.batches.clear()
        await call(other, "track('rating', {score: 4})")
        await until(lambda: stub.events("rating"))
        assert await page.evaluate(STORED) == '{"arauto:consent":"\\"denied\\""}'
        assert visitor not in json.dumps(stub.batches)
        assert "secret" not in json.dumps(stub.batches)
        await page.reload()
        await until(lambda: len(stub.asked) == 3)
        assert stub.asked[2]["consent"] == "denied", "the visitor's no outlives the page's yes"


async def test_forget_erases_here_and_on_the_server_and_tries_again_when_it_is_away(stub, visit):
    url = stub.page(more=GRANTED)
    async with visit(url) as page:
        await until(lambda: stub.events("impression"))
        visitor = json.loads(await page.evaluate("localStorage['arauto:visitor']"))
        stub.erase_status = 503
        assert await call(page, "return forget()") is False
        stub.erase_status = 200
        await page.reload()
        await until(lambda: stub.erased == [visitor])
        await until(lambda: page.evaluate("Object.keys(localStorage).join() === 'arauto:consent'"))
        assert await call(page, "return forget()") is True
    assert stub.erased == [visitor]


async def test_what_happens_offline_is_delivered_later_once_with_the_same_ids(stub, visit):
    shop = stub.page("", path="/shop")
    async with visit(stub.page(more=GRANTED)) as page:
        await page.wait_for_selector("[data-arauto-variant]")
        await page.context.set_offline(True)
        await page.wait_for_timeout(1300)
        await page.click("#slot a", modifiers=["ControlOrMeta"])
        kept = await page.evaluate(WAITING)
        assert len(kept) == 2
        await page.wait_for_timeout(1200)
        assert stub.batches == []
        await page.context.set_offline(False)
        await page.goto(shop)
        await until(lambda: stub.types() == ["click", "impression"])
        await until(lambda: page.evaluate(WAITING + ".length === 0"))
    assert sorted("arauto:" + event["id"] for event in stub.events("click", "impression")) == sorted(kept)


async def test_a_failing_server_is_tried_again_with_the_same_ids(stub, visit):
    stub.events_status = 503
    tried = []
    async with visit("") as page:
        page.on("request", lambda request: tried.append(request.post_data) if "events" in request.url else None)
        await page.goto(stub.page())
        await until(lambda: len(tried) == 2)
        stub.events_status = 200
        await until(lambda: stub.events("impression"))
    first, second = (json.loads(body)["events"] for body in tried[:2])
    assert [event["id"] for event in first] == [event["id"] for event in second]


async def test_a_refused_batch_is_not_sent_again(stub, visit):
    stub.events_status = 422
    async with visit(stub.page(more=GRANTED)) as page:
        await until(lambda: stub.batches)
        await until(lambda: page.evaluate(WAITING + ".length === 0"))


async def test_the_queue_is_bounded(stub, visit):
    stub.events_status = 503
    async with visit(stub.page("", more=GRANTED)) as page:
        await call(page, "for (let i = 0; i < 250; i++) track('cart', {item: 'w' + i})")
        items = await page.evaluate(WAITING)
        assert 199 <= len(items) <= 201
        stub.events_status = 200
        await page.evaluate("dispatchEvent(new Event('online'))")
        await until(lambda: len(stub.events("cart")) >= 199)


async def test_two_tabs_deliver_what_was_left_once(stub, visit):
    """Each event left in storage goes over the wire once, though two tabs find it at the same moment."""
    stub.events_status = 503
    url = stub.page("", more=GRANTED)
    async with visit(url) as page:
        other = await page.context.new_page()
        await other.goto(url)
        for tab in (page, other):
            await call(tab, "for (let i = 0; i < 9; i++) track('rating', {score: 5})")
        stub.events_status = 200
        for tab in (page, other):
            await tab.evaluate("dispatchEvent(new Event('online'))")
        await until(lambda: len(stub.events("rating")) == 18)
        await page.wait_for_timeout(1500)
        assert sum(len(batch["events"]) for batch in stub.batches) == 18
        assert {event["visitor"] for event in stub.events()} == {
            json.loads(await page.evaluate("localStorage['arauto:visitor']"))
        }


async def test_a_page_without_the_script_tag_starts_by_hand(stub, visit):
    stub.pages["/bare"] = f"""<!doctype html><title>x</title>{SLOT}<script type="module">
      import {{start}} from '/arauto.js'; start({{key: 'pk_hand', consent: 'granted'}});</script>"""
    async with visit(f"{stub.url}/bare") as page:
        await page.wait_for_selector("[data-arauto-variant]")
    assert stub.asked[0]["key"] == "pk_hand"


async def test_no_storage_and_no_locks_no_harm(stub, visit):
    async with visit("") as page:
        await page.add_init_script(
            """Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden') }});
            Object.defineProperty(Navigator.prototype, 'locks', {value: undefined});"""
        )
        await page.goto(stub.page(more=GRANTED))
        await until(lambda: stub.types() == ["impression"])
    assert "visitor" not in stub.events("impression")[0]


async def test_a_phone_is_told(stub, visit):
    async with visit(
        stub.page(),
        viewport={"width": 390, "height": 800},
        screen={"width": 390, "height": 800},
        has_touch=True,
        is_mobile=True,
    ):
        await until(lambda: stub.asked)
    assert stub.asked[0]["device"] == "mobile"


async def test_a_large_batch_is_delivered_too(stub, visit):
    """A browser refuses to keep more than 64 kB alive; such a batch goes without."""
    async with visit(stub.page("", more=GRANTED)) as page:
        await call(page, "for (let i = 0; i < 50; i++) track('big', {text: 'é'.repeat(200), more: 'x'.repeat(2000)})")
        await until(lambda: len(stub.events("custom")) == 50)
