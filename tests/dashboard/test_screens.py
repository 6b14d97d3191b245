"""Every screen over a real database: its numbers are those of the raw events, its forms do what they say."""

import asyncio
import csv
import html
import io
import json
import re
from uuid import uuid4

import pytest

from arauto.core.brief import Brief, Message
from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.core.i18n import number, percent
from arauto.core.ids import uuid7
from arauto.dashboard import live as live_module
from arauto.dashboard.access import table
from arauto.dashboard.live import Live
from arauto.dashboard.money import changes_of, costs_of, period_of
from arauto.dashboard.screen import csv_file
from arauto.dashboard.screens.bandit import cumulated
from arauto.experiments import rate_sequence
from arauto.loop import build_report, read_experiment
from arauto.store import RoundRow, SeriesPoint
from tests.dashboard.conftest import HOST

FROM_HERE = {"Origin": HOST}
EVIL = "<script>alert(1)</script>'\"&{{7*7}}"
DEVICES = ("desktop", "mobile", "tablet")
DAY = 86_400_000


async def make(runtime, slug="watch", *, name="The watch", titles=("t0", "t1"), **plan):
    catalogue = runtime.store.catalogue
    site = await catalogue.ensure_site("shop")
    message = Message(language="pt-BR", product="watch", call_to_action="Saiba mais")
    made = await catalogue.create_campaign(
        site.id, slug, name, Brief(product="watch"), message, CampaignPlan(refresh_ms=0, seed=3, **plan), "test"
    )
    copies = [(Copy(title=title, description="d", image_suggestion="i"), Origin(engine="slot")) for title in titles]
    await catalogue.add_kit(made.id, copies, {}, "test")
    live = await catalogue.set_campaign_state(made.id, "live", "test")
    await runtime.sync(all_over=True)
    return site, live


async def visits(runtime, site, campaign, count, *, rates=(0.1, 0.3), visitors=()):
    """So many decisions told of, some with views, clicks, purchases and load times."""
    events, clock = [], runtime.clock
    for place in range(count):
        who = visitors[place % len(visitors)] if visitors else None
        asked = {"key": site.key, "campaign": campaign.slug, "device": DEVICES[place % 3]}
        if who:
            asked |= {"visitor": str(who), "consent": "granted"}
        answer = json.loads(runtime.decide(_query(asked)))
        of = {"receipt": answer["receipt"], **({"visitor": str(who)} if who else {})}
        rate = rates["ab".index(answer["variant"]) if answer["variant"] in "ab" else 1]
        kinds = [{"type": "impression"}]
        if place % 2:
            kinds.append({"type": "view"})
        if place % 100 < rate * 100:
            kinds += [{"type": "click"}, {"type": "web_vital", "metric": "load", "reading": 800 + place}]
        if place % 20 == 3:
            kinds.append({"type": "purchase", "order": f"o{place}", "value": "19.90", "currency": "BRL"})
        events += [{"id": str(uuid7(clock.now_ms())), "at": clock.now_ms(), **of, **kind} for kind in kinds]
    for begin in range(0, len(events), 100):
        consent = "granted" if visitors else "denied"
        body = json.dumps({"key": site.key, "consent": consent, "events": events[begin : begin + 100]})
        answer = await runtime.ingest(body.encode())
        assert not answer.refused, answer.refused[:1]


def _query(asked):
    import msgspec

    from arauto.core.events import DecideQuery

    return msgspec.convert(asked, DecideQuery)


def rows_of(answer):
    return list(csv.DictReader(io.StringIO(answer.text)))


