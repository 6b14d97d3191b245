"""Real logs through the live path: Open Bandit ``men`` and ``women``, five seeds each, against the random policy.

``python -m bench.replay`` writes ``bench/results/replay.json``. The log is never fetched here: ``arauto datasets pull
open-bandit`` does that; without it the result says what is missing.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from arauto.core.i18n import percent
from arauto.core.settings import Settings, load_settings
from arauto.loop import Remote, ReplayResult, load_open_bandit, open_bandit_here, open_bandit_path, replay_log
from arauto.server import Running, running

LOGS: tuple[Literal["men", "women"], ...] = ("men", "women")
SEEDS = range(5)
RESULTS = Path(__file__).parent / "results"


class Outcome(msgspec.Struct, kw_only=True):
    """``repeatable``: the first seed of the first log, replayed once more, gave the same matches and clicks."""

    missing: str = ""
    repeatable: bool | None = None
    runs: list[ReplayResult] = []


async def measure(settings: Settings, server: Running) -> Outcome:
    """Every log with every seed, one after the other, and the first once more."""
    outcome = Outcome(runs=[])
    head = {"Authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=head) as admin:
        site = (await admin.post("/v1/sites", json={"name": "replay"})).raise_for_status().json()
    async with Remote(server.url, key=site["key"], token=server.token) as remote:
        for name in LOGS:
            log = load_open_bandit(name, settings=settings)
            for seed in SEEDS:
                outcome.runs.append(await replay_log(log, remote, seed=seed, slug=f"{name}-{seed}"))
                print(_line(outcome.runs[-1]), flush=True)
        first = outcome.runs[0]
        again = await replay_log(load_open_bandit(LOGS[0], settings=settings), remote, seed=first.seed, slug="again")
        outcome.repeatable = (again.matched, again.clicks) == (first.matched, first.clicks)
    return outcome


def run(settings: Settings) -> Outcome:
    """The whole benchmark, on a server and a database of its own."""
    if not open_bandit_here(settings):
        where = open_bandit_path(settings)
        return Outcome(missing=f"{where} is not there: run `arauto datasets pull open-bandit` (1.4 MB)")
    with (
        tempfile.TemporaryDirectory(prefix="arauto-replay-") as home,
        running(Settings(home=Path(home), port=0, rate_limit=0)) as server,
    ):
        return asyncio.run(measure(settings, server))


def _line(result: ReplayResult) -> str:
    learner, random = (
        f"{percent(one.value, 'en')} ({percent(one.low, 'en')} to {percent(one.high, 'en')})"
        for one in (result.learner, result.random)
    )
    return (
        f"{result.log} seed {result.seed}: learned {learner}, random {random}, "
        f"{result.matched} of {result.rows} rows matched, {result.seconds:.1f} s"
    )


def main() -> int:
    """Run, print and write. 1 when the log is missing or the first run did not repeat."""
    outcome = run(load_settings())
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "replay.json"
    target.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")
    print(outcome.missing or f"same seed, same result: {outcome.repeatable}; written to {target}")
    return int(not outcome.repeatable)


if __name__ == "__main__":
    sys.exit(main())
