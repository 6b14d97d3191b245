"""What a server counts, and how Prometheus reads it (text exposition format 0.0.4).

Counting is a few additions, so that the hot routes can afford it; the families of the format are made at a scrape.
Where several processes serve, each leaves a snapshot in a folder now and then, and a scrape of any adds up all.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the latency buckets, in seconds."""
FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Snapshot(msgspec.Struct, kw_only=True):
    """The counters of one process, or of several added up."""

    requests: dict[str, int] = {}
    """By ``METHOD path status``, the path as the route table writes it."""
    seconds: dict[str, list[float]] = {}
    """By ``METHOD path``: the count of each latency bucket, one more for the rest, then the sum of the seconds."""
    events: dict[str, int] = {}
    """By what became of them."""
    decisions: dict[str, int] = {}
    """By campaign."""
    refused_busy: int = 0
    """Requests that were refused because the process had more to do than it can."""

    def add(self, other: Snapshot) -> None:
        self.refused_busy += other.refused_busy
        for mine, others in (
            (self.requests, other.requests),
            (self.events, other.events),
            (self.decisions, other.decisions),
        ):
            for name, count in others.items():
                mine[name] = mine.get(name, 0) + count
        for name, row in other.seconds.items():
            known = self.seconds.get(name)
            self.seconds[name] = [a + b for a, b in zip(known, row, strict=True)] if known else list(row)


class Meters:
    """The counters of this process."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, list[float]] = {}

    def record(self, route: str, status: int, seconds: float) -> None:
        """Count one answer. ``route`` is ``METHOD path`` of the route table."""
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        row = self._seconds.get(route)
        if row is None:
            row = self._seconds[route] = [0.0] * (len(BOUNDS) + 2)
        row[bisect_left(BOUNDS, seconds)] += 1
        row[-1] += seconds

    def snapshot(self, events: Mapping[str, int], decisions: Mapping[str, int], refused_busy: int = 0) -> Snapshot:
        """Everything counted so far, with what others count."""
        return Snapshot(
            requests={f"{route} {status}": count for (route, status), count in self._requests.items()},
            seconds={route: list(row) for route, row in self._seconds.items()},
            events=dict(events),
            decisions=dict(decisions),
            refused_busy=refused_busy,
        )


class Board:
    """The folder where the processes of one server leave their snapshots, if there are several."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def leave(self, snapshot: Snapshot) -> None:
        """Write this process's snapshot, in one stroke."""
        if self._folder is None:
            return
        path = self._folder / f"{os.getpid()}.json"
        draft = path.with_suffix(".tmp")
        draft.write_bytes(msgspec.json.encode(snapshot))
        draft.replace(path)

    def add_up(self, own: Snapshot) -> Snapshot:
        """``own`` and the last snapshots of the others, those of ended processes too: a counter never goes back."""
        whole = Snapshot()
        whole.add(own)
        if self._folder is not None:
            for path in sorted(self._folder.glob("*.json")):
                if path.stem != str(os.getpid()):
                    whole.add(msgspec.json.decode(path.read_bytes(), type=Snapshot))
        return whole


def exposition(snapshot: Snapshot, *, database_up: bool, workers: int) -> bytes:
    """The body of ``GET /metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(snapshot, database_up, workers))
    text: bytes = generate_latest(registry)
    return text


class _Scrape(Collector):
    def __init__(self, snapshot: Snapshot, database_up: bool, workers: int) -> None:
        self._snapshot = snapshot
        self._up = database_up
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("arauto_requests", "Answers by route and status.", labels=["route", "status"])
        for name, count in sorted(self._snapshot.requests.items()):
            requests.add_metric(name.rsplit(" ", 1), count)
        yield requests
        seconds = HistogramMetricFamily("arauto_request_seconds", "Time to answer, by route.", labels=["route"])
        for name, row in sorted(self._snapshot.seconds.items()):
            seconds.add_metric([name], _cumulative(row), row[-1])
        yield seconds
        events = CounterMetricFamily("arauto_events", "Events by what became of them.", labels=["outcome"])
        for name, count in sorted(self._snapshot.events.items()):
            events.add_metric([name], count)
        yield events
        decisions = CounterMetricFamily("arauto_decisions", "Decisions by campaign.", labels=["campaign"])
        for name, count in sorted(self._snapshot.decisions.items()):
            decisions.add_metric([name], count)
        yield decisions
        busy = CounterMetricFamily("arauto_refused_busy", "Requests refused because a process had too much to do.")
        busy.add_metric([], self._snapshot.refused_busy)
        yield busy
        yield GaugeMetricFamily("arauto_database_up", "1 when the database answers.", value=float(self._up))
        yield GaugeMetricFamily("arauto_workers", "Server processes.", value=float(self._workers))


def _cumulative(row: list[float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], row[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