def figures(text):
    """The text of every table cell and tile, without tags."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


async def test_numbers_equal_a_recount_of_raw_events(inside, runtime):
    site, campaign = await make(runtime, cpm=10.0, allocation="uniform")
    await visits(runtime, site, campaign, 120)
    recount = await runtime.store.rollups.recount(campaign.id)
    n, k, buys = (sum(getattr(row, name) for row in recount.totals) for name in ("impressions", "clicks", "purchases"))
    cents = sum(row.value_cents for row in recount.totals)
    assert (n, buys, cents) == (120, 6, 6 * 1990)
    path = f"/dashboard/campaigns/{campaign.id}"
    page = figures((await inside.get(path)).text)
    low, high = rate_sequence(k, n)
    for told in (
        f"Impressions {n}",
        f"Clicks {k}",
        percent(k / n, "en"),
        f"{percent(low, 'en')} to {percent(high, 'en')}",
    ):
        assert told in page, told
    # 120 impressions at R$ 10 a thousand.
    assert "R$1.20" in page
    assert f"R${1.2 / buys:.2f}" in page
    assert number(cents / 120, "en", 2) in page, "revenue over cost"
    names = {one.id: one.name for one in await runtime.store.catalogue.variants(campaign.id)}
    funnel = rows_of(await inside.get(f"{path}/funnel/funnel.csv"))
    for row in recount.totals:
        told = {
            line["step"]: line
            for line in funnel
            if (line["variant"], line["segment"]) == (names[row.variant_id], row.segment)
        }
        for step in ("impressions", "views", "clicks", "carts", "purchases"):
            assert int(told[step]["count"]) == getattr(row, step)
            low, high = rate_sequence(getattr(row, step), row.impressions)
            assert float(told[step]["rate_low"]) == pytest.approx(low)
            assert float(told[step]["rate_high"]) == pytest.approx(high)
    series = rows_of(await inside.get(f"{path}/bandit/means.csv"))
    for variant, name in names.items():
        last = [line for line in series if line["variant"] == name][-1]
        minutes = [point for point in recount.minutes if point.variant_id == variant]
        assert float(last["trials"]) == sum(point.impressions for point in minutes)
        assert float(last["successes"]) == sum(point.clicks for point in minutes)
    for one in ("", "/experiment", "/rollout", "/bandit", "/funnel", "/funnel?segment=mobile"):
        for language in ("en", "pt-BR"):
            assert (await inside.get(path + one, params={"lang": language})).status_code == 200


async def test_the_experiment_screen_tells_what_the_experiments_room_says(inside, runtime):
    site, campaign = await make(runtime, allocation="uniform")
    path = f"/dashboard/campaigns/{campaign.id}/experiment"
    assert "nothing to compare yet" in (await inside.get(path)).text
    await visits(runtime, site, campaign, 400, rates=(0.05, 0.6))
    found = await read_experiment(runtime.store, campaign.id)
    page = (await inside.get(path)).text
    assert found.text["en"] in figures(page)
    assert found.verdict == "better"
    assert "Ship now" in page
    lines = {line["variant"]: line for line in rows_of(await inside.get(f"{path}/experiment.csv"))}
    for arm in found.arms:
        line = lines[arm.name]
        assert int(line["impressions"]) == arm.impressions
        for name in ("value", "lift", "lift_low", "lift_high", "p", "chance_to_win"):
            assert line[name] == ("" if getattr(arm, name) is None else str(getattr(arm, name)))
    other = await inside.get(path, params={"control": "b"})
    assert "Every variant against b" in other.text
    nothing = await inside.post(f"{path}/keep", data={"variant": "zz"}, headers=FROM_HERE)
    assert (nothing.status_code, "No live variant was chosen" in nothing.text) == (422, True)
    kept = await inside.post(f"{path}/keep", data={"variant": "b"}, headers=FROM_HERE)
    assert kept.headers["location"] == f"{path}?done=kept"
    states = {one.name: one.state for one in await runtime.store.catalogue.variants(campaign.id)}
    assert states == {"a": "retired", "b": "live"}
    assert (await inside.get(path, params={"control": "zz"})).status_code == 404


async def test_a_release_is_started_held_resumed_and_rolled_back(inside, runtime):
    site, campaign = await make(runtime, titles=("t0", "t1", "t2"))
    path = f"/dashboard/campaigns/{campaign.id}/rollout"
    assert "Every variant is live already" in (await inside.get(path)).text
    last = (await runtime.store.catalogue.variants(campaign.id))[-1]
    await runtime.store.catalogue.set_variant_state(last.id, "retired", "test")
    nothing = await inside.post(f"{path}/start", data={"ramp": "quick"}, headers=FROM_HERE)
    assert "Nothing was chosen" in nothing.text
    form = {"variants": last.name, "ramp": "quick"}
    assert (await inside.post(f"{path}/start", data={**form, "ramp": "x"}, headers=FROM_HERE)).status_code == 422
    started = await inside.post(f"{path}/start", data=form, headers=FROM_HERE)
    assert started.headers["location"] == f"{path}?done=release_started"
    await visits(runtime, site, campaign, 60)
    page = (await inside.get(path)).text
    assert "Hold here" in page
    release = re.search(r'name="release" value="(\d+)"', page).group(1)
    for action, seen in (("hold", "Go on"), ("resume", "Hold here"), ("rollback", "rolled back")):
        done = await inside.post(f"{path}/{action}", data={"release": release}, headers=FROM_HERE)
        assert done.headers["location"] == f"{path}?done=release_{action}"
        assert seen in (await inside.get(path)).text
    again = await inside.post(f"{path}/hold", data={"release": release}, headers=FROM_HERE)
    assert again.status_code == 409
    assert "The state does not allow it now" in again.text
    assert (await inside.post(f"{path}/hold", data={"release": "x"}, headers=FROM_HERE)).status_code == 422
    actions = [line["action"] for line in rows_of(await inside.get(f"{path}/moves.csv"))]
    assert [one for one in actions if one != "check"] == ["start", "hold", "resume", "rollback"]
    assert {line["guardrail"] for line in rows_of(await inside.get(f"{path}/guardrails.csv"))} >= {"ctr", "complaints"}
    second = await inside.post(f"{path}/start", data=form, headers=FROM_HERE)
    assert second.status_code == 303
    assert "Releases before" in (await inside.get(path)).text


async def test_an_experiment_that_is_still_read_says_so_and_then_as_of_when(inside, runtime, monkeypatch):
    site, campaign = await make(runtime)
    await visits(runtime, site, campaign, 60, rates=(0.1, 0.3))
    path = f"/dashboard/campaigns/{campaign.id}/experiment"
    go, outcomes = asyncio.Event(), runtime.store.rollups.outcomes

    async def slow(*args, **kwargs):
        await go.wait()
        return await outcomes(*args, **kwargs)

    monkeypatch.setattr(runtime.store.rollups, "outcomes", slow)
    runtime.tallies.instant_s = 0.0
    assert "Every decision of this campaign is being read" in (await inside.get(path)).text
    file = asyncio.create_task(inside.get(f"{path}/experiment.csv"))
    go.set()
    assert len(rows_of(await file)) == 2
    runtime.clock.advance(60_000)
    go.clear()
    page = (await inside.get(path)).text
    assert "Every variant against" in page
    assert "as of Sep 21, 2026" in page
    go.set()


async def test_a_campaign_is_paused_ended_and_stays_in_the_archive(inside, runtime):
    site, campaign = await make(runtime)
    await visits(runtime, site, campaign, 10)
    path = f"/dashboard/campaigns/{campaign.id}"
    assert "Nothing has ended yet" in (await inside.get("/dashboard/archive")).text
    for state in ("paused", "live"):
        done = await inside.post(f"{path}/state", data={"state": state}, headers=FROM_HERE)
        assert done.headers["location"] == f"{path}?done=campaign_{state}"
    unsure = await inside.post(f"{path}/state", data={"state": "ended"}, headers=FROM_HERE)
    assert (unsure.status_code, "not confirmed" in unsure.text) == (422, True)
    await inside.post(f"{path}/state", data={"state": "ended", "sure": "yes"}, headers=FROM_HERE)
    archive = figures((await inside.get("/dashboard/archive")).text)
    assert "The watch" in archive
    assert "Impressions 10" in archive
    (line,) = rows_of(await inside.get("/dashboard/archive/archive.csv"))
    assert (line["campaign"], line["impressions"]) == ("watch", "10")
    assert (await inside.get(f"{path}/experiment")).status_code == 200


async def test_a_visitors_request_is_answered(inside, runtime):
    site, campaign = await make(runtime)
    visitor = uuid4()
    await visits(runtime, site, campaign, 5, visitors=[visitor])
    for bad in ("", "x", "123"):
        refused = await inside.post("/dashboard/privacy/export", data={"visitor": bad}, headers=FROM_HERE)
        assert (refused.status_code, "not a visitor" in refused.text) == (422, True)
    file = await inside.post("/dashboard/privacy/export", data={"visitor": f" {visitor} "}, headers=FROM_HERE)
    assert file.headers["content-disposition"] == 'attachment; filename="visitor.json"'
    assert len(file.json()["exposures"]) == 5
    unsure = await inside.post("/dashboard/privacy/erase", data={"visitor": str(visitor)}, headers=FROM_HERE)
    assert unsure.status_code == 422
    form = {"visitor": str(visitor), "sure": "yes"}
    gone = await inside.post("/dashboard/privacy/erase", data=form, headers=FROM_HERE)
    assert "Exposures: 5" in gone.text
    missing = await inside.post("/dashboard/privacy/export", data={"visitor": str(visitor)}, headers=FROM_HERE)
    assert (missing.status_code, "Nothing is kept of that visitor" in missing.text) == (422, True)
    page = (await inside.get("/dashboard/privacy")).text
    assert "visitor erased" in page
    assert str(visitor) not in page + (await inside.get("/dashboard/audit")).text


async def test_segments_and_a_lookalike_audience(inside, runtime):
    site, _ = await make(runtime)
    assert "No segments yet" in (await inside.get("/dashboard/segments")).text
    visitors = [uuid4() for _ in range(160)]
    clock, events = runtime.clock, []
    for place, who in enumerate(visitors):
        events += [
            {
                "type": "view",
                "id": str(uuid7(clock.now_ms())),
                "at": clock.now_ms(),
                "visitor": str(who),
                "item": f"{'shoes' if place % 2 else 'watch'}{item}",
            }
            for item in range(3)
        ]
    for begin in range(0, len(events), 200):
        body = json.dumps({"key": site.key, "consent": "granted", "events": events[begin : begin + 200]})
        assert not (await runtime.ingest(body.encode())).refused
    audience = runtime.audience
    audience._found, audience._drift = audience.visitors.regroup(2)
    page = (await inside.get("/dashboard/segments")).text
    assert "Build a lookalike audience" in page
    assert page.count('class="blob"') == 2 * len(audience._found)
    found = rows_of(await inside.get("/dashboard/segments/segments.csv"))
    assert sum(int(line["visitors"]) for line in found) == 160
    path = "/dashboard/segments/lookalike"
    seeds = visitors[1::2][:20]
    built = await inside.post(path, data={"seeds": ",".join(map(str, seeds)), "count": "30"}, headers=FROM_HERE)
    lines = rows_of(built)
    assert len(lines) == 30
    assert {line["visitor"] for line in lines}.isdisjoint(map(str, seeds))
    odd = {str(one) for one in visitors[1::2]}
    assert sum(line["visitor"] in odd for line in lines) == 30, "those who looked at shoes as well"
    segment = await inside.post(path, data={"segment": found[0]["segment"], "count": "5"}, headers=FROM_HERE)
    assert len(rows_of(segment)) <= 5
    for bad, told in (
        ({"count": "0", "segment": "0"}, "1 to 10000"),
        ({"count": "5", "seeds": "abc"}, "cannot be read"),
        ({"count": "5"}, "cannot be read"),
        ({"count": "5", "seeds": str(uuid4())}, "Fewer than 10"),
    ):
        answer = await inside.post(path, data=bad, headers=FROM_HERE)
        assert (answer.status_code, told in answer.text) == (422, True), told


async def test_what_devices_tell_of_their_model(inside, runtime):
    assert "No campaign releases a model" in (await inside.get("/dashboard/edge")).text
    site, campaign = await make(runtime, "edge-model", titles=("model-1.bin", "model-2.bin"), allocation="uniform")
    await visits(runtime, site, campaign, 30, rates=(1.0, 1.0))
    lines = rows_of(await inside.get("/dashboard/edge/edge.csv"))
    recount = await runtime.store.rollups.recount(campaign.id)
    assert sum(int(line["pages"]) for line in lines) == sum(row.impressions for row in recount.totals) == 30
    assert sum(float(line["share"]) for line in lines) == pytest.approx(1.0)
    page = figures((await inside.get("/dashboard/edge")).text)
    assert "model-1.bin" in page
    assert percent(int(lines[0]["pages"]) / 30, "en", 1) in page


async def test_federated_rounds_with_their_budget(inside, runtime):
    assert "No federated task yet" in (await inside.get("/dashboard/federated")).text
    import numpy as np

    weights = np.zeros(4, dtype="<f4")
    await runtime.store.federated.new_task("bids", 8.0, 1e-6, weights.tobytes(), "0" * 64)
    page = figures((await inside.get("/dashboard/federated")).text)
    assert "ε 8.00" in page
    assert "No round has been opened yet" in page
    assert rows_of(await inside.get("/dashboard/federated/rounds.csv")) == []
    row = RoundRow(id="ab" * 16, task="bids", offer=b"", rho=0.02, patience_ms=1000, deadline_ms=9)
    await runtime.store.federated.open_round(row)
    (line,) = rows_of(await inside.get("/dashboard/federated/rounds.csv"))
    assert (line["round"], line["phase"], line["clients"]) == (row.id, "join", "0")
    assert 0.5 < float(line["epsilon"]) <= 0.02 + 2 * (0.02 * 13.816) ** 0.5  # Bun & Steinke 2016, proposition 1.3
    assert row.id[:12] in (await inside.get("/dashboard/federated")).text


def point(at, variant=1, **counts):
    return SeriesPoint(at_ms=at, variant_id=variant, **counts)


def test_series_are_cumulated_and_thinned():
    points = [point(at * 60_000, arm, impressions=10, clicks=arm) for at in range(200) for arm in (1, 2)]
    moments, sums = cumulated(points, "click")
    assert len(moments) == 60
    assert (moments[0], moments[-1]) == (0, 199 * 60_000)
    assert sums[2][0] == (2, 10)
    assert sums[2][-1] == (400, 2000)
    assert cumulated([point(0, impressions=5, ratings=2, rating_sum=9)], "rating")[1] == {1: [(9, 2)]}


def test_changes_compare_two_periods_and_say_when_they_are_sure():
    assert period_of(0, 20 * DAY) == 7 * DAY
    assert period_of(0, 2 * DAY) == DAY
    assert period_of(0, 3_600_000) is None
    before, now = (
        point(DAY, impressions=1000, clicks=50, purchases=2),
        point(2 * DAY, impressions=2000, clicks=300, purchases=4),
    )
    told = changes_of([point(0, impressions=9), before, now], 2 * DAY, DAY).of
    assert told["impressions"].relative == pytest.approx(1.0)
    assert told["ctr"].relative == pytest.approx(2.0)
    assert told["ctr"].sure
    assert not told["conversion"].sure
    assert "rating" not in told
    assert changes_of([now], 2 * DAY, DAY).of == {}


def test_costs_follow_from_the_price_of_an_impression():
    assert costs_of(CampaignPlan(), [point(0, impressions=10)]) is None
    nothing = costs_of(CampaignPlan(cpm=5.0), [])
    assert (nothing.cost_cents, nothing.cpa, nothing.roas) == (0.0, None, None)
    rows = [point(0, impressions=10_000, purchases=100, value_cents=500_000, value_sq=100 * 5_000**2)]
    costs = costs_of(CampaignPlan(cpm=20.0), rows)
    assert costs.cost_cents == pytest.approx(20_000)
    assert costs.cpa.value == pytest.approx(200)
    low, high = rate_sequence(100, 10_000)
    assert (costs.cpa.low, costs.cpa.high) == pytest.approx((2.0 / high, 2.0 / low))
    assert costs.roas.value == pytest.approx(25)
    assert costs.roas.low < 25 < costs.roas.high


def test_a_csv_holds_no_formula():
    file = csv_file("x.csv", ("a",), [["=1+1"], ["plain"], [5]])
    assert file.body == b"a\r\n'=1+1\r\nplain\r\n5\r\n"


async def test_what_comes_from_outside_is_text_everywhere(inside, runtime):
    """Names of campaigns, texts, visitors' items, users, addresses: shown, never run."""
    site, campaign = await make(runtime, name=EVIL, titles=(EVIL, "t1"))
    await visits(runtime, site, campaign, 12)
    await runtime.store.catalogue.audit(EVIL, EVIL, EVIL, {"x": EVIL})
    assert (await inside.post("/dashboard/users/invite", data={"name": EVIL}, headers=FROM_HERE)).status_code == 422
    for (path, method), entry in table().items():
        if method == "GET" and entry.kind in ("page", "live"):
            asked = {name: EVIL for name in entry.screen.query if name != "control"} | {"done": EVIL}
            answer = await inside.get(path.replace("{id:int}", str(campaign.id)), params=asked)
            assert answer.status_code == 200, path
            assert "<script>alert" not in answer.text, path
            assert "&amp;49" not in answer.text, path
            assert "<style" not in answer.text
            assert not re.search(r"<[^>]+\son\w+=|<[^>]+\sstyle=", answer.text), path


