"""The routes of those who run the place."""

import itertools
from uuid import uuid4

import msgspec
import pytest

from arauto.core.campaign import Campaign, Site, Variant
from arauto.core.errors import Problem
from arauto.core.people import ROLES, USER_ROLES
from arauto.core.settings import Secret
from arauto.dashboard import SESSION_COOKIE, Sessions
from arauto.loop import CampaignDetail, register_jobs
from arauto.server.routes import ROUTES
from arauto.server.worker import make_front
from arauto.store import AuditEntry, JobStatus
from tests.server.world import ORIGIN

README = (
    "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos. "
    "Forneça título, descrição curta e uma sugestão de imagem que destaque monitoramento de batimentos."
)
ADMIN = [route for route in ROUTES if route.auth == "admin"]
BAD = [
    {},
    {"authorization": "Bearer "},
    {"authorization": "Bearer not-the-token"},
    {"authorization": "Basic YWRtaW46YWRtaW4="},
    {"authorization": "Bearer \u00e9"},
    {"authorization": "Bearer " + "x" * 5000},
]


async def test_every_admin_route_refuses_who_has_no_token(world):
    for route, headers in itertools.product(ADMIN, BAD):
        answer = await world(route.method, route.path.replace("{id}", "1"), {} if route.body else b"", headers)
        assert (answer.status, answer.json(Problem).code) == (401, "unauthorised"), (route, headers)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(ADMIN) >= 12


async def test_a_session_of_the_dashboard_is_good_from_its_own_pages(world):
    cookie = {"cookie": f"{SESSION_COOKIE}={await Sessions(world.runtime.store, world.clock).make()}"}
    assert (await world("GET", "/v1/sites", headers=cookie)).status == 200
    site = {"name": "shop"}
    own = {**cookie, "origin": "http://arauto.example"}
    assert (await world("POST", "/v1/sites", site, own)).status == 201
    for page in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert (await world("POST", "/v1/sites", site, {**cookie, **page})).status == 401
    assert (await world("GET", "/v1/sites", headers={"cookie": f"{SESSION_COOKIE}=forged"})).status == 401
    (entry, *_) = await world.ask("GET", "/v1/audit")
    assert entry["actor"] == "dashboard"


async def test_a_session_opens_the_http_interface_as_far_as_its_role_reaches(world, monkeypatch):
    """Each role at each admin route: only those that its role reaches let it in, and so does the table say."""
    monkeypatch.setattr("arauto.store.users._COST", 2)
    sessions = Sessions(world.runtime.store, world.clock)
    for role in USER_ROLES:
        _, code = await world.runtime.store.users.invite(role, role, "test")
        cookie = await sessions.make(await world.runtime.store.users.join(code, "four plain words here"))
        own = {"cookie": f"{SESSION_COOKIE}={cookie}", "origin": "http://arauto.example"}
        world.clock.advance(1_000)  # a list of users is believed for so long
        for route in ADMIN:
            path = route.path.replace("{id}", str(uuid4()) if "visitors" in route.path else "999999")
            answer = await world(route.method, path, {} if route.body else b"", own)
            assert (answer.status == 403) == (ROLES.index(role) < ROLES.index(route.role)), (role, route.name)
            assert answer.status != 401, route.name
    reading = {route.name for route in ADMIN if route.method == "GET" and route.role != "viewer"}
    assert reading == {"get_audit"}
    assert all(route.role != "viewer" for route in ADMIN if route.method != "GET")


def test_whatever_changes_something_asks_for_the_token():
    free = {route.path for route in ROUTES if route.method != "GET" and route.auth != "admin"}
    assert free == {"/v1/candidates", "/v1/decide", "/v1/events", "/v1/visitors/{id}"}


