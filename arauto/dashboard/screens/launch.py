"""The last step of a campaign: looked over, launched, pasted into the page, and seen to work there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from arauto.core.errors import InputError
from arauto.dashboard import launch_form
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, Screen, View
from arauto.dashboard.screens.plan import chosen
from arauto.dashboard.words import RefusedError
from arauto.loop import start_release

ORIGIN_MOST = 200


async def values(view: View) -> dict[str, Any]:
    """What is launched, what to paste, and whether a page has shown it."""
    store = view.runtime.store
    campaign, names = await store.catalogue.campaign(view.id), await chosen(store, view.id)
    site = await store.catalogue.site(campaign.site_id)
    forms = await store.forms.get(view.id)
    ready, launch = await _ready(view, names)
    totals = await store.rollups.totals(view.id)
    settings = view.runtime.settings
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "step": "launch",
        "names": names,
        "ready": ready,
        "launch": launch,
        "pending": sorted(set(forms) & {"brief", *(f"text:{name}" for name in names)}),
        "site": site,
        "server": f"http://{settings.host}:{settings.port}",
        "impressions": sum(row.impressions for row in totals),
        "last_ms": await store.rollups.last_decided(view.id),
    }


async def _ready(view: View, names: list[str]) -> tuple[bool, launch_form.Launch | None]:
    store = view.runtime.store
    campaign, forms = await store.catalogue.campaign(view.id), await store.forms.get(view.id)
    form = launch_form.form_of(campaign, forms.get(launch_form.STEP, {}), names)
    try:
        return bool(names), launch_form.read_form(form, campaign, names)
    except InputError:
        return False, None


async def go(deed: Deed) -> Done:
    """Launch. Step by step: the first text is shown to all, and the others are released under their guardrails."""
    store, actor = deed.runtime.store, deed.person.actor
    campaign, names = await store.catalogue.campaign(deed.id), await chosen(store, deed.id)
    forms = await store.forms.get(deed.id)
    if not names:
        raise RefusedError("no_texts", "texts")
    if campaign.state != "draft":
        raise RefusedError("no_draft", "state")
    form = launch_form.form_of(campaign, forms.get(launch_form.STEP, {}), names)
    try:
        launch = launch_form.read_form(form, campaign, names)
    except InputError as fault:
        raise RefusedError("plan", fault.field) from fault
    if launch.release is not None:
        if not deed.person.may("approver"):
            raise RefusedError("ramp_role", "ramp")
        for one in await store.catalogue.variants(deed.id):
            if one.name in launch.release.variants:
                await store.catalogue.set_variant_state(one.id, "retired", actor)
    await store.catalogue.set_campaign_state(deed.id, "live", actor)
    if launch.release is not None:
        await start_release(store, deed.id, launch.release, actor=actor)
    await deed.runtime.reload(deed.id)
    return Done(told="launched")


async def site(deed: Deed) -> Done:
    """Let pages of an address use the site's key."""
    store = deed.runtime.store
    origin = _origin(deed.form.get("origin", ""))
    campaign = await store.catalogue.campaign(deed.id)
    known = await store.catalogue.site(campaign.site_id)
    if origin not in known.origins:
        await store.catalogue.ensure_site(known.name, (*known.origins, origin), actor=deed.person.actor)
        await deed.runtime.reload(deed.id)
    return Done(told="saved")


def _origin(typed: str) -> str:
    """``https://shop.example`` of any address of it."""
    text = typed.strip()[:ORIGIN_MOST]
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise RefusedError("origin", "origin") from None
    plain = host and all(letter.isalnum() or letter in "-.:" for letter in host) and host.isascii()
    if parts.scheme not in ("http", "https") or not plain:
        raise RefusedError("origin", "origin")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


SCREEN = Screen(
    name="launch",
    path=f"{CAMPAIGN}/launch",
    values=values,
    role="editor",
    place="none",
    actions={"go": Action("editor", go), "site": Action("editor", site)},
)