async def test_changes_are_pushed_once_made_for_all(runtime, monkeypatch):
    """Many viewers, one computation; each hears of a change, and a reader who may no longer look is let go."""
    made = 0

    async def make_text():
        nonlocal made
        made += 1
        return f"text\n{made // 3}"

    monkeypatch.setattr(live_module, "BEAT_S", 0.2)
    monkeypatch.setattr(live_module, "SPREAD_S", 0.0)
    desk = Live()
    part = desk.part(("key",), make_text, 0.05)
    assert desk.part(("key",), make_text, 0.05) is part

    async def yes():
        return True

    streams = [desk.stream(part, "", yes) for _ in range(50)]
    for one in streams:
        assert await anext(one) == b"retry: 1000\n\n"
    assert part.viewers == 50
    first = await asyncio.gather(*(anext(one) for one in streams))
    assert len(set(first)) == 1
    assert first[0].startswith(b"id: ")
    second = await asyncio.gather(*(anext(one) for one in streams))
    assert {told[:4] for told in second} == {b"id: "}
    assert made < 10, "not once a viewer"
    for one in streams:
        await one.aclose()
    assert (part.viewers, part.ticker) == (0, None)
    asked = iter([True, False])

    async def once():
        return next(asked)

    short = desk.stream(part, "", once)
    assert [told[:4] async for told in short][1:] == [b"id: "]


async def test_a_stream_is_sent_as_events_to_who_asks_for_them(inside, runtime, monkeypatch):
    monkeypatch.setattr(live_module, "STREAM_S", 0.0)
    answer = await inside.get("/dashboard/live", headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "retry: 1000\n\n"


async def test_the_report_of_a_campaign_says_its_cost(inside, runtime):
    site, campaign = await make(runtime, cpm=10.0)
    await visits(runtime, site, campaign, 20)
    report = await build_report(runtime.store, campaign.id, clock=runtime.clock)
    page = (await inside.get(f"/dashboard/campaigns/{campaign.id}/report.html")).text
    assert report.standing.text["en"] in figures(page)
    assert "R$0.20" in page
