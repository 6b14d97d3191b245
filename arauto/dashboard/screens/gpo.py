"""GPO: begin a turn, watch its monitors, compare texts before and after, make one of them a candidate for release."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from arauto.core.campaign import Copy
from arauto.core.door import from_data
from arauto.core.errors import ConflictError, InputError
from arauto.creative import has_errors
from arauto.dashboard.figures import Figure, figure
from arauto.dashboard.plots import Line, line_chart
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, File, Screen, View, csv_file
from arauto.dashboard.screens.texts import MOST, PARTS, job_of
from arauto.dashboard.words import NONE, RefusedError, Words
from arauto.gpo import LEAST_PAIRS, GateReport
from arauto.loop import NewTurn, Turn, add_copies, can_train, feedback_files, findings_of, read_turns, turn_later

CANDIDATE = "text:candidate"
_NONE = "no campaign has shown two texts yet"
_FEW = re.compile(r"holds (\d+) tests with two different arms\D*(\d+)")
ITERATIONS, BATCHES = (2, 8, 16, 32, 64), (8, 32, 64, 128)
TURNS = 10
Series = Sequence[tuple[str, Sequence[float | None]]]


async def values(view: View) -> dict[str, Any]:
    """The turn that the address names, or the last one; and the candidate being made of one of its texts."""
    store, settings = view.runtime.store, view.runtime.settings
    campaign = await store.catalogue.campaign(view.id)
    forms = await store.forms.get(view.id)
    turns = (await asyncio.to_thread(read_turns, settings, view.id))[:TURNS]
    asked = view.query.get("run", "")
    turn = next((one for one in turns if one.run == asked), turns[0] if turns else None)
    job = await job_of(store, forms, "gpo")
    if job is not None and job.state == "failed" and turns and turn is turns[0] and _shut(turn):
        # The reasons stand below, in the reader's language.
        job = msgspec.structs.replace(job, error=view.words("gpo_gate_shut"))
    elif job is not None and (few := _FEW.search(job.error)):
        told = view.words("gpo_few_tests", n=view.words.number(int(few[1])), least=few[2])
        job = msgspec.structs.replace(job, error=told)
    elif job is not None and _NONE in job.error:
        job = msgspec.structs.replace(job, error=view.words("gpo_no_tests"))
    fresh = forms.get(CANDIDATE, {})
    variants = await store.catalogue.variants(view.id)
    copy = Copy(**{part: fresh.get(part, "") for part in PARTS})
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "can": can_train(),
        "files": feedback_files(settings),
        "iterations": ITERATIONS,
        "batches": BATCHES,
        "job": job,
        "turns": turns,
        "turn": turn,
        "reasons": [] if turn is None or turn.gate is None else _reasons(turn.gate, view.words),
        "figures": [] if turn is None else await asyncio.to_thread(_figures, turn, view.words),
        "fresh": fresh,
        "most": MOST,
        "findings": await findings_of(campaign, copy, [one.copy for one in variants]) if fresh else (),
        "staged": [one for one in variants if one.state == "staged"],
    }


def _shut(turn: Turn) -> bool:
    return turn.gate is not None and not turn.gate.passed


def _reasons(report: GateReport, words: Words) -> list[str]:
    """Why the gate is shut, in the reader's language."""
    whole, gate = report.whole, report.gate
    told = {
        "pairs": {"n": words.number(whole.pairs), "least": words.number(LEAST_PAIRS)},
        "accuracy": {"value": words.percent(whole.accuracy.value, 1), "least": words.percent(gate.accuracy, 1)},
        "chance": {"value": words.percent(whole.accuracy.low, 1)},
        "clear": {
            "value": words.percent(whole.significant_accuracy.value, 1),
            "least": words.percent(gate.significant_accuracy, 1),
        },
        "calibration": {
            "value": words.number(whole.calibration_error, 3),
            "most": words.number(gate.calibration_error, 3),
        },
    }
    # A report of an earlier version has its sentences only.
    return [words(f"gpo_short_{name}", **told[name]) for name in report.short] or report.reasons


def _figures(turn: Turn, words: Words) -> list[Figure]:
    """The monitors, over the iterations."""
    seen = turn.readings
    if not seen:
        return []
    truth = [sum(gold for _, gold in one.audits) / len(one.audits) if one.audits else None for one in seen]
    shown: list[tuple[str, Series, int]] = [
        ("gpo_reward", [(words("gpo_proxy"), [one.reward for one in seen]), (words("gpo_gold"), truth)], 3),
        ("gpo_kl", [("KL", [one.kl for one in seen])], 2),
        ("gpo_clip", [(words("gpo_clip"), [one.clip_fraction for one in seen])], 4),
        ("gpo_entropy", [(words("gpo_entropy"), [one.entropy for one in seen])], 2),
        ("gpo_diversity", [(words("gpo_diversity"), [one.diversity for one in seen])], 2),
        ("gpo_violations", [(words("gpo_violations"), [one.violations for one in seen])], 3),
    ]
    return [_figure(key, series, decimals, words) for key, series, decimals in shown]


