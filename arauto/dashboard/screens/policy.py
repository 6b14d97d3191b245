"""What the rules find in a campaign's texts and kit, rule by rule, and what somebody lets stand, and why."""

from __future__ import annotations

import asyncio
from typing import Any

from arauto.core.errors import InputError
from arauto.core.kit import Finding
from arauto.creative import rules
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, File, Screen, View, csv_file
from arauto.dashboard.screens.gallery import kit_of
from arauto.dashboard.words import RefusedError
from arauto.loop import brief_findings, findings_of, unwaive, waive_finding

REASON_LEAST = 8
SHOWN_EACH = 50


async def values(view: View) -> dict[str, Any]:
    """The findings by rule, the gravest first."""
    campaign = await view.runtime.store.catalogue.campaign(view.id)
    kit, _ = await kit_of(view)
    found, kit_there = await _found(view), kit is not None
    by_rule: dict[str, list[Finding]] = {}
    for one in found:
        by_rule.setdefault(one.rule, []).append(one)
    rows = sorted(by_rule.items(), key=lambda row: (all(one.waived_by for one in row[1]), row[1][0].severity, row[0]))
    return {
        "heading": campaign.name,
        "rows": [_row(rule, each, kit_there) for rule, each in rows],
        "most": SHOWN_EACH,
        "kit_there": kit_there,
        "waivers": kit[2] if kit else [],
        "errors": sum(one.severity == "error" and not one.waived_by for one in found),
        "warnings": sum(one.severity == "warn" and not one.waived_by for one in found),
        "waived": sum(bool(one.waived_by) for one in found),
    }


def _row(rule: str, found: list[Finding], kit_there: bool) -> dict[str, Any]:
    """A rule and where it was broken. What stands in the kit can be waived; a text is mended instead."""
    waivable = kit_there and any(not one.place.startswith("text ") for one in found)
    return {"rule": rule, "found": found, "source": _source(found[0]), "waivable": waivable}


async def _found(view: View) -> list[Finding]:
    """What the rules say of the brief, of the texts shown (``place`` is the variant's) and of the kit."""
    store = view.runtime.store
    campaign = await store.catalogue.campaign(view.id)
    found = await asyncio.to_thread(brief_findings, campaign.brief)
    for variant in await store.catalogue.variants(view.id):
        if variant.state != "retired":
            found += [_placed(one, f"text {variant.name}") for one in await findings_of(campaign, variant.copy)]
    kit, _ = await kit_of(view)
    return [*found, *(kit[1] if kit else ())]


def _placed(finding: Finding, place: str) -> Finding:
    return Finding(
        rule=finding.rule,
        severity=finding.severity,
        field=finding.field,
        problem=finding.problem,
        mend=finding.mend,
        place=place,
    )


def _source(finding: Finding) -> str:
    rule = rules().get(finding.rule)
    return finding.source or (f"{rule.source}; {rule.date}" if rule else "")


async def table(view: View) -> File:
    """Every finding, a line each."""
    found = await _found(view)
    lines = [
        [one.rule, one.severity, one.place, one.field, one.problem, one.mend, one.waived_by, one.reason]
        for one in found
    ]
    return csv_file(
        "policy.csv", ("rule", "severity", "place", "field", "problem", "mend", "waived_by", "reason"), lines
    )


async def waive(deed: Deed) -> Done:
    """Let the kit's findings of a rule stand; under one's own name."""
    reason = deed.form.get("reason", "").strip()
    if len(reason) < REASON_LEAST:
        raise RefusedError("reason", "reason", n=REASON_LEAST)
    runtime = deed.runtime
    try:
        await waive_finding(
            runtime.store,
            runtime.settings,
            deed.id,
            rule=deed.form.get("rule", ""),
            place=deed.form.get("place", ""),
            name=deed.person.name,
            reason=reason,
            actor=deed.person.actor,
        )
    except InputError as fault:
        raise RefusedError("waiver", fault.field) from fault
    return Done(told="saved")


async def drop(deed: Deed) -> Done:
    """Take a waiver back."""
    runtime, form = deed.runtime, deed.form
    rule, place = form.get("rule", ""), form.get("place", "")
    await unwaive(runtime.store, runtime.settings, deed.id, rule, place, actor=deed.person.actor)
    return Done(told="saved")


SCREEN = Screen(
    name="policy",
    path=f"{CAMPAIGN}/policy",
    values=values,
    place="campaign",
    live=False,
    files={"policy.csv": table},
    actions={"waive": Action("approver", waive), "drop": Action("approver", drop)},
)
