"""Edge models released by a campaign: what pages tell becomes the numbers of a screen, and nothing else is there."""

import gzip

import msgspec
import pytest

from arauto.core.errors import NotFoundError
from arauto.edge import RELEASE, file_name, shipped
from arauto.loop import NewRelease, edge_screen, start_release

OLD, NEW = "sentiment." + "0" * 64 + ".bin", file_name(shipped())


async def told(world, variant, *events):
    """A page that got ``variant`` tells what happened."""
    for _ in range(200):
        answer = await world.decide()
        if answer["variant"] == variant:
            receipt = answer["receipt"]
            sent = [world.event("impression", receipt), *(world.event(kind, receipt, **f) for kind, f in events)]
            assert (await world.send(*sent)).status == 200
            return
    raise AssertionError(variant)


async def test_versions_shares_times_and_fallbacks(world):
    campaign = await world.launch(arms=2, slug="edge-model")
    a, b = (one["name"] for one in campaign["variants"])
    before = await edge_screen(world.runtime.store, world.campaign_id)
    assert (before.pages, before.release) == (0, None)
    assert [(one.share, one.ready_p50, one.fallback) for one in before.versions] == [(0, None, 0), (0, None, 0)]
    for reading in (100.0, 200.0, 400.0):
        vital = ("web_vital", {"metric": "load", "reading": reading})
        await told(world, a, vital, ("web_vital", {"metric": "INP", "reading": reading / 100}))
    await told(world, b, ("custom", {"name": "error"}))
    screen = await edge_screen(world.runtime.store, world.campaign_id)
    first, second = screen.versions
    assert (screen.pages, first.pages, first.share, second.share) == (4, 3, 0.75, 0.25)
    assert first.ready_p50 == pytest.approx(200, rel=0.03)
    assert first.ready_p95 == pytest.approx(400, rel=0.03)
    assert first.predict_p50 == pytest.approx(2, rel=0.03)
    assert (first.fallback, second.fallback) == (0, 1)
    msgspec.json.encode(screen)


async def test_a_new_model_is_released_step_by_step(world):
    await world.launch(arms=1, slug="edge-model")
    copies = [{"title": NEW, "description": "int4, July", "image_suggestion": "-"}]
    change = msgspec.convert({"copies": copies, "guardrails": []}, NewRelease)
    await start_release(world.runtime.store, world.campaign_id, change, actor="somebody")
    screen = await edge_screen(world.runtime.store, world.campaign_id)
    assert screen.release is not None
    assert (screen.release.status, screen.release.share) == ("running", 0.01)
    assert {one.model: one.state for one in screen.versions}[NEW] == "staged"


async def test_without_the_campaign_there_is_nothing_to_show(world):
    with pytest.raises(NotFoundError):
        await edge_screen(world.runtime.store, 999)


async def test_the_releasing_module_is_served(world):
    answer = await world("GET", f"/edge/{RELEASE}")
    assert answer.status == 200
    assert b"from './arauto-edge.js'" in answer.body


async def test_a_browser_that_takes_gzip_gets_the_model_by_gzip(world):
    name = file_name(shipped())
    plain = await world("GET", f"/edge/{name}")
    small = await world("GET", f"/edge/{name}", headers={"accept-encoding": "br, gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small.body) == plain.body == shipped().to_bytes()
    assert plain.headers["vary"] == "accept-encoding"
