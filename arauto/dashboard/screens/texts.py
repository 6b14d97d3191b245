"""The second step of a campaign: its texts, seen, edited and chosen; each edit kept to the same rules."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

from arauto.core.campaign import Campaign, Copy, Variant
from arauto.core.errors import NotFoundError
from arauto.core.kit import Medium
from arauto.creative import has_errors
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, Screen, View
from arauto.dashboard.words import RefusedError
from arauto.loop import (
    add_copies,
    change_text,
    findings_of,
    make_kit_later,
    write_at_once,
    write_later,
)
from arauto.store import JobStatus, Store

PARTS = ("title", "description", "image_suggestion")
MOST = {"title": 200, "description": 2000, "image_suggestion": 1000}
NEW = "new"
AMOUNTS = (2, 4, 8)
MEDIA: tuple[Medium, ...] = get_args(Medium)


async def values(view: View) -> dict[str, Any]:
    """Every text as it stands, or as it is being edited, and what the checks say of it; the job that writes more."""
    store = view.runtime.store
    campaign = await store.catalogue.campaign(view.id)
    variants, forms = await store.catalogue.variants(view.id), await store.forms.get(view.id)
    cards = await asyncio.gather(*(_card(campaign, one, variants, forms) for one in variants))
    fresh = forms.get(f"text:{NEW}", {})
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "step": "texts",
        "cards": cards,
        "chosen": sum(one.state != "retired" for one in variants),
        "fresh": fresh,
        "fresh_findings": await _findings(campaign, fresh, [one.copy for one in variants])
        if any(fresh.values())
        else (),
        "most": MOST,
        "amounts": AMOUNTS,
        "media": MEDIA,
        "writing": await job_of(store, forms, "write"),
        "kit": await job_of(store, forms, "kit"),
    }


async def job_of(store: Store, forms: dict[str, dict[str, str]], step: str) -> JobStatus | None:
    """The background job that a campaign's form remembers; None: none was begun."""
    number = forms.get(step, {}).get("job", "")
    try:
        return await store.jobs.get(int(number)) if number else None
    except NotFoundError:
        return None


async def _card(
    campaign: Campaign, variant: Variant, variants: list[Variant], forms: dict[str, dict[str, str]]
) -> dict[str, Any]:
    stored = {part: getattr(variant.copy, part) for part in PARTS}
    shown = stored | forms.get(f"text:{variant.name}", {})
    others = [one.copy for one in variants if one.id != variant.id and one.state != "retired"]
    return {
        "variant": variant,
        "shown": shown,
        "edited": shown != stored,
        "findings": await _findings(campaign, shown, others),
    }


async def _findings(campaign: Campaign, shown: dict[str, str], others: list[Copy]) -> Any:
    return await findings_of(campaign, Copy(**{part: shown.get(part, "") for part in PARTS}), others)


async def keep(deed: Deed) -> Done:
    """Keep an edit as it is typed."""
    name = deed.form.get("variant", "")
    known = {one.name for one in await deed.runtime.store.catalogue.variants(deed.id)}
    if name not in (*known, NEW):
        raise NotFoundError(f"has no variant {name!r}", field="variant", mend="list the variants")
    await deed.runtime.store.forms.keep(deed.id, f"text:{name}", _typed(deed))
    return Done()


async def save(deed: Deed) -> Done:
    """Make an edit, or a text of one's own, the campaign's: if no rule is broken."""
    store, name = deed.runtime.store, deed.form.get("variant", "")
    await keep(deed)
    campaign = await store.catalogue.campaign(deed.id)
    if campaign.state != "draft":
        raise RefusedError("no_draft", "state")
    copy = Copy(**_typed(deed))
    others = [
        one.copy for one in await store.catalogue.variants(deed.id) if one.name != name and one.state != "retired"
    ]
    found = await findings_of(campaign, copy, others)
    if has_errors(found):
        raise RefusedError("text_rules", name, n=sum(one.severity == "error" for one in found))
    if name == NEW:
        await add_copies(store, campaign, [copy], actor=deed.person.actor)
    else:
        await change_text(store, campaign, name, copy, actor=deed.person.actor)
    await store.forms.drop(deed.id, f"text:{name}")
    return Done(told="saved")


async def undo(deed: Deed) -> Done:
    """Throw an edit away."""
    await deed.runtime.store.forms.drop(deed.id, f"text:{deed.form.get('variant', '')}")
    return Done()


async def choose(deed: Deed) -> Done:
    """Take a text in, or leave it out."""
    store = deed.runtime.store
    if (await store.catalogue.campaign(deed.id)).state != "draft":
        raise RefusedError("no_draft", "state")
    known = {one.name: one for one in await store.catalogue.variants(deed.id)}
    variant = known.get(deed.form.get("variant", ""))
    if variant is None:
        raise NotFoundError("has no such variant", field="variant", mend="list the variants")
    if "title" in deed.form:  # sent with the form that it is edited in: what was typed stays
        await keep(deed)
    state = "live" if deed.form.get("in") == "yes" else "retired"
    await store.catalogue.set_variant_state(variant.id, state, deed.person.actor)  # type: ignore[arg-type]
    return Done()


async def more(deed: Deed) -> Done:
    """Have more written: by sentence patterns, at once; or by the engine of the settings, in the background."""
    runtime, amount = deed.runtime, deed.form.get("amount", "")
    if amount not in {str(one) for one in AMOUNTS}:
        raise RefusedError("amount", "amount")
    campaign = await runtime.store.catalogue.campaign(deed.id)
    if campaign.state != "draft":
        raise RefusedError("no_draft", "state")
    if deed.form.get("by") == "patterns":
        written = await write_at_once(runtime.store, campaign, int(amount), actor=deed.person.actor)
        if not written:
            raise RefusedError("no_more", "amount")
        return Done(told="written")
    engine = runtime.settings.text_engine
    job = await write_later(runtime.store, campaign, int(amount), engine, actor=deed.person.actor)
    await runtime.store.forms.keep(deed.id, "write", {"job": str(job)})
    return Done(told="writing")


async def kit(deed: Deed) -> Done:
    """Have the kit made in the background: the chosen media of the brief and its texts."""
    asked = deed.form.get("media", "").split()
    media = [medium for medium in MEDIA if medium in asked]
    if not media:
        raise RefusedError("media", "media")
    campaign = await deed.runtime.store.catalogue.campaign(deed.id)
    await make_kit_later(deed.runtime.store, campaign, media, actor=deed.person.actor)
    return Done(told="making")


def _typed(deed: Deed) -> dict[str, str]:
    return {part: deed.form.get(part, "").strip()[: MOST[part]] for part in PARTS}


SCREEN = Screen(
    name="texts",
    path=f"{CAMPAIGN}/texts",
    values=values,
    role="editor",
    place="none",
    actions={
        "keep": Action("editor", keep),
        "save": Action("editor", save),
        "undo": Action("editor", undo),
        "choose": Action("editor", choose),
        "more": Action("editor", more),
        "kit": Action("editor", kit),
    },
)
