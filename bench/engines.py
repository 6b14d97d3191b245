"""``python -m bench engines``: the OpenAI-compatible engine against a stub that answers in 200 ms, well and badly.

Throughput: the whole path of a draft (prompt, request, answer, reading) as fast as it goes, memory watched. Faults:
many briefs at once against a stub that is busy, broken, hanging or cut as often as not; each brief must end in texts
or in a clear error, and the budget must hold by the stub's own count.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop

from arauto.core.brief import Brief
from arauto.core.errors import ArautoError
from arauto.core.settings import Secret
from arauto.creative import Ask, OpenAIEngine, Writer, compose_message
from arauto.creative.engines import Budget, Cache, Endpoint, HttpxWire, Prices

CALLS, WARM, FLIGHT = 24_000, 3_000, 1_000
BRIEFS, TEXTS = 400, 3
WANTED = 2_000


def main() -> dict[str, Any]:
    """Run both, and say whether what was promised held."""
    with stub() as port:
        speed = uvloop.run(throughput(port, CALLS))
        kept = uvloop.run(throughput(port, CALLS // 3, cached=True))
        plain = uvloop.run(throughput(port, CALLS // 12, library="httpx"))
        faults = uvloop.run(trouble(port, tokens=None))
        capped = uvloop.run(trouble(port, tokens=600_000))
    passed = (
        speed["calls_a_second"] >= WANTED
        and speed["memory_growth_mb"] < 10
        and faults["lost"] == capped["lost"] == 0
        and capped["tokens_by_the_stub"] <= 600_000
    )
    return {
        "stub_seconds": 0.2,
        "throughput": speed,
        "throughput_with_cache_on_disk": kept,
        "the_same_over_httpx": plain,
        "faults": faults,
        "faults_with_a_cap_of_600000_tokens": capped,
        "passed": passed,
    }


@contextmanager
def stub() -> Iterator[int]:
    """The stub's port while it runs."""
    command = [sys.executable, str(Path(__file__).with_name("stub.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        process.wait(10)


async def throughput(port: int, calls: int, *, cached: bool = False, library: str = "") -> dict[str, Any]:
    """Completed drafts a second with :data:`FLIGHT` of them in flight."""
    limits = httpx.Limits(max_connections=FLIGHT, max_keepalive_connections=FLIGHT)
    wire = HttpxWire(httpx.AsyncHTTPTransport(limits=limits)) if library == "httpx" else None
    brief = Brief(product="smartwatch", focus="saúde")
    message = compose_message(brief)
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder)) if cached else None
        endpoint = Endpoint(f"http://127.0.0.1:{port}/ok/v1", Secret("k"), cache=cache, in_flight=FLIGHT, wire=wire)
        engine = OpenAIEngine("", Secret(""), "stub", endpoint=endpoint)
        turns = iter(range(calls + WARM))
        done = 0

        async def work(stop: int) -> None:
            nonlocal done
            while done < stop and (turn := next(turns, None)) is not None:
                await engine.write(Ask(brief=brief, message=message, seed=1, turn=turn))
                done += 1

        await asyncio.gather(*(work(min(WARM, calls // 2)) for _ in range(FLIGHT)))
        started, cpu, memory, first = time.monotonic(), time.process_time(), _rss(), done
        await asyncio.gather(*(work(calls + WARM) for _ in range(FLIGHT)))
        seconds, cpu, count = time.monotonic() - started, time.process_time() - cpu, done - first
        await engine.close()
    return {
        "calls": count,
        "in_flight": FLIGHT,
        "calls_a_second": round(count / seconds),
        "cpu_us_a_call": round(cpu / count * 1e6),
        "memory_mb": round(memory, 1),
        "memory_growth_mb": round(_rss() - memory, 1),
    }


async def trouble(port: int, tokens: int | None) -> dict[str, Any]:
    """Briefs at once against faults: how each ended, and what the stub counted."""
    before = await _tally(port)
    budget = Budget(tokens=tokens, money=Decimal(100), prices=Prices(tokens_in=Decimal("0.5"), tokens_out=Decimal(2)))
    endpoint = Endpoint(
        f"http://127.0.0.1:{port}/faults/v1",
        Secret("k"),
        budget=budget,
        answer_seconds=3.0,
        in_flight=FLIGHT,
        sleep=_nap,
    )
    engine = OpenAIEngine("", Secret(""), "stub", endpoint=endpoint)
    ended: dict[str, int] = {}

    async def one(number: int) -> None:
        brief = Brief(product="smartwatch", focus="saúde")
        try:
            result = await Writer(engine).write(brief, TEXTS, seed=number)
            how = "texts" if result.accepted else "refused, with reasons" if result.refused else "lost"
        except ArautoError as failure:
            how = f"error: {failure.field}" if failure.field and failure.mend else "lost"
        ended[how] = ended.get(how, 0) + 1

    started = time.monotonic()
    ends = await asyncio.gather(*(one(number) for number in range(BRIEFS)), return_exceptions=True)
    seconds = time.monotonic() - started
    await engine.close()
    after = await _tally(port)
    return {
        "briefs": BRIEFS,
        "seconds": round(seconds, 1),
        "ended": ended,
        "lost": BRIEFS
        - sum(ended.values())
        + ended.get("lost", 0)
        + sum(isinstance(end, BaseException) for end in ends),
        "requests_by_kind": {kind: after[kind] - before.get(kind, 0) for kind in after if kind != "tokens"},
        "tokens_booked": budget.spent_tokens,
        "tokens_by_the_stub": after.get("tokens", 0) - before.get("tokens", 0),
    }


async def _nap(seconds: float) -> None:
    """The pauses, ten times shorter: the bench is about how it ends, not about waiting."""
    await asyncio.sleep(seconds / 10)


async def _tally(port: int) -> dict[str, int]:
    async with httpx.AsyncClient() as client:
        tally: dict[str, int] = (await client.get(f"http://127.0.0.1:{port}/tally")).json()
        return tally


def _rss() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)