async def test_the_stored_token_is_good_when_none_is_set(world):
    token = await world.runtime.store.admin_token()
    world.runtime.settings = msgspec.structs.replace(world.settings, admin_token=Secret(""))
    world.front, _ = make_front(world.runtime.settings, world.runtime)
    assert (await world("GET", "/v1/sites", headers={"authorization": f"Bearer {token}"})).status == 200
    assert (await world("GET", "/v1/sites", headers=world.admin)).status == 401


async def test_sites_are_made_and_changed(world):
    made = await world("POST", "/v1/sites", {"name": "shop", "origins": [ORIGIN]}, world.admin)
    assert made.status == 201
    site = made.json(Site)
    assert not world.runtime.knows_origin("https://new.example")
    again = await world.ask("POST", "/v1/sites", {"name": "shop", "origins": ["https://new.example"]})
    assert (again["id"], again["key"]) == (site.id, site.key)
    assert world.runtime.knows_origin("https://new.example")
    assert [one["name"] for one in await world.ask("GET", "/v1/sites")] == ["shop"]
    for origin in ("shop.example", "https://shop.example/path", "javascript:x", "null", "https://a b"):
        bad = await world("POST", "/v1/sites", {"name": "x", "origins": [origin]}, world.admin)
        assert (bad.status, bad.json(Problem).field) == (422, "origins[0]")


async def test_free_words_become_a_campaign_with_variants(world):
    made = await world("POST", "/v1/campaigns", {"brief": {"prompt": README}}, world.admin)
    assert made.status == 201
    campaign = made.json(CampaignDetail)
    assert campaign.state == "draft"
    assert campaign.brief.product.lower() == "smartwatch"
    assert len(campaign.variants) >= 4
    assert len({variant.copy for variant in campaign.variants}) == len(campaign.variants)
    assert {variant.origin.engine for variant in campaign.variants} == {"slot"}
    assert campaign.job is None
    again = await world.ask("POST", "/v1/campaigns", {"brief": {"prompt": README}})
    assert (campaign.slug, again["slug"]) == ("smartwatch", "smartwatch-2")
    found = await world.ask("GET", f"/v1/campaigns/{campaign.id}")
    assert msgspec.convert(found, CampaignDetail) == campaign
    assert [one["id"] for one in await world.ask("GET", "/v1/campaigns")] == [campaign.id, again["id"]]
    assert await world.ask("GET", "/v1/campaigns?site=999") == []


async def test_the_plan_follows_the_brief_unless_given(world):
    brief = {"product": "watch", "goal": "purchase", "offer": {"price": "10.00", "currency": "USD"}}
    made = await world.ask("POST", "/v1/campaigns", {"brief": brief, "copies": []})
    assert (made["plan"]["goal"], made["plan"]["currency"], made["variants"]) == ("purchase", "USD", [])
    made = await world.ask("POST", "/v1/campaigns", {"brief": brief, "plan": {"goal": "click"}, "copies": []})
    assert (made["plan"]["goal"], made["plan"]["currency"]) == ("click", "BRL")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"brief": {}}, 422, "product"),
        ({"brief": {"product": "x", "colour": 1}}, 422, "colour"),
        ({"brief": {"product": "x", "link": "javascript:alert(1)"}}, 422, "link"),
        ({"brief": {"product": "x"}, "site": "nowhere"}, 404, "site"),
        ({"brief": {"product": "x"}, "site": 999}, 404, "site_id"),
        ({"brief": {"product": "x"}, "slug": "No Slug"}, 422, "slug"),
        ({"brief": {"product": "x"}, "copies": [{"title": "", "description": "", "image_suggestion": ""}]}, 422, None),
        (
            {"brief": {"product": "x"}, "copies": [{"title": "a\u202eb", "description": "", "image_suggestion": ""}]},
            422,
            "copies[0].title",
        ),
        (
            {"brief": {"product": "x"}, "copies": [{"title": "t" * 201, "description": "", "image_suggestion": ""}]},
            422,
            "copies[0].title",
        ),
        ({}, 422, "brief"),
        (b"nonsense", 422, "$"),
    ],
)
async def test_what_cannot_become_a_campaign(world, body, status, field):
    answer = await world("POST", "/v1/campaigns", body, world.admin)
    assert answer.status == status
    assert field is None or answer.json(Problem).field == field
    assert await world.ask("GET", "/v1/campaigns") == []


