"""The pages behind the session, over a real database."""

import asyncio
import re
import time

import pytest

from arauto.core.brief import Brief, Message
from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.core.errors import StoreError
from arauto.dashboard import SESSION_COOKIE, Sessions, live
from arauto.dashboard.live import Part
from arauto.dashboard.sessions import SESSION_MS
from tests.dashboard.conftest import HOST, TOKEN

FROM_HERE = {"Origin": HOST}


async def launch(runtime, slug="watch", **plan):
    catalogue = runtime.store.catalogue
    site = await catalogue.ensure_site("shop")
    message = Message(language="pt-BR", product="watch", call_to_action="Saiba mais")
    made = await catalogue.create_campaign(
        site.id, slug, f"The {slug}", Brief(product="watch"), message, CampaignPlan(**plan), "test"
    )
    copies = [(Copy(title=f"t{n}", description="d", image_suggestion="i"), Origin(engine="slot")) for n in range(2)]
    await catalogue.add_kit(made.id, copies, {}, "test")
    live = await catalogue.set_campaign_state(made.id, "live", "test")
    # Now, and not whenever the notice comes: else the page may change between two looks.
    await runtime.reload(live.id)
    return live


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/campaigns/1", "/dashboard/campaigns/1/report.html"])
async def test_without_a_session_one_is_sent_to_sign_in(web, path):
    answer = await web.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert (await web.get("/dashboard/live")).status_code == 401


async def test_the_token_opens_the_dashboard_with_a_strict_cookie(web):
    answer = await web.post("/login", data={"token": TOKEN}, headers=FROM_HERE)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert (await web.get("/dashboard")).status_code == 200


