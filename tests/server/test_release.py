"""Releases and tests over HTTP."""

from tests.server.world import World

NEW = {"title": "new", "description": "d", "image_suggestion": "i"}


async def test_a_release_over_http(world: World):
    await world.launch(arms=2, allocation="uniform")
    path = f"/v1/campaigns/{world.campaign_id}"
    begun = await world.ask("POST", f"{path}/releases", {"copies": [NEW], "steps": [0.5, 1.0]})
    assert (begun["status"], begun["share"], begun["variants"]) == ("running", 0.5, ["c"])
    assert [rail["name"] for rail in begun["plan"]["guardrails"]] == ["ctr", "complaints", "errors", "violations"]
    told = [await world.decide() for _ in range(200)]
    events = [world.event("impression", one["receipt"]) for one in told]
    assert (await world.send(*events)).status == 200
    shown = await world.ask("GET", f"/v1/releases/{begun['id']}")
    assert shown["exposures"] == sum(one["variant"] == "c" for one in told)
    assert shown["exposures"] + shown["control_exposures"] == 200
    held = await world.ask("POST", f"/v1/releases/{begun['id']}/move", {"action": "hold"})
    assert held["status"] == "held"
    assert held["moves"][-1]["move"]["actor"] == "admin"
    for method, url, body, status in (
        ("POST", f"{path}/releases", {"copies": [NEW]}, 409),
        ("POST", f"{path}/releases", {"guardrails": [{"name": "fame"}]}, 422),
        ("POST", f"/v1/releases/{begun['id']}/move", {"action": "hold"}, 409),
        ("POST", f"/v1/releases/{begun['id']}/move", {"action": "jump"}, 422),
        ("POST", "/v1/releases/999/move", {"action": "hold"}, 404),
        ("GET", "/v1/releases/999", b"", 404),
        ("GET", "/v1/campaigns/999/releases", b"", 404),
    ):
        assert (await world(method, url, body, world.admin)).status == status, (method, url, body)
    gone = await world.ask("POST", f"/v1/releases/{begun['id']}/move", {"action": "rollback"})
    assert gone["share"] == 0.0
    assert {(await world.decide())["variant"] for _ in range(60)} == {"a", "b"}
    assert [one["id"] for one in await world.ask("GET", f"{path}/releases")] == [begun["id"]]
    audit = await world.ask("GET", "/v1/audit?limit=3")
    assert [entry["action"] for entry in audit] == ["release.rollback", "release.hold", "release.start"]


async def test_an_experiment_over_http(world: World):
    await world.launch(arms=2, allocation="uniform")
    told = [await world.decide() for _ in range(50)]
    await world.send(*[world.event("impression", one["receipt"]) for one in told])
    found = await world.ask("GET", f"/v1/campaigns/{world.campaign_id}/experiment?control=b")
    assert (found["control"], found["verdict"], found["fixed_split"]) == ("b", "too_early", True)
    assert (await world("GET", "/v1/campaigns/999/experiment", b"", world.admin)).status == 404
    assert (await world("GET", f"/v1/campaigns/{world.campaign_id}/experiment", b"")).status == 401