def _figure(key: str, series: Series, decimals: int, words: Words) -> Figure:
    title = words(f"{key}_title")
    known = [value for _, values_ in series for value in values_ if value is not None]
    if span := max(known, default=0.0) - min(known, default=0.0):
        # As many places as it takes to tell the ticks apart.
        decimals = max(decimals, min(6, math.ceil(-math.log10(span / 4))))
    # At the end of a line there is room for a number; the legend says whose it is.
    lines = [
        Line(name=str(hue + 1) if len(series) > 1 else "", hue=hue, values=known)
        for hue, (_, known) in enumerate(series)
    ]
    moments = [place * 1000 for place in range(len(series[0][1]))]
    # A single iteration is drawn as a line of two equal ends.
    if len(moments) == 1:
        moments, lines = [0, 1000], [msgspec.structs.replace(one, values=[*one.values, *one.values]) for one in lines]

    def text(value: float | None) -> str:
        return NONE if value is None else words.number(value, decimals)

    told = "; ".join(f"{name}: {text(known[0])} → {text(known[-1])}" for name, known in series)
    draw: Callable[[int], str] = lambda width: line_chart(  # noqa: E731
        lines, moments, width=width, title=title, words=told, tick=text, elapsed=lambda at: words.number(at)
    )
    return figure(
        draw,
        title=title,
        head=[words("gpo_iteration"), *(name for name, _ in series)],
        rows=[[place, *(text(known[place]) for _, known in series)] for place in range(len(series[0][1]))],
        keys=[(f"{hue + 1} {name}", hue) for hue, (name, _) in enumerate(series)] if len(series) > 1 else (),
        under=words("gpo_iteration"),
        file="readings.csv",
    )


async def readings(view: View) -> File:
    """The readings of a turn, a line an iteration."""
    turns = await asyncio.to_thread(read_turns, view.runtime.settings, view.id)
    asked = view.query.get("run", "")
    turn = next((one for one in turns if one.run == asked), turns[0] if turns else None)
    names = (
        "iteration", "reward", "reward_error", "kl", "beta", "clip_fraction", "entropy", "length", "diversity",
        "value_loss", "disagreement", "violations",
    )  # fmt: skip
    lines = [[getattr(one, name) for name in names] for one in (turn.readings if turn else ())]
    return csv_file("readings.csv", names, lines)


async def start(deed: Deed) -> Done:
    """Begin a turn in the background."""
    form = deed.form
    data = {name: form.get(name, "") for name in ("iterations", "batch")} | {"data": form.get("data", "own")}
    try:
        asked = from_data(data, NewTurn, strict=False)
    except InputError as fault:
        raise RefusedError("turn", fault.field) from fault
    if not can_train():
        raise RefusedError("train_extra", "train")
    await turn_later(deed.runtime.store, deed.runtime.settings, deed.id, asked, actor=deed.person.actor)
    return Done(told="turn")


async def cancel(deed: Deed) -> Done:
    """End the turn that waits or runs; what it made so far stays."""
    store = deed.runtime.store
    job = await job_of(store, await store.forms.get(deed.id), "gpo")
    try:
        if job is None:
            raise RefusedError("no_turn", "turn")
        await store.jobs.cancel(job.id)
    except ConflictError as fault:
        raise RefusedError("no_turn", "turn") from fault
    await store.catalogue.audit(deed.person.actor, "job.cancel", f"job:{job.id}", {"name": job.name})
    return Done(told="turn_cancelled")


async def take(deed: Deed) -> Done:
    """Begin a candidate of a text that the optimised generator wrote; the rest comes from a text that is shown."""
    store, form = deed.runtime.store, deed.form
    turns = await asyncio.to_thread(read_turns, deed.runtime.settings, deed.id)
    turn = next((one for one in turns if one.run == form.get("run", "")), None)
    place = form.get("sample", "")
    if turn is None or not place.isdigit() or len(place) > 3 or int(place) >= len(turn.samples):
        raise RefusedError("sample", "sample")
    shown = next((one.copy for one in await store.catalogue.variants(deed.id) if one.state == "live"), None)
    await store.forms.keep(
        deed.id,
        CANDIDATE,
        {
            "title": turn.samples[int(place)].after.strip(),
            "description": shown.description if shown else "",
            "image_suggestion": shown.image_suggestion if shown else "",
        },
    )
    return Done(told="taken")


async def keep(deed: Deed) -> Done:
    """Keep an edit of the candidate as it is typed."""
    await deed.runtime.store.forms.keep(deed.id, CANDIDATE, _typed(deed))
    return Done()


async def stage(deed: Deed) -> Done:
    """Stage the candidate, if no rule is broken: shown to nobody until an approver releases it."""
    store = deed.runtime.store
    await keep(deed)
    campaign = await store.catalogue.campaign(deed.id)
    copy = Copy(**_typed(deed))
    found = await findings_of(campaign, copy, [one.copy for one in await store.catalogue.variants(deed.id)])
    if has_errors(found):
        raise RefusedError("text_rules", "title", n=sum(one.severity == "error" for one in found))
    await add_copies(store, campaign, [copy], actor=deed.person.actor, state="staged")
    await store.forms.drop(deed.id, CANDIDATE)
    await deed.runtime.reload(deed.id)
    return Done(told="staged")


def _typed(deed: Deed) -> dict[str, str]:
    return {part: deed.form.get(part, "").strip()[: MOST[part]] for part in PARTS}


SCREEN = Screen(
    name="gpo",
    path=f"{CAMPAIGN}/gpo",
    values=values,
    place="campaign",
    query=("run",),
    files={"readings.csv": readings},
    actions={
        "start": Action("editor", start),
        "cancel": Action("editor", cancel),
        "take": Action("editor", take),
        "keep": Action("editor", keep),
        "stage": Action("editor", stage),
    },
)
