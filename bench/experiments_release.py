"""A thousand bad releases, a thousand harmless ones, some on a real server. ``python -m bench.experiments_release``.

The pure machine of `arauto.experiments` on simulated traffic. Looks come every 500 visitors in the thousand releases
(every 25 where the exposures until rollback are measured); in service a look follows every batch of events, and
:func:`live` measures how soon.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.core.events import DecideQuery
from arauto.core.ids import uuid7
from arauto.core.settings import Settings
from arauto.creative import compose_message, read_brief
from arauto.experiments import (
    Guardrail,
    Measured,
    Move,
    Prior,
    Reading,
    ReleasePlan,
    ReleaseState,
    Trials,
    apply_move,
    coin_evidence,
    early_look,
    lift_evidence,
    next_move,
    pair_terms,
    read_guardrails,
    share_of,
    state_after,
)
from arauto.experiments.guardrails import EARLY_STAKE, HARM_SPREAD
from arauto.loop import DecideAnswer, NewRelease, Runtime, read_release, start_release
from bench.experiments_common import finish, upper
from bench.machine import write_result

Floats = NDArray[np.float64]

RAILS = (
    (Guardrail(name="ctr"), 0.10),
    (Guardrail(name="conversion", margin=0.15), 0.03),
    (Guardrail(name="slow", bad="greater", margin=0.15), 0.25),
)
PLAN = ReleasePlan(guardrails=tuple(rail for rail, _ in RAILS))
GAMMA = 1.04


def simulate(effects: Floats, visitors: int, look: int, seed: int) -> dict[str, Any]:
    """Releases side by side; ``effects`` move the click rate. The evidence is computed for all of them in one go."""
    rng = np.random.default_rng(seed)
    runs = effects.size
    states = [ReleaseState() for _ in range(runs)]
    sums = np.zeros((len(RAILS), runs, 2, 12))
    seen = np.zeros((runs, len(PLAN.steps) - 1, 2))
    hits = np.zeros((len(RAILS), *seen.shape))
    exposures, lost = np.zeros(runs), np.zeros(runs)
    ended = np.full(runs, np.nan)
    for step in range(visitors // look):
        shares = np.array([share_of(PLAN, state) for state in states])
        lost += shares * look * np.maximum(0.0, -effects)
        live = np.array([place for place, state in enumerate(states) if state.status == "running"], dtype=int)
        if not live.size:
            continue
        share = shares[live]
        at = np.array([states[place].step for place in live])
        treated = rng.binomial(look, share)
        exposures[live] += treated
        n = np.stack([look - treated, treated], axis=-1).astype(float)
        seen[live, at] += n
        readings: list[list[Reading]] = [[] for _ in live]
        for row, (rail, rate) in enumerate(RAILS):
            moved = rate * (1.0 + effects[live]) if rail.name == "ctr" else np.full(live.size, rate)
            k = np.stack([rng.binomial(look - treated, rate), rng.binomial(treated, moved)], axis=-1).astype(float)
            sums[row, live] += pair_terms(share, n, k, k)
            hits[row, live, at] += k
            _read(rail, sums[row], seen, hits[row], live, states, readings)
        for column, place in enumerate(live):
            move = next_move(PLAN, states[place], readings[column], int(exposures[place]))
            while move.action == "check":
                states[place] = apply_move(states[place], move)
                move = next_move(PLAN, states[place], readings[column], int(exposures[place]))
            states[place] = apply_move(states[place], move)
            if states[place].status != "running":
                ended[place] = (step + 1) * look
    rolled = np.array([state.status == "rolled_back" for state in states])
    return {"rolled": rolled, "lost": lost, "ended": ended, "exposures": exposures, "states": states}


def _read(
    rail: Guardrail,
    sums: Floats,
    seen: Floats,
    hits: Floats,
    live: NDArray[np.int64],
    states: list[ReleaseState],
    readings: list[list[Reading]],
) -> None:
    """What :func:`~arauto.experiments.read_guardrail` reads, for all releases at once."""
    steps = np.array(PLAN.steps[:-1])
    following = np.array([PLAN.steps[min(states[place].step + 1, len(PLAN.steps) - 1)] for place in live])
    tolerances = np.maximum(rail.margin, PLAN.harm_budget / following)
    harm = coin_evidence(Trials(steps, seen[live], hits[live]), rail.bad, Prior(rail.expected, HARM_SPREAD))
    safety = np.zeros(live.size)
    for tolerance in np.unique(tolerances):
        these = tolerances == tolerance
        null = max((-1.0 if rail.bad == "less" else 1.0) * float(tolerance), -0.95)
        side: Literal["greater", "less"] = "greater" if rail.bad == "less" else "less"
        safety[these] = lift_evidence(sums[live][these], null, side=side, prior=Prior(abs(null)))
    for column, place in enumerate(live):
        early = None
        if rail.name not in states[place].checked:
            early = early_look(Trials(steps, seen[place], hits[place]), rail.bad)
        readings[column].append(
            Reading(
                name=rail.name,
                harm=float(harm[column]),
                safety=float(safety[column]),
                tolerance=float(tolerances[column]),
                early=early,
                stake=1.0 - EARLY_STAKE,
            )
        )


def thousand_bad(visitors: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    effects = -np.exp(rng.uniform(math.log(0.02), math.log(0.5), 1000))
    found = simulate(effects, visitors, 500, 2)
    rolled, lost = found["rolled"], found["lost"]
    full = visitors * -effects
    great = effects <= -0.10
    return {
        "releases": 1000,
        "visitors_each": visitors,
        "rolled_back": rolled.mean(),
        "of_10_percent_or_worse": int(great.sum()),
        "rolled_back_of_those": rolled[great].mean(),
        "harm_of_an_immediate_launch_over_ours": full.sum() / lost.sum(),
        "the_same_for_losses_of_2_to_5_percent": full[effects > -0.05].sum() / lost[effects > -0.05].sum(),
    }


def thousand_harmless(visitors: int) -> dict[str, Any]:
    found = simulate(np.zeros(1000), visitors, 500, 3)
    rolled = int(found["rolled"].sum())
    done = np.array([state.status == "done" for state in found["states"]])
    return {
        "releases": 1000,
        "rolled_back": rolled / 1000,
        "upper": upper(rolled, 1000),
        "done": done.mean(),
        "median_visitors_to_everyone": float(np.median(found["ended"][done])),
    }


def exposures_until_rollback(kind: str, base: float, runs: int, seed: int) -> dict[str, Any]:
    """A −30 % conversion, or a +20 % p75 load time, from the first step (1 % of traffic) on; a look every 25 visitors
    of the change."""
    rng = np.random.default_rng(seed)
    taken, seconds = [], []
    rail = (
        Guardrail(name="conversion")
        if kind == "conversion"
        else Guardrail(name="load", kind="quantile", bad="greater", bucket_ratio=GAMMA)
    )
    plan = ReleasePlan(guardrails=(rail,))
    for _ in range(runs):
        sums, counts, exposures, state = np.zeros((2, 12)), np.zeros((1, 2, 300)), 0, ReleaseState()
        seen, hits = np.zeros((1, 2)), np.zeros((1, 2))
        while state.status == "running" and exposures < 20_000:
            n = [2475, 25]
            exposures += 25
            if kind == "conversion":
                k = [rng.binomial(n[0], base), rng.binomial(n[1], 0.7 * base)]
                sums += pair_terms([0.01], [n], [k], [k])[0]
                seen, hits = seen + np.array([n]), hits + np.array([k])
                measured = Measured(sums=sums, trials=Trials(np.array([0.01]), seen, hits))
            else:
                for arm, factor in ((0, 1.0), (1, 1.2)):
                    reading = factor * rng.lognormal(math.log(1200.0), 0.6, n[arm])
                    bucket = np.clip(np.log(reading) / math.log(GAMMA), 0, 299).astype(int)
                    counts[0, arm] += np.bincount(bucket, minlength=300)
                measured = Measured(share=np.array([0.01]), counts=counts)
            began = time.perf_counter()
            move = next_move(plan, state, read_guardrails(plan, state, {rail.name: measured}, bounds=False), exposures)
            seconds.append(time.perf_counter() - began)
            if move.action in ("check", "rollback"):
                state = apply_move(state, move)
        taken.append(exposures)
    return {
        "base": base,
        "runs": runs,
        "median_exposures": float(np.median(taken)),
        "p90_exposures": float(np.quantile(taken, 0.9)),
        "median_seconds_of_a_look": float(np.median(seconds)),
        "p99_seconds_of_a_look": float(np.quantile(seconds, 0.99)),
    }


def knew_it_all(base: float, runs: int, seed: int) -> dict[str, Any]:
    """The same by Wald's sequential test at 5 %, told both rates exactly: no test that may be read at any time and
    keeps counts alone (a mixture of such tests) does better on average."""
    rng = np.random.default_rng(seed)
    gain, loss = math.log(0.7), math.log((1.0 - 0.7 * base) / (1.0 - base))
    path = np.where(rng.random((runs, 20_000)) < 0.7 * base, gain, loss).cumsum(axis=1)
    crossed = path >= math.log(20.0)
    taken = crossed.argmax(axis=1) + 1.0
    return {
        "base": base,
        "runs": runs,
        "never": float(1.0 - crossed.any(axis=1).mean()),
        "median_exposures": float(np.median(taken)),
        "mean_exposures": float(taken.mean()),
    }


def harmless_alone(base: float, runs: int, seed: int) -> dict[str, Any]:
    """One conversion guardrail over a change that does nothing, at 1 % of traffic, a look every 25 of its visitors."""
    rng = np.random.default_rng(seed)
    plan, share = ReleasePlan(guardrails=(Guardrail(name="conversion"),)), np.array([0.01])
    looks = 400
    n = np.cumsum(np.broadcast_to([2475.0, 25.0], (runs, looks, 2)), axis=1)[:, :, None]
    k = np.cumsum(rng.binomial([2475, 25], base, (runs, looks, 2)).astype(float), axis=1)[:, :, None]
    harm = coin_evidence(Trials(share, n, k), "less", Prior(plan.guardrails[0].expected, HARM_SPREAD))
    limit = math.log(1.0 / plan.alpha / (1.0 - EARLY_STAKE))
    wrong = early_wrong = 0
    for run in range(runs):
        looked = (early_look(Trials(share, n[run, at], k[run, at]), "less") for at in range(looks))
        first = next((p for p in looked if p is not None), 1.0)
        early_wrong += first <= plan.alpha * EARLY_STAKE
        wrong += first <= plan.alpha * EARLY_STAKE or bool((harm[run] >= limit).any())
    return {
        "base": base,
        "runs": runs,
        "exposures": looks * 25,
        "rolled_back": wrong / runs,
        "upper": upper(wrong, runs),
        "by_the_early_look": early_wrong / runs,
    }


def crashes(runs: int = 300) -> dict[str, Any]:
    """The pure half of crash safety: a writer dies between deciding, writing and applying, and starts from the log."""
    rng = np.random.default_rng(5)
    differing = 0
    for _ in range(runs):
        log: list[Move] = []
        while True:
            state = state_after(log)
            if state.status != "running":
                break
            harm = 9.0 if rng.random() < 0.05 else 0.0
            readings = [Reading(name=rail.name, harm=harm, safety=9.0, tolerance=0.1) for rail, _ in RAILS]
            move = next_move(PLAN, state, readings, 1000)
            if rng.random() < 0.3:
                continue  # died before writing: nothing happened
            if not any(line.version == move.version for line in log):
                log.append(move)
            if rng.random() < 0.3:
                move = log[-1]  # died after writing, before answering: the same line is written again
                if not any(line.version == move.version for line in log):
                    log.append(move)
            differing += apply_move(state, move) != state_after(log)
            differing += [line.version for line in log] != list(range(1, len(log) + 1))
    return {"runs": runs, "states_that_differ_from_the_log": differing}


async def live(runs: int = 20) -> dict[str, Any]:
    """A real store and runtime: from the acknowledgement of the batch whose evidence crosses until nobody is served
    the change any more. Batches of 40 visitors; 10 % against 30 % click."""
    seconds, exposures = [], []
    brief = read_brief({"product": "watch"})
    with tempfile.TemporaryDirectory(prefix="arauto-") as folder:
        runtime = await Runtime.open(Settings(home=Path(folder)))
        try:
            site = await runtime.store.catalogue.ensure_site("shop", [])
            for run in range(runs):
                made = await runtime.store.catalogue.create_campaign(
                    site.id, f"c{run}", "c", brief, compose_message(brief), CampaignPlan(allocation="uniform"), "bench"
                )
                old = Copy(title="old", description="d", image_suggestion="i")
                await runtime.store.catalogue.add_kit(made.id, [(old, Origin(engine="given"))], {}, "bench")
                await runtime.store.catalogue.set_campaign_state(made.id, "live", "bench")
                plan = NewRelease(
                    copies=(Copy(title="new", description="d", image_suggestion="i"),),
                    steps=(0.25, 1.0),
                    guardrails=(Guardrail(name="ctr"),),
                )
                release = await start_release(runtime.store, made.id, plan, actor="bench")
                await runtime.reload(made.id)
                rng = np.random.default_rng(run)
                while True:
                    await runtime.ingest(_batch(runtime, site.key, f"c{run}", rng))
                    began = time.perf_counter()
                    shown = await read_release(runtime.store, release.id)
                    if shown.status == "running" and shown.readings[0].harm < math.log(1.0 / shown.plan.alpha):
                        continue
                    while _served(runtime, site.key, f"c{run}"):  # noqa: ASYNC110
                        await asyncio.sleep(0.002)
                    seconds.append(time.perf_counter() - began)
                    exposures.append(shown.exposures)
                    break
        finally:
            await runtime.close()
    return {
        "runs": runs,
        "median_seconds_to_action": float(np.median(seconds)),
        "greatest_seconds_to_action": float(np.max(seconds)),
        "median_exposures": float(np.median(exposures)),
    }


def _ask(runtime: Runtime, key: str, slug: str) -> DecideAnswer:
    return msgspec.json.decode(runtime.decide(DecideQuery(key=key, campaign=slug)), type=DecideAnswer)


def _served(runtime: Runtime, key: str, slug: str) -> bool:
    return any(_ask(runtime, key, slug).copy.title == "new" for _ in range(50))


def _batch(runtime: Runtime, key: str, slug: str, rng: np.random.Generator) -> bytes:
    events = []
    for _ in range(40):
        answer = _ask(runtime, key, slug)
        kinds = ["impression"] + ["click"] * int(rng.random() < (0.1 if answer.copy.title == "new" else 0.3))
        now = runtime.clock.now_ms()
        events += [{"type": kind, "id": str(uuid7(now)), "at": now, "receipt": answer.receipt} for kind in kinds]
    return msgspec.json.encode({"key": key, "events": events})


def main() -> dict[str, Any]:
    started = time.process_time()
    visitors = 600_000
    figures: dict[str, Any] = {
        "bad": thousand_bad(visitors),
        "harmless": thousand_harmless(visitors),
        "conversion −30 %": [exposures_until_rollback("conversion", base, 400, 4) for base in (0.10, 0.05)],
        "conversion −30 %, a test that knew it all": [knew_it_all(base, 2000, 6) for base in (0.10, 0.05)],
        "no effect on conversion": [harmless_alone(base, 2000, 7) for base in (0.10, 0.05)],
        "p75 load time +20 %": exposures_until_rollback("load", 0.25, 100, 4),
        "crashes (pure part)": crashes(),
        "live": asyncio.run(live()),
    }
    rails = [row["median_exposures"] for row in (*figures["conversion −30 %"], figures["p75 load time +20 %"])]
    passed = (
        figures["bad"]["harm_of_an_immediate_launch_over_ours"] >= 5.0
        and figures["bad"]["rolled_back_of_those"] >= 0.99
        and figures["harmless"]["rolled_back"] <= 0.05
        and all(row["rolled_back"] <= 0.05 for row in figures["no effect on conversion"])
        and max(rails) <= 1000
        and figures["crashes (pure part)"]["states_that_differ_from_the_log"] == 0
        and figures["live"]["greatest_seconds_to_action"] < 1.0
    )
    return finish(figures, started, passed=bool(passed))


if __name__ == "__main__":
    write_result("experiments_release", main())
