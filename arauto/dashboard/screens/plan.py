"""The third step of a campaign: how the traffic is dealt out, and how the texts come in."""

from __future__ import annotations

from typing import Any

from arauto.core.errors import InputError
from arauto.dashboard import launch_form
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, Screen, View
from arauto.dashboard.words import RefusedError
from arauto.loop import change_plan
from arauto.store import Store

NAMES = ("allocation", "assignment", "holdout", "attribution", "cpm", "ramp", "baseline", "steps", "budget", "rails")


async def values(view: View) -> dict[str, Any]:
    """The form as it was left, and the fault in it."""
    store = view.runtime.store
    campaign, names = await store.catalogue.campaign(view.id), await chosen(store, view.id)
    forms = await store.forms.get(view.id)
    form = launch_form.form_of(campaign, forms.get(launch_form.STEP, {}), names)
    fault = None
    try:
        launch_form.read_form(form, campaign, names)
    except InputError as found:
        fault = found
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "step": "plan",
        "form": form,
        "fault": fault,
        "names": names,
        "titles": {one.name: one.copy.title for one in await store.catalogue.variants(view.id)},
        "allocations": launch_form.ALLOCATIONS,
        "assignments": launch_form.ASSIGNMENTS,
        "ramps": launch_form.RAMPS,
        "rails": launch_form.RAILS,
    }


async def chosen(store: Store, campaign_id: int) -> list[str]:
    """The texts that are to be shown, by name."""
    return [one.name for one in await store.catalogue.variants(campaign_id) if one.state != "retired"]


async def keep(deed: Deed) -> Done:
    """Keep what was typed."""
    await deed.runtime.store.forms.keep(deed.id, launch_form.STEP, _typed(deed))
    return Done()


async def apply(deed: Deed) -> Done:
    """Make it the campaign's plan. How the texts come in is kept for the launch."""
    store = deed.runtime.store
    await keep(deed)
    campaign, names = await store.catalogue.campaign(deed.id), await chosen(store, deed.id)
    try:
        launch = launch_form.read_form(launch_form.form_of(campaign, _typed(deed), names), campaign, names)
    except InputError as fault:
        raise RefusedError("plan", fault.field) from fault
    await change_plan(store, deed.id, launch.plan, actor=deed.person.actor)
    return Done(to=f"{CAMPAIGN.replace('{id:int}', str(deed.id))}/launch")


def _typed(deed: Deed) -> dict[str, str]:
    return {name: deed.form.get(name, "")[:400] for name in NAMES if name in deed.form or name == "rails"}


SCREEN = Screen(
    name="plan",
    path=f"{CAMPAIGN}/plan",
    values=values,
    role="editor",
    place="none",
    live=False,
    actions={"keep": Action("editor", keep), "apply": Action("editor", apply)},
)
