"""The audience over HTTP."""

from uuid import UUID


def person(number):
    return str(UUID(int=(number + 1) << 70 | 0x4000_8000_0000_0000_0001))


async def crowd(world):
    await world.launch()
    for who in range(40):
        events = [world.event("view", item=f"{'ab'[who % 2]}{n}", visitor=person(who)) for n in range(3)]
        answer = await world.send(*events, consent="granted")
        assert answer.status == 200
        world.clock.advance(50)


async def test_neighbours_offers_and_segments(world):
    await crowd(world)
    await world.runtime.audience.ready.wait()
    world.runtime.audience._group()
    found = await world.ask("GET", f"/v1/visitors/{person(0)}/neighbours?k=4")
    assert len(found["neighbours"]) == 4
    assert all(int(UUID(one["visitor"])) >> 70 & 1 for one in found["neighbours"])
    segments = await world.ask("GET", "/v1/segments")
    assert sum(one["size"] for one in segments["segments"]) == 40
    only = await world.ask("GET", f"/v1/visitors/{person(0)}/neighbours?segment={found['segment']}&days=1")
    assert {one["segment"] for one in only["neighbours"]} == {found["segment"]}
    offers = await world.ask("GET", f"/v1/visitors/{person(0)}/offers?count=1")
    assert offers["offers"][0]["reason"].keys() == {"pt-BR", "en"}
    assert offers["known"] is True


async def test_who_is_unknown_has_no_neighbours_but_offers(world):
    await world.launch()
    assert (await world("GET", f"/v1/visitors/{person(1)}/neighbours", headers=world.admin)).status == 404
    offers = await world.ask("GET", f"/v1/visitors/{person(1)}/offers")
    assert offers["known"] is False
    assert offers["items"] == []


async def test_bad_questions_are_refused(world):
    for path in (
        "/v1/visitors/none/neighbours",
        f"/v1/visitors/{person(1)}/neighbours?k=0",
        f"/v1/visitors/{person(1)}/neighbours?segment=-1",
        f"/v1/visitors/{person(1)}/offers?count=51",
    ):
        assert (await world("GET", path, headers=world.admin)).status == 422, path


async def test_an_export_tells_what_was_inferred_and_an_erasure_ends_it(world):
    await crowd(world)
    export = await world("GET", f"/v1/visitors/{person(3)}?key={world.key}")
    told = export.json()["audience"]
    assert told["touches"] == 3
    assert len(told["vector"]) > 0
    assert (await world("DELETE", f"/v1/visitors/{person(3)}?key={world.key}")).status == 200
    assert (await world("GET", f"/v1/visitors/{person(3)}/neighbours", headers=world.admin)).status == 404
