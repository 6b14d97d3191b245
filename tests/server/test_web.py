"""Health, metrics, files, the document; and what is not there."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from arauto.core.errors import Problem, StoreError
from arauto.edge import assets
from arauto.server.meters import Board, Meters, Snapshot, exposition
from arauto.server.routes import ROUTES


async def test_health_and_readiness(world, monkeypatch):
    assert (await world("GET", "/healthz")).json()["status"] == "ok"
    assert (await world("GET", "/readyz")).json()["status"] == "ready"

    async def away():
        raise StoreError("away")

    monkeypatch.setattr(world.runtime.store, "ping", away)
    answer = await world("GET", "/readyz")
    assert (answer.status, answer.json(Problem).code) == (503, "store_unavailable")
    assert (await world("GET", "/healthz")).status == 200


async def test_metrics_are_what_prometheus_reads(world):
    await world.launch()
    receipt = (await world.decide())["receipt"]
    await world.send(world.event("impression", receipt), world.event("impression", receipt), {"type": "x"})
    answer = await world("GET", "/metrics", headers=world.admin)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
    assert samples["arauto_requests_total", "200", "POST /v1/decide"] == 1
    assert samples["arauto_decisions_total", "shop/watch"] == 1
    assert samples["arauto_events_total", "stored"] == 1
    assert samples["arauto_events_total", "duplicate"] == 1
    assert samples["arauto_events_total", "refused"] == 1
    assert samples["arauto_request_seconds_count", "POST /v1/decide"] == 1
    assert samples["arauto_request_seconds_bucket", "+Inf", "POST /v1/decide"] == 1
    assert samples[("arauto_database_up",)] == 1


def test_counters_of_several_processes_add_up(tmp_path):
    one, other = Meters(), Meters()
    one.record("GET /a", 200, 0.003)
    one.record("GET /a", 200, 9.0)
    other.record("GET /a", 500, 0.003)
    other.record("GET /b", 200, 0.003)
    board = Board(tmp_path)
    board.leave(one.snapshot({}, {}))
    (tmp_path / "1.json").write_bytes(msgspec.json.encode(other.snapshot({"stored": 2}, {"c": 1})))
    whole = board.add_up(one.snapshot({"stored": 1}, {"c": 1}))
    assert whole.requests == {"GET /a 200": 2, "GET /a 500": 1, "GET /b 200": 1}
    assert sum(whole.seconds["GET /a"][:-1]) == 3
    assert whole.seconds["GET /a"][-1] == pytest.approx(9.006)
    assert (whole.events, whole.decisions) == ({"stored": 3}, {"c": 2})
    Board(None).leave(whole)
    assert Board(None).add_up(whole) == whole
    assert b"arauto_workers 2.0" in exposition(Snapshot(), database_up=False, workers=2)


async def test_the_snippet_may_be_used_anywhere_and_is_not_sent_twice(world):
    answer = await world("GET", "/arauto.js", headers={"origin": "https://anywhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = await world("GET", "/arauto.js", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


async def test_the_edge_modules_and_the_model_may_be_used_anywhere(world):
    for name, asset in assets().items():
        answer = await world("GET", f"/edge/{name}", headers={"origin": "https://anywhere.example"})
        assert (answer.status, answer.body) == (200, asset.body)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert ("immutable" in answer.headers["cache-control"]) is name.endswith(".bin")
        again = await world("GET", f"/edge/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    missing = await world("GET", "/edge/none.bin")
    assert (missing.status, missing.json(Problem).field) == (404, "name")


async def test_what_is_not_there_is_a_problem(world):
    answer = await world("GET", "/nothing")
    assert (answer.status, answer.json(Problem).code) == (404, "not_found")


async def test_a_wrong_method_is_told_every_right_one(world):
    answer = await world("PATCH", "/v1/sites", headers=world.admin)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    answer.json(Problem)


async def test_a_head_is_a_get(world):
    assert (await world("HEAD", "/healthz")).status == 200


async def test_the_root_leads_to_the_dashboard(world):
    answer = await world("GET", "/")
    assert (answer.status, answer.headers["location"]) == (303, "/dashboard")


async def test_an_unexpected_error_is_a_500_that_tells_nothing(world, monkeypatch, caplog):
    async def broken():
        raise RuntimeError("secret of a visitor")

    monkeypatch.setattr(world.runtime.store.catalogue, "sites", broken)
    answer = await world("GET", "/v1/sites", headers=world.admin)
    assert (answer.status, answer.json(Problem).code) == (500, "error")
    assert "secret" not in caplog.text + answer.body.decode()


async def test_the_document_has_every_route_and_every_error(world):
    document = (await world("GET", "/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["operationId"] == route.name
        told = {int(status) for status in operation["responses"]}
        assert told == set(route.answers) | {error.status for error in route.errors}
        assert ("security" in operation) == (route.auth == "admin")
        if "{id}" in route.path:
            assert operation["parameters"][0]["in"] == "path"
    text = msgspec.json.encode(document).decode()
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text


def test_names_of_routes_are_unique():
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
