"""From an event that was committed to its effect: vector, index, neighbours, offers, segment of the next decision.

100,000 visitors in one process; 2,000 events a second and 2,000 decisions a second, on a clock; each event's cost is
measured from the moment it was due to the answer that shows it, waiting included. What came while one group of events
was worked on is the next group, as in the server. Every event is followed by its visitor's decision; one in twenty also
by the question for neighbours and offers. The database's commit is in bench/events.py, the process in which all of it
serves is in bench/http.py.

Three figures stand side by side: what an event took by the clock; its ``own`` time, without that in which this process
wanted to run and did not (woken late, or off its core in the midst of work: clock less CPU time); and by how much an
idle process beside it was late (bench/pauses.py).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np

from arauto.audience import Candidate, VisitorIndex, Visitors, open_faiss, touch_of, write_faiss
from bench.audience_town import ITEMS, VARIANTS, person, town
from bench.pauses import beside, told

VISITORS = int(os.environ.get("AUDIENCE_VISITORS", "100000"))
SECONDS = float(os.environ.get("AUDIENCE_SECONDS", "20"))
RATE = 2000
MOST = 256
"""Events that are taken in at once."""
ASKED = 20
LIMIT_MS = 5.0


def recall(visitors: Visitors, rng: np.random.Generator) -> float:
    """Recall@10 of the index against every vector."""
    keys = visitors.index.keys
    rows = visitors.index.vectors(keys)
    asked = rows[rng.choice(len(rows), 300, replace=False)]
    near = asked @ rows.T
    wanted = keys[np.argpartition(-near, 10, axis=1)[:, :10]]
    # Ties (visitors of one vector) count when they are as near as the tenth.
    tenth = np.sort(near, axis=1)[:, -10]
    found, similar = visitors.index.nearest(asked, 10)
    hits = [
        np.mean([key in set(truth) or value >= edge - 1e-5 for key, value in zip(own, values, strict=True)])
        for own, values, truth, edge in zip(found.tolist(), similar.tolist(), wanted.tolist(), tenth, strict=True)
    ]
    return float(np.mean(hits))


class Line:
    """The time line of one run: what each event took, and when this process wanted to run and did not."""

    def __init__(self) -> None:
        self.due: dict[str, list[float]] = {}
        self.done: dict[str, list[float]] = {}
        self.work: dict[str, list[float]] = {}
        self.groups: list[int] = []
        self._knots, self._paused = [0.0], [0.0]

    def took(self, name: str, due: float, done: float) -> None:
        self.due.setdefault(name, []).append(due)
        self.done.setdefault(name, []).append(done)

    def worked(self, name: str, cpu: float) -> None:
        self.work.setdefault(name, []).append(cpu * 1000)

    def paused(self, start: float, end: float, lost: float) -> None:
        """Between two moments, so much was lost."""
        if lost > 0 and start >= self._knots[-1]:
            self._knots += [start, end]
            self._paused += [self._paused[-1], self._paused[-1] + min(lost, end - start)]

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, done in self.done.items():
            ends, starts = np.array(done), np.array(self.due[name])
            lost = np.interp(ends, self._knots, self._paused) - np.interp(starts, self._knots, self._paused)
            took = (ends - starts) * 1000
            found[name] = {
                **spread(took),
                "late_share": float(np.mean(took > LIMIT_MS)),
                "own": spread(took - lost * 1000),
            }
        found["work_cpu"] = {name: spread(np.array(some)) for name, some in self.work.items()}
        found["group_of"] = {"mean": float(np.mean(self.groups)), "most": max(self.groups)}
        lengths = np.diff(self._paused)[1::2] * 1000
        found["pauses"] = {"seconds": self._paused[-1], "over_1_ms": int((lengths > 1).sum()), **spread(lengths)}
        return found


def spread(took: Any) -> dict[str, float]:
    """Of milliseconds."""
    return {f"p{share}_ms": float(np.quantile(took, share / 100)) for share in (50, 99)}


def live(visitors: Visitors, codes: list[int], now: int, rng: np.random.Generator) -> dict[str, Any]:
    """Events and decisions by the clock, for a while. An event is timed from when it was DUE: waiting counts."""
    candidates = [Candidate(variant, variant // 4) for variant in range(1, VARIANTS + 1)]
    many = int(SECONDS * RATE) + MOST
    events = [
        (person(who), touch_of(UUID(int=(1 << 100) + one), now + one, "view", codes[what]))
        for one, (who, what) in enumerate(
            zip(*(rng.integers(of, size=many).tolist() for of in (VISITORS, ITEMS)), strict=True)
        )
    ]
    line, clock, cpu = Line(), time.perf_counter, time.thread_time
    done = 0
    began = clock()

    def step(name: str, work: Callable[..., Any], *given: Any) -> float:
        """Do it, and say when it was done."""
        start, before = clock(), cpu()
        work(*given)
        spent, end = cpu() - before, clock()
        line.worked(name, spent)
        line.paused(start, end, end - start - spent)
        return end

    while (now_s := clock() - began) < SECONDS:
        group = range(done, min(int(now_s * RATE), done + MOST))
        if not group:
            # Asleep until the next is due, as a server is: who never sleeps is made to wait by the system.
            wake = began + (done + 1) / RATE
            time.sleep(max(0.0, wake - clock()))
            line.paused(wake, max(wake, woken := clock()), woken - wake)
            continue
        line.groups.append(len(group))
        step("learn", visitors.learn_all, events[group.start : group.stop])
        for one in group:
            visitors.segment(events[one][0])
            line.took("event", began + (one + 1) / RATE, clock())
        for one in group:
            if one % ASKED == 0:
                visitor = events[one][0]
                step("neighbours", visitors.neighbours, visitor, 10)
                end = step("offers", visitors.offers, visitor, candidates, now + one, rng)
                line.took("all", began + (one + 1) / RATE, end)
        done += len(group)
    return {"events_a_second": done / SECONDS, "decisions_a_second": done / SECONDS, **line.figures()}


def erased(visitors: Visitors, folder: Path) -> dict[str, bool]:
    """Where a forgotten visitor still is: in memory, in the index or a snapshot of it, in an export."""
    who = person(77)
    neighbour = visitors.neighbours(who, 1)[0].visitor
    gone = visitors.vector(who)
    visitors.forget(who)
    visitors.index.save(folder / "i.npz")
    write_faiss(visitors.index, folder / "i.faiss")
    copies = {"snapshot": VisitorIndex.load(folder / "i.npz"), "export": open_faiss(folder / "i.faiss")}
    return {
        "known": who in visitors,
        "index": len(visitors.index) != len(visitors),
        "neighbour": who in [one.visitor for one in visitors.neighbours(neighbour, 50)],
        "states": who in [one for one, _ in visitors.states()],
        "segment": visitors.segment(who) >= 0,
        **{
            name: len(copy) != len(visitors) or float(copy.nearest(gone, 1)[1][0, 0]) > 1 - 1e-6
            for name, copy in copies.items()
        },
    }


def main() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    visitors, _, codes, now = town(VISITORS, rng)
    figures: dict[str, Any] = {
        "visitors": VISITORS,
        "exact": visitors.index.exact,
        "recall_before": recall(visitors, rng),
    }
    # As a serving process does once its audience is made (arauto.server.worker): a full collection would see it all.
    gc.collect()
    gc.freeze()
    idle, used = beside(SECONDS), time.process_time()
    figures.update(live(visitors, codes, now, rng))
    figures["cores_used"] = (time.process_time() - used) / SECONDS
    figures["idle_process_late"] = told(idle)
    figures["recall_after"] = recall(visitors, rng)
    with TemporaryDirectory() as folder:
        figures["erased_but_found"] = erased(visitors, Path(folder))
    figures["kept"] = {
        "fresh_within_5_ms": max(figures[name]["p99_ms"] for name in ("event", "all")) <= LIMIT_MS,
        "own_time_within_5_ms": max(figures[name]["own"]["p99_ms"] for name in ("event", "all")) <= LIMIT_MS,
        "in_time": figures["events_a_second"] >= 0.99 * RATE and figures["decisions_a_second"] >= 0.99 * RATE,
        "recall": figures["recall_after"] >= 0.98,
        "erased": not any(figures["erased_but_found"].values()),
    }
    return {**figures, "passed": all(figures["kept"].values())}
