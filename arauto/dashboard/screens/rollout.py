"""A release: its steps, each guardrail's evidence against its boundary, what a person may do, and every move."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from arauto.core.clock import to_datetime
from arauto.core.errors import InputError
from arauto.dashboard import charts
from arauto.dashboard.figures import Figure, figure
from arauto.dashboard.plots import Evidence, evidence_chart
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, File, Screen, View, csv_file
from arauto.dashboard.words import NONE, RefusedError, Words
from arauto.loop import NewRelease, Release, list_releases, start_release, steer_release

STEPS = {
    "careful": (0.01, 0.05, 0.10, 0.25, 0.50, 1.0),
    "quick": (0.10, 0.50, 1.0),
}
"""The ramps that the form offers."""


async def values(view: View) -> dict[str, Any]:
    """The last release whole, and those before by a line."""
    store, words = view.runtime.store, view.words
    campaign = await store.catalogue.campaign(view.id)
    releases = await list_releases(store, view.id)
    variants = await store.catalogue.variants(view.id)
    last = releases[-1] if releases else None
    open_ = last is not None and last.status in ("running", "held")
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "last": last,
        "open": open_,
        "steps": [] if last is None else _steps(last, words),
        "evidence": None if last is None or not open_ else await asyncio.to_thread(_evidence, last, words),
        "effects": None if last is None else await asyncio.to_thread(_effects, last, words),
        "readings": [] if last is None else [_reading(last, place, words) for place in range(len(last.readings))],
        "before": releases[-2::-1] if releases else [],
        "candidates": [] if open_ else [variant for variant in variants if variant.state != "live"],
        "ramps": {name: ", ".join(words.percent(step, 0) for step in steps) for name, steps in STEPS.items()},
    }


def _steps(release: Release, words: Words) -> list[tuple[str, str]]:
    """Each step's share, and whether it is past, now or to come."""
    rolled = release.status == "rolled_back"
    told = []
    for share in release.plan.steps:
        if rolled:
            kind = "off"
        elif share == release.share:
            kind = "now"
        else:
            kind = "past" if share < release.share or release.status == "done" else "coming"
        told.append((words.percent(share, 0), kind))
    return told


def _evidence(release: Release, words: Words) -> Figure:
    safe = -math.log(release.plan.alpha)
    harmful = math.log(len(release.plan.guardrails) / release.plan.alpha)
    rows = []
    for reading in release.readings:
        name = _rail(reading.name, words)
        safety, harm = reading.safety / safe, reading.harm / (harmful - math.log(reading.stake))
        shares = {"safety": words.percent(max(0.0, safety), 0), "harm": words.percent(max(0.0, harm), 0)}
        text = words("evidence_words", name=name, **shares)
        rows.append(Evidence(name=name, safety=safety, harm=harm, text=text))
    title = words("evidence")
    return figure(
        lambda width: evidence_chart(
            rows,
            width=width,
            title=title,
            words="; ".join(row.text for row in rows),
            safe=words("evidence_safe"),
            harmful=words("evidence_harm"),
        ),
        title=title,
        head=(words("guardrail"), words("evidence_safe"), words("evidence_harm")),
        rows=[(row.name, words.percent(max(0.0, row.safety), 0), words.percent(max(0.0, row.harm), 0)) for row in rows],
        under=words("evidence_axis"),
        file="guardrails.csv",
    )


def _effects(release: Release, words: Words) -> Figure | None:
    """What each guardrail measures of the change, on its interval, beside zero."""
    ceilings = {rail.name for rail in release.plan.guardrails if rail.kind == "ceiling"}
    drawn = [
        charts.Arm(
            name=_rail(one.name, words),
            hue=place,
            value=one.change,
            low=one.low,
            high=one.high,
            text=words.signed(one.change),
        )
        for place, one in enumerate(release.readings)
        if one.name not in ceilings and one.change is not None and one.low is not None and one.high is not None
    ]
    if not drawn:
        return None
    title = words("effects")
    reach = max(0.02, min(1.5, 1.2 * max(max(abs(arm.low), abs(arm.high)) for arm in drawn)))
    return figure(
        lambda width: charts.interval_chart(
            drawn,
            width=width,
            least=-reach,
            most=reach,
            tick=lambda at: words.signed(at, 0 if reach > 0.1 else 1),
            title=title,
            words="; ".join(f"{arm.name}: {arm.text}" for arm in drawn),
            zero=True,
        ),
        title=title,
        head=(words("guardrail"), words("change"), words("low"), words("high")),
        rows=[(arm.name, arm.text, words.signed(arm.low), words.signed(arm.high)) for arm in drawn],
        file="guardrails.csv",
    )