async def test_behind_tls_the_cookie_is_secure(web):
    answer = await web.post("/login", data={"token": TOKEN}, headers=FROM_HERE | {"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


async def test_a_code_opens_it_once(web, runtime):
    code = await runtime.store.new_login_code()
    assert (await web.get("/login", params={"code": code})).status_code == 200
    assert (await web.get("/dashboard")).status_code == 200
    again = await web.get("/login", params={"code": code})
    assert again.status_code == 401
    assert "used before" in again.text


@pytest.mark.parametrize("token", ["", "wrong", "é" * 20, "x" * 500, "x" * 5000])
async def test_a_wrong_token_opens_nothing(web, token):
    answer = await web.post("/login", data={"token": token}, headers=FROM_HERE)
    assert answer.status_code == 401
    assert "not the admin token" in answer.text
    assert SESSION_COOKIE not in web.cookies


async def test_guessing_has_an_end_and_so_has_the_wait(web, runtime):
    for _ in range(10):
        await web.post("/login", data={"token": "wrong"}, headers=FROM_HERE)
    assert (await web.post("/login", data={"token": TOKEN}, headers=FROM_HERE)).status_code == 429
    runtime.clock.advance(61_000)
    assert (await web.post("/login", data={"token": TOKEN}, headers=FROM_HERE)).status_code == 200


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "http://arauto.test.evil.example"])
async def test_a_form_from_elsewhere_is_refused(inside, origin):
    headers = {} if origin is None else {"Origin": origin}
    for path in ("/login", "/logout"):
        answer = await inside.post(path, data={"token": TOKEN}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert (await inside.get("/dashboard")).status_code == 200


async def test_signing_out_drops_the_cookie(inside):
    answer = await inside.post("/logout", headers=FROM_HERE)
    assert answer.status_code == 303
    assert (await inside.get("/dashboard")).status_code == 303


async def test_a_session_ends_and_cannot_be_altered(runtime):
    sessions = Sessions(runtime.store, runtime.clock)
    cookie = await sessions.make()
    assert await sessions.check(cookie)
    for place in range(len(cookie)):
        other = "A" if cookie[place] != "A" else "B"
        # The last characters hold spare bits, which mean nothing.
        assert place >= len(cookie) - 3 or not await sessions.check(cookie[:place] + other + cookie[place + 1 :])
    for bad in (None, "", "é" * 68, cookie[:-1], cookie + "A", "=" * 68):
        assert not await sessions.check(bad)
    runtime.clock.advance(SESSION_MS)
    assert not await sessions.check(cookie)


async def test_campaigns_are_listed_with_their_state(inside, runtime):
    empty = await inside.get("/dashboard")
    assert "There are no campaigns yet" in empty.text
    campaign = await launch(runtime, simulated=True)
    page = await inside.get("/dashboard")
    assert f'href="/dashboard/campaigns/{campaign.id}"' in page.text
    assert "simulated" in page.text


async def test_the_campaign_page_speaks_the_language_one_chose(inside, runtime):
    campaign = await launch(runtime)
    path = f"/dashboard/campaigns/{campaign.id}"
    assert '<html lang="en"' in (await inside.get(path)).text
    assert '<html lang="pt-BR"' in (await inside.get(path, headers={"Accept-Language": "pt-PT"})).text
    chosen = await inside.get(path, params={"lang": "pt-BR"})
    assert "Números" in chosen.text
    assert "Números" in (await inside.get(path)).text, "it is remembered"
    assert "Números" in (await inside.get(path, params={"lang": "xx"})).text, "an unknown language changes nothing"


async def test_the_live_part_is_sent_again_only_when_it_changed(inside, runtime, monkeypatch):
    monkeypatch.setattr(live.Part, "_rest", lambda self: 0.0)
    campaign = await launch(runtime)
    path = f"/dashboard/campaigns/{campaign.id}/live"
    first = await inside.get(path)
    assert first.text.strip().startswith("<p")
    unchanged = await inside.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    await runtime.store.catalogue.set_campaign_state(campaign.id, "paused", "test")
    await runtime.reload(campaign.id)
    changed = await inside.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "paused" in changed.text
    listed = await inside.get("/dashboard/live")
    assert "The watch" in listed.text


@pytest.mark.parametrize(
    ("name", "kind"), [("variants.csv", "text/csv"), ("shares.csv", "text/csv"), ("report.html", "text/html")]
)
async def test_files_are_downloads(inside, runtime, name, kind):
    campaign = await launch(runtime)
    answer = await inside.get(f"/dashboard/campaigns/{campaign.id}/{name}")
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["content-disposition"].startswith('attachment; filename="watch')
    assert answer.content


@pytest.mark.parametrize(
    "path", ["/dashboard/campaigns/999", "/dashboard/static/secret.txt", "/dashboard/static/..%2fapp.py"]
)
async def test_what_is_not_there(inside, path):
    answer = await inside.get(path)
    assert answer.status_code == 404


async def test_own_files_are_served_with_their_types(web):
    for name, kind in (
        ("dashboard.css", "text/css"),
        ("dashboard.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ):
        answer = await web.get(f"/dashboard/static/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert "max-age" in answer.headers["cache-control"]


async def test_a_database_away_is_said_and_the_page_comes_back(inside, runtime, monkeypatch):
    async def away(*_):
        raise StoreError("the database does not answer")

    monkeypatch.setattr(runtime.store.catalogue, "campaigns", away)
    answer = await inside.get("/dashboard")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert 'http-equiv="refresh"' in answer.text


async def test_pages_forbid_scripts_of_others_and_frames(inside):
    for path in ("/login", "/dashboard"):
        headers = (await inside.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"


async def test_the_demo_page_shows_the_campaign_that_went_live_last(web, runtime):
    nothing = await web.get("/demo")
    assert 'data-key=""' in nothing.text
    await launch(runtime, "old")
    runtime.clock.advance(1000)
    await launch(runtime, "new")
    page = await web.get("/demo")
    key = (await runtime.store.catalogue.sites())[0].key
    assert f'data-key="{key}"' in page.text
    assert 'data-arauto="new"' in page.text
    assert 'data-arauto="old"' in (await web.get("/demo", params={"campaign": "old"})).text
    portuguese = await web.get("/demo", params={"lang": "pt-BR"})
    assert re.search(r'<html lang="pt-BR">.*Recusar', portuguese.text, re.DOTALL)
    assert "set-cookie" not in portuguese.headers, "nothing is kept before consent"


async def test_what_was_made_before_an_action_is_not_laid_over_what_came_of_it(inside, runtime):
    """A page that is opened renews the part that is kept for all; a part begun earlier does not take its place."""
    campaign = await launch(runtime, "watch")
    path = f"/dashboard/campaigns/{campaign.id}"
    assert 'badge live">live' in (await inside.get(f"{path}/live")).text
    await inside.post(f"{path}/state", data={"state": "paused"}, headers={"Origin": HOST})
    page = await inside.get(path)
    assert 'badge paused">paused' in page.text
    part = await inside.get(f"{path}/live")
    assert 'badge paused">paused' in part.text
    assert f"tag={part.headers['etag'].strip(chr(34))}" in page.text, "the stream goes on from what the page shows"


async def test_a_part_that_was_begun_earlier_does_not_replace_a_later_page():
    begun, go = asyncio.Event(), asyncio.Event()

    async def make():
        begun.set()
        await go.wait()
        return "old"

    part = Part(make, 2.0)
    slow = asyncio.create_task(part.read())
    await begun.wait()
    await part.put("new", time.monotonic())
    go.set()
    assert await slow == "new"
    await part.put("older", 0.0)
    assert await part.read() == "new"