async def test_a_taken_slug_is_a_conflict(world):
    body = {"brief": {"product": "x"}, "slug": "s", "copies": []}
    await world.ask("POST", "/v1/campaigns", body)
    answer = await world("POST", "/v1/campaigns", body, world.admin)
    assert (answer.status, answer.json(Problem).code) == (409, "conflict")


async def test_a_campaign_goes_its_way(world):
    campaign = await world.launch()
    url = f"/v1/campaigns/{campaign['id']}/state"
    query = {"key": world.key, "campaign": world.slug}
    assert (await world("POST", url, {"state": "paused"}, world.admin)).json(Campaign).state == "paused"
    assert (await world("POST", "/v1/decide", query)).status == 404
    await world.ask("POST", url, {"state": "live"})
    await world.decide()
    await world.ask("POST", url, {"state": "ended"})
    assert (await world("POST", url, {"state": "live"}, world.admin)).status == 409
    assert (await world("POST", url, {"state": "gone"}, world.admin)).status == 422
    assert (await world("POST", "/v1/campaigns/999/state", {"state": "live"}, world.admin)).status == 404


async def test_variants_join_and_leave_a_live_campaign(world):
    campaign = await world.launch(arms=1)
    url = f"/v1/campaigns/{campaign['id']}/variants"
    copy = {"title": "new", "description": "d", "image_suggestion": "i"}
    added = await world("POST", url, {"copies": [copy]}, world.admin)
    assert added.status == 201
    (variant,) = added.json(list[Variant])
    assert {(await world.decide())["variant"] for _ in range(100)} == {"a", "b"}
    retired = await world.ask("POST", f"/v1/variants/{campaign['variants'][0]['id']}/state", {"state": "retired"})
    assert retired["state"] == "retired"
    assert {(await world.decide())["variant"] for _ in range(50)} == {variant.name}
    assert (await world("POST", "/v1/variants/999/state", {"state": "live"}, world.admin)).status == 404


async def test_variants_are_given_or_asked_for_and_not_both(world):
    campaign = await world.launch()
    url = f"/v1/campaigns/{campaign['id']}/variants"
    copy = {"title": "new", "description": "d", "image_suggestion": "i"}
    for body in ({}, {"copies": [copy], "write": 1}, {"write": 0}, {"write": 51}):
        assert (await world("POST", url, body, world.admin)).status == 422


async def test_variants_are_written_in_the_background(world):
    campaign = await world.ask("POST", "/v1/campaigns", {"brief": {"prompt": README}})
    url = f"/v1/campaigns/{campaign['id']}/variants"
    asked = await world("POST", url, {"write": 2, "engine": "slot"}, world.admin)
    assert asked.status == 202
    job = asked.json(JobStatus)
    assert job.state == "waiting"
    store = world.runtime.store
    register_jobs(store, world.settings)
    await store.jobs.run_worker(wait=False)
    done = msgspec.convert(await world.ask("GET", f"/v1/jobs/{job.id}"), JobStatus)
    assert (done.state, done.done, done.total) == ("done", 2, 2)
    found = await world.ask("GET", f"/v1/campaigns/{campaign['id']}")
    assert len(found["variants"]) == len(campaign["variants"]) + 2
    assert (await world("GET", "/v1/jobs/999", headers=world.admin)).status == 404
    assert (await world("DELETE", f"/v1/jobs/{job.id}", headers=world.admin)).status == 409
    assert (await world("DELETE", "/v1/jobs/999", headers=world.admin)).status == 404
    other = (await world("POST", url, {"write": 2, "engine": "slot"}, world.admin)).json(JobStatus)
    assert (await world("DELETE", f"/v1/jobs/{other.id}", headers=world.admin)).json(JobStatus).state == "cancelled"
    entries = msgspec.convert(await world.ask("GET", "/v1/audit?limit=1"), list[AuditEntry])
    assert (entries[0].action, entries[0].target) == ("job.cancel", f"job:{other.id}")