def _rail(name: str, words: Words) -> str:
    """A guardrail's name in the reader's language; of one's own metric, as it was given."""
    return words(f"rail_{name}") if words.has(f"rail_{name}") else name


def _reading(release: Release, place: int, words: Words) -> dict[str, Any]:
    one, rail = release.readings[place], release.plan.guardrails[place]
    # A ceiling is held against the plain rate; the others against the control.
    ceiling = rail.kind == "ceiling"
    write = words.percent if ceiling else words.signed
    between = "" if one.change is None else words("unbounded")
    if one.low is not None and one.high is not None:
        between = words("between", low=write(one.low), high=write(one.high))
    return {
        "name": one.name,
        "told": _rail(one.name, words),
        "kind": words(f"rail_{rail.kind}"),
        "bad": words(f"bad_{rail.bad}"),
        "change": NONE if one.change is None else write(one.change),
        "between": between,
        "tolerance": words("at_most", value=words.percent(rail.ceiling, 0))
        if ceiling
        else words.percent(one.tolerance, 0),
    }


async def guardrails(view: View) -> File:
    """The last release's guardrails as raw numbers."""
    releases = await list_releases(view.runtime.store, view.id)
    head = ("release", "guardrail", "change", "low", "high", "harm", "safety", "tolerance")
    lines = [
        [releases[-1].id, one.name, one.change, one.low, one.high, one.harm, one.safety, one.tolerance]
        for one in (releases[-1].readings if releases else ())
    ]
    return csv_file("guardrails.csv", head, [["" if cell is None else cell for cell in line] for line in lines])


async def moves(view: View) -> File:
    """Every move of every release."""
    head = ("release", "at", "actor", "action", "cause", "from_share", "to_share", "exposures", "guardrail", "text")
    lines = [
        [
            release.id,
            to_datetime(line.at_ms).isoformat(),
            line.move.actor,
            line.move.action,
            line.move.cause,
            line.move.from_share,
            line.move.to_share,
            line.move.exposures,
            line.move.guardrail,
            line.text[view.language],
        ]
        for release in await list_releases(view.runtime.store, view.id)
        for line in release.moves
    ]
    return csv_file("moves.csv", head, lines)


async def start(deed: Deed) -> Done:
    """Release variants that are not live yet, step by step."""
    chosen = tuple(deed.form.get("variants", "").split())
    if not chosen:
        raise RefusedError("nothing_to_release", "variants")
    if deed.form.get("ramp") not in STEPS:
        raise InputError("is no ramp", field="ramp", mend=f"choose {' or '.join(STEPS)}")
    new = NewRelease(variants=chosen, steps=STEPS[deed.form["ramp"]])
    await start_release(deed.runtime.store, deed.id, new, actor=deed.person.actor)
    await deed.runtime.reload(deed.id)
    return Done(told="release_started")


def _steer(action: Any) -> Action:
    async def do(deed: Deed) -> Done:
        told = deed.form.get("release", "")
        if not told.isdigit() or len(told) > 9:
            raise RefusedError("no_release", "release")
        steered = await steer_release(deed.runtime.store, int(told), action, actor=deed.person.actor)
        await deed.runtime.reload(steered.campaign_id)
        return Done(told=f"release_{action}")

    return Action("approver", do)


SCREEN = Screen(
    name="rollout",
    path=f"{CAMPAIGN}/rollout",
    values=values,
    place="campaign",
    files={"guardrails.csv": guardrails, "moves.csv": moves},
    actions={
        "start": Action("approver", start),
        "hold": _steer("hold"),
        "resume": _steer("resume"),
        "rollback": _steer("rollback"),
    },
)
