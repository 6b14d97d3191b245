"""The first step of a campaign: its brief, each field checked as it is typed."""

from __future__ import annotations

import asyncio
from typing import Any

from arauto.core.brief import Brief
from arauto.core.errors import BriefError
from arauto.core.kit import Finding
from arauto.dashboard.brief_form import FIELDS, GROUPS, form_of, read_form
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, Screen, View
from arauto.dashboard.words import RefusedError
from arauto.loop import brief_findings, change_brief, write_at_once

STEP = "brief"
FIRST_TEXTS = 4


async def values(view: View) -> dict[str, Any]:
    """The form as it was left, with every fault beside its field."""
    campaign = await view.runtime.store.catalogue.campaign(view.id)
    forms = await view.runtime.store.forms.get(view.id)
    form = form_of(campaign.brief) | forms.get(STEP, {})
    brief, faults = read_form(form, campaign.brief)
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "step": STEP,
        "groups": GROUPS,
        "form": form,
        "faults": faults,
        "findings": await asyncio.to_thread(_beside, brief) if brief else {},
    }


def _beside(brief: Brief) -> dict[str, list[Finding]]:
    """What the rules say of the brief itself, by the field it is shown beside."""
    beside: dict[str, list[Finding]] = {}
    for finding in brief_findings(brief):
        name = {"age_range": "age_low"}.get(path := finding.field.removeprefix("brief."), path)
        beside.setdefault(name if name in FIELDS else "product", []).append(finding)
    return beside


async def keep(deed: Deed) -> Done:
    """Keep what was typed."""
    await deed.runtime.store.forms.keep(deed.id, STEP, _typed(deed))
    return Done()


async def apply(deed: Deed) -> Done:
    """Make it the campaign's brief; the first time, the first texts are written at once."""
    store, actor = deed.runtime.store, deed.person.actor
    typed = _typed(deed)
    await store.forms.keep(deed.id, STEP, typed)
    campaign = await store.catalogue.campaign(deed.id)
    brief, faults = await asyncio.to_thread(read_form, form_of(campaign.brief) | typed, campaign.brief)
    if brief is None or faults:
        raise RefusedError("brief", next(iter(faults)), n=len(faults))
    try:
        campaign = await change_brief(store, deed.id, brief, actor=actor)
    except BriefError as fault:
        raise RefusedError("brief", fault.field, n=1) from fault
    await store.forms.drop(deed.id, STEP)
    if not await store.catalogue.variants(deed.id):
        await write_at_once(store, campaign, FIRST_TEXTS, actor=actor)
    return Done(to=f"{CAMPAIGN.replace('{id:int}', str(deed.id))}/texts")


def _typed(deed: Deed) -> dict[str, str]:
    return {name: value for name, value in deed.form.items() if name in FIELDS}


SCREEN = Screen(
    name="brief",
    path=f"{CAMPAIGN}/brief",
    values=values,
    role="editor",
    place="none",
    live=False,
    actions={"keep": Action("editor", keep), "apply": Action("editor", apply)},
)