async def test_a_report_tells_where_it_stands(world):
    campaign = await world.launch()
    receipt = (await world.decide())["receipt"]
    await world.send(world.event("impression", receipt))
    report = await world.ask("GET", f"/v1/campaigns/{campaign['id']}/report")
    assert report["campaign_id"] == campaign["id"]
    assert (await world("GET", "/v1/campaigns/999/report", headers=world.admin)).status == 404


async def test_the_audit_log_says_who_did_what(world):
    await world.launch()
    entries = msgspec.convert(await world.ask("GET", "/v1/audit?limit=2"), list[AuditEntry])
    assert len(entries) == 2
    assert entries[0].action == "campaign.live"
    assert entries[0].actor == "admin"
    older = msgspec.convert(await world.ask("GET", f"/v1/audit?before={entries[1].id}"), list[AuditEntry])
    assert max(entry.id for entry in older) < entries[1].id
    for query in ("limit=0", "limit=501", "limit=x", "before=0"):
        assert (await world("GET", f"/v1/audit?{query}", headers=world.admin)).status == 422


async def test_ids_that_are_no_ids(world):
    for path in ("/v1/campaigns/x", "/v1/campaigns/0", "/v1/campaigns/99999999999", "/v1/jobs/-1"):
        answer = await world("GET", path, headers=world.admin)
        assert (answer.status, answer.json(Problem).field) == (422, "id")


async def test_a_page_of_another_origin_is_told_nothing(world):
    headers = {**world.admin, "origin": "https://evil.example"}
    answer = await world("GET", "/v1/sites", headers=headers)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_large_body_is_not_read(world):
    answer = await world("POST", "/v1/campaigns", [b"x" * 65_536] * 17, world.admin, chunked=True)
    assert answer.status == 413
    answer = await world("POST", "/v1/campaigns", [b"x" * 65_536] * 17, world.admin)
    assert answer.status == 413


async def test_a_visitor_sees_and_erases_what_is_kept(world):
    await world.launch()
    visitor = str(uuid4())
    answer = await world.decide(visitor=visitor, consent="granted")
    await world.send(world.event("impression", answer["receipt"], visitor=visitor), consent="granted")
    url = f"/v1/visitors/{visitor}?key={world.key}"
    page = {"origin": ORIGIN}
    asked = await world("OPTIONS", url, headers=page)
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "GET, DELETE")
    assert (await world("OPTIONS", url, headers={"origin": "https://evil.example"})).status == 403
    assert (await world("OPTIONS", f"/v1/visitors/{visitor}?key=none", headers=page)).status == 403
    kept = await world("GET", url, headers=page)
    assert kept.headers["access-control-allow-origin"] == ORIGIN
    assert (kept.json()["visitor"], len(kept.json()["events"])) == (visitor, 1)
    assert (await world("GET", url, headers={"origin": "https://evil.example"})).status == 403
    assert (await world("GET", f"/v1/visitors/{visitor}")).status == 401
    assert (await world("GET", f"/v1/visitors/{visitor}", headers=world.admin)).status == 200
    assert (await world("GET", f"/v1/visitors/me?key={world.key}")).status == 422
    gone = await world("DELETE", url, headers=page)
    assert (gone.status, gone.json()["erased"]["events"]) == (200, 1)
    assert (await world("GET", url)).status == 404
    assert await world.count() == 0
    late = await world.send(world.event("click", answer["receipt"], visitor=visitor), consent="granted")
    assert (late.status, late.json()["refused"][0]["problem"]) == (422, "is of a visitor whose data were erased")
