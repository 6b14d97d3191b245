"""Traces from a decision to its outcome, and logs that a machine reads."""

import json
import os
import signal
import sys
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from arauto.core.errors import InputError
from arauto.core.settings import Settings
from arauto.server import running
from arauto.server.traces import Traces, open_traces
from tests.server.test_main import children, launch, own, send, until  # noqa: F401  (own: a fixture)


def traced(world, share=1.0):
    spans = InMemorySpanExporter()
    traces = Traces(SimpleSpanProcessor(spans), b"k" * 32, share)
    world.front.traces, world.runtime.watch = traces, traces.told
    return spans


async def test_a_decision_and_its_outcomes_are_one_trace(world):
    await world.launch()
    spans = traced(world)
    visitor = str(uuid4())
    decision = await world.decide(visitor=visitor, consent="granted")
    await world.send(world.event(receipt=decision["receipt"], visitor=visitor), consent="granted")
    # Another process is told of the click, and says the same again.
    traced_by_another = traced(world)
    click = world.event("click", receipt=decision["receipt"], visitor=visitor)
    for _ in range(2):
        await world.send(click, consent="granted")
    first, told = spans.get_finished_spans(), traced_by_another.get_finished_spans()
    root, shown = first
    assert [span.name for span in (*first, *told)] == ["decide", "impression", "click", "click"]
    assert root.parent is None
    assert {span.context.trace_id for span in (*first, *told)} == {root.context.trace_id}
    assert {span.parent.span_id for span in (shown, *told)} == {root.context.span_id}
    assert [span.attributes["arauto.status"] for span in told] == ["stored", "duplicate"]
    assert root.attributes["arauto.variant"] == decision["variant"]
    assert shown.end_time >= shown.start_time
    # Neither the visitor nor the decision can be read out of it.
    everything = "".join(span.to_json() for span in (*first, *told))
    for secret in (visitor, UUID(visitor).hex, decision["decision"], UUID(decision["decision"]).hex):
        assert secret not in everything


async def test_a_share_is_traced_whole(world):
    await world.launch()
    spans = traced(world, share=0.3)
    for _ in range(100):
        decision = await world.decide()
        await world.send(world.event(receipt=decision["receipt"]))
    names = [span.name for span in spans.get_finished_spans()]
    assert names.count("decide") == names.count("impression")
    assert 10 <= names.count("decide") <= 55


async def test_a_refused_decision_writes_no_trace(world):
    await world.launch()
    spans = traced(world)
    assert (await world("POST", "/v1/decide", {"key": world.key, "campaign": "none"})).status == 404
    assert spans.get_finished_spans() == ()


def test_without_an_endpoint_there_are_none_and_without_the_extra_it_is_told(monkeypatch):
    assert open_traces(Settings(), b"k") is None
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(InputError, match=r"arauto\[otel\]"):
        open_traces(Settings(otel_endpoint="http://localhost:1"), b"k")


def test_logs_are_objects_and_name_nobody(own):  # noqa: F811
    # Traces go nowhere: that must trouble nobody, nor be told without end.
    own = msgspec.structs.replace(own, log_format="json", otel_endpoint="http://127.0.0.1:1", otel_share=1.0)
    with running(own) as server:
        _, query = launch(server)
        visitor = str(uuid4())
        asked = {**query, "visitor": visitor, "consent": "granted"}
        decision = httpx.post(f"{server.url}/v1/decide", json=asked).json()
        assert send(server, query, decision["receipt"], visitor=visitor).json()["stored"] == 1
        httpx.get(f"{server.url}/v1/visitors/{visitor}?key=wrong")
        os.kill(children(server)["jobs"][0], signal.SIGKILL)
        until(lambda: "starting it again" in server.told())
        told = server.told()
    lines = [line for line in told.splitlines() if not line.startswith(("Arauto listens", "Admin token"))]
    assert lines
    for line in map(json.loads, lines):
        assert {"at", "level", "logger", "process", "message"} <= line.keys()
    assert visitor not in told
    assert "127.0.0.1:" not in told.replace(server.url.removeprefix("http://"), "").replace("127.0.0.1:1", "")
