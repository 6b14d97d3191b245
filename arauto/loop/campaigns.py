"""From a brief to something that can be shown: campaigns made, variants added, variants written in the background."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from arauto.core.brief import Brief, Message, Name, Slug, check_brief
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Site, Variant, VariantState
from arauto.core.door import clean_text, from_data
from arauto.core.errors import BriefError, ConflictError, NotFoundError
from arauto.core.kit import Finding
from arauto.core.settings import Settings
from arauto.creative import (
    ModelStore,
    Writer,
    check_copy,
    choose_engine,
    compose_message,
    read_brief,
    too_similar,
    write_slots,
)
from arauto.loop.kits import KIT_JOB, run_kit_job
from arauto.loop.policy import check_deal
from arauto.loop.retention import register_retention
from arauto.loop.turns import TURN_JOB, run_turn_job
from arauto.store import FirstKit, JobContext, Store

DEFAULT_SITE = "default"
SLOT_VARIANTS = 4
WRITE_JOB = "write_variants"
GIVEN = Origin(engine="given")
_LONGEST = {"title": 200, "description": 2000, "image_suggestion": 1000}

SiteRef = Annotated[int, Meta(ge=1, lt=2**31)] | Name
Amount = Annotated[int, Meta(ge=1, le=50)]


class NewCampaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a campaign is made of: the body of ``POST /v1/campaigns``.

    ``site`` is the id or the name of a site; left out, it is the one named *default*, made when it is not there.
    ``brief`` is a :class:`~arauto.core.brief.Brief`, of which ``prompt`` alone (the marketer's own words) is enough.
    ``copies`` are texts to show; left out, the slot writer writes some at once; an empty list means none for now.
    ``write`` asks for so many more from ``engine`` (of the settings, when empty), written in the background.
    """

    brief: dict[str, Any]
    site: SiteRef | None = None
    slug: Slug | None = None
    name: Name | None = None
    plan: CampaignPlan | None = None
    copies: Annotated[tuple[Copy, ...], Meta(max_length=200)] | None = None
    write: Amount | None = None
    engine: Annotated[str, Meta(max_length=40)] = ""


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """A new campaign, a draft still, with its first variants. ``job`` writes more."""

    campaign: Campaign
    variants: list[Variant]
    job: int | None = None


async def create_campaign(store: Store, settings: Settings, new: NewCampaign, *, actor: str) -> Created:
    """Make a campaign of a brief.

    Raises:
        BriefError: the brief, or a given text, cannot be used.
        InputError: the plan contradicts itself.
        NotFoundError: there is no such site.
        ConflictError: the slug is taken, or so is the part of the layer.
    """
    # Reading and writing texts is arithmetic that may take a while: decisions must not wait for it.
    brief = await asyncio.to_thread(read_brief, new.brief)
    message = await asyncio.to_thread(compose_message, brief)
    copies = None if new.copies is None else check_given(new.copies)
    plan = check_deal(new.plan or _plan(brief))
    site = await _site(store, new.site)
    await _check_layer(store, site, plan)
    name = new.name or brief.product
    kit = await asyncio.to_thread(_first_kit, brief, message, copies, plan.seed or 0)
    if new.slug is None:
        campaign = await _create_somewhere(store, site, brief, name, message, plan, actor, kit)
    else:
        campaign = await store.catalogue.create_campaign(site.id, new.slug, name, brief, message, plan, actor, kit=kit)
    job = None
    if new.write is not None:
        job = await write_later(store, campaign, new.write, new.engine or settings.text_engine, actor=actor)
    return Created(campaign=campaign, variants=await store.catalogue.variants(campaign.id), job=job)


async def add_copies(
    store: Store, campaign: Campaign, copies: Sequence[Copy], *, actor: str, state: VariantState = "live"
) -> list[Variant]:
    """Add texts that a person gives. They are shown as given; what the checks say of them is kept with them."""
    checked = check_given(copies)
    report = await asyncio.to_thread(_findings, checked, campaign.brief, campaign.message)
    return await store.catalogue.add_kit(campaign.id, [(copy, GIVEN) for copy in checked], report, actor, state=state)


async def change_brief(store: Store, campaign_id: int, brief: Brief, *, actor: str) -> Campaign:
    """Give a draft another brief; its goal and currency go into its plan.

    Raises:
        BriefError: the brief cannot be used.
        ConflictError: the campaign is no draft any more.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    checked = check_brief(brief)
    message = await asyncio.to_thread(compose_message, checked)
    wanted = _plan(checked)
    plan = msgspec.structs.replace(campaign.plan, goal=wanted.goal, currency=wanted.currency)
    return await store.catalogue.change_draft(
        campaign_id, name=checked.product, brief=checked, message=message, plan=plan, actor=actor
    )


async def change_plan(store: Store, campaign_id: int, plan: CampaignPlan, *, actor: str) -> Campaign:
    """Give a draft another plan.

    Raises:
        InputError: the plan contradicts itself.
        ConflictError: the campaign is no draft any more, or the part of the layer is taken.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    checked = check_deal(plan)
    return await store.catalogue.change_draft(
        campaign_id, name=campaign.name, brief=campaign.brief, message=campaign.message, plan=checked, actor=actor
    )


async def write_at_once(store: Store, campaign: Campaign, n: int, *, actor: str) -> list[Variant]:
    """Add ``n`` texts of the slot writer that the campaign has not yet; fewer when its sentences do not suffice."""
    known = [variant.copy for variant in await store.catalogue.variants(campaign.id)]
    written = await asyncio.to_thread(write_slots, campaign.brief, n + len(known), campaign.plan.seed or 0)
    new = [pair for pair in written.accepted if pair[0] not in known and not too_similar(pair[0], known)][:n]
    return await store.catalogue.add_kit(campaign.id, new, written.report(), actor) if new else []


async def change_text(store: Store, campaign: Campaign, name: str, copy: Copy, *, actor: str) -> Variant:
    """Give a variant of a draft the text that a person edited.

    Raises:
        BriefError: the text cannot be used.
        NotFoundError: there is no such variant.
        ConflictError: the campaign is no draft any more, or has that text already.
    """
    (checked,) = check_given([copy])
    return await store.catalogue.change_copy(campaign.id, name, checked, GIVEN, actor)


async def findings_of(campaign: Campaign, copy: Copy, others: Sequence[Copy] = ()) -> tuple[Finding, ...]:
    """What the checks say of a text of this campaign beside its ``others``, errors first."""

    def find() -> tuple[Finding, ...]:
        found = (*check_copy(copy, campaign.brief, campaign.message), *too_similar(copy, others))
        return tuple(sorted(found, key=lambda finding: finding.severity))

    return await asyncio.to_thread(find)


def _first_kit(brief: Brief, message: Message, copies: Sequence[Copy] | None, seed: int) -> FirstKit | None:
    """What the slot writer has at once when no texts are given; no kit when an empty list is."""
    if copies is None:
        written = write_slots(brief, SLOT_VARIANTS, seed)
        return FirstKit(copies=written.accepted, report=written.report())
    given = tuple((copy, GIVEN) for copy in copies)
    return FirstKit(copies=given, report=_findings(copies, brief, message)) if given else None


def _findings(copies: Sequence[Copy], brief: Brief, message: Message) -> dict[str, Any]:
    found = [check_copy(copy, brief, message) for copy in copies]
    return {"findings": msgspec.to_builtins(found)}


def check_given(copies: Sequence[Copy]) -> list[Copy]:
    """The texts stripped; an empty title, one that is too long, or a control character is refused."""
    return [_checked(copy, place) for place, copy in enumerate(copies)]


async def write_later(store: Store, campaign: Campaign, n: int, engine: str, *, actor: str) -> int:
    """Have ``engine`` write ``n`` variants in the background. Returns the job's id."""
    return await store.jobs.defer(WRITE_JOB, {"campaign": campaign.id, "write": n, "engine": engine, "actor": actor})


def register_jobs(store: Store, settings: Settings) -> None:
    """Tell the store's worker how the jobs of this room are done."""

    async def run(context: JobContext, args: dict[str, Any]) -> None:
        await _write_variants(store, settings, context, args)

    async def run_kit(context: JobContext, args: dict[str, Any]) -> None:
        await run_kit_job(store, settings, context, args)

    async def run_turn(context: JobContext, args: dict[str, Any]) -> None:
        await run_turn_job(store, settings, context, args)

    store.jobs.register(WRITE_JOB, run)
    store.jobs.register(KIT_JOB, run_kit)
    register_retention(store, settings)
    store.jobs.register(TURN_JOB, run_turn)


async def _write_variants(store: Store, settings: Settings, context: JobContext, args: dict[str, Any]) -> None:
    """The job: each text joins its campaign as soon as it has passed the checks.

    A job that a crash cut short is run again: texts of the same job that are there already count.
    """
    campaign = await store.catalogue.campaign(args["campaign"])
    wanted: int = args["write"]
    chosen = msgspec.structs.replace(settings, text_engine=args["engine"])
    engine = choose_engine(chosen, ModelStore(chosen))
    try:
        variants = await store.catalogue.variants(campaign.id)
        done = min(wanted, context.done)
        await context.progress(done, wanted, engine.name)
        writing = Writer(engine).stream(
            campaign.brief, wanted - done, known=[variant.copy for variant in variants], seed=context.id
        )
        async for copy, origin in writing:
            await store.catalogue.add_kit(campaign.id, [(copy, origin)], {"job": context.id}, args["actor"])
            done += 1
            await context.progress(done, wanted, engine.name)
        result = writing.result
        await store.catalogue.audit(
            args["actor"],
            "variants.written",
            f"campaign {campaign.id}",
            {"job": context.id, "accepted": len(result.accepted), "refused": len(result.refused)},
        )
    finally:
        await engine.close()


def _plan(brief: Brief) -> CampaignPlan:
    currency = brief.offer.currency if brief.offer else None
    return CampaignPlan(goal=brief.goal, currency=currency) if currency else CampaignPlan(goal=brief.goal)


async def _check_layer(store: Store, site: Site, plan: CampaignPlan) -> None:
    """Campaigns of a layer that have not ended take parts of it that do not touch."""
    if not plan.layer:
        return
    low, high = plan.layer_part
    for other in await store.catalogue.campaigns(site.id):
        start, end = other.plan.layer_part
        if other.plan.layer == plan.layer and other.state != "ended" and start < high and low < end:
            raise ConflictError(
                f"{list(plan.layer_part)} meets that of {other.slug}, {list(other.plan.layer_part)}",
                field="layer_part",
                mend="take a free part of the layer",
            )


async def _site(store: Store, reference: int | str | None) -> Site:
    if isinstance(reference, int):
        return await store.catalogue.site(reference)
    for site in await store.catalogue.sites():
        if site.name == (reference or DEFAULT_SITE):
            return site
    if reference is None:
        return await store.catalogue.ensure_site(DEFAULT_SITE, [])
    raise NotFoundError(f"{reference!r} is not a site", field="site", mend="create it first, or leave it out")


async def _create_somewhere(
    store: Store,
    site: Site,
    brief: Brief,
    name: str,
    message: Message,
    plan: CampaignPlan,
    actor: str,
    kit: FirstKit | None,
) -> Campaign:
    """The campaign under a slug made from its name: the first of name, name-2, name-3 … that is free."""
    base = slugify(name)
    for number in range(1, 100):
        slug = base if number == 1 else f"{base[:60]}-{number}"
        try:
            return await store.catalogue.create_campaign(site.id, slug, name, brief, message, plan, actor, kit=kit)
        except ConflictError:
            continue
    raise ConflictError(f"a hundred campaigns are called {base!r}", field="slug", mend="choose a slug")


def slugify(text: str) -> str:
    """``Relógio Saúde+`` → ``relogio-saude``: ASCII letters, digits and dashes, at most 64."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:64].strip("-") or "campaign"


def _checked(copy: Copy, place: int) -> Copy:
    fields = {name: clean_text(getattr(copy, name), f"copies[{place}].{name}", error=BriefError) for name in _LONGEST}
    if not fields["title"]:
        raise BriefError("is empty", field=f"copies[{place}].title", mend="write a title")
    for name, longest in _LONGEST.items():
        if len(fields[name]) > longest:
            raise BriefError(
                f"has {len(fields[name])} characters", field=f"copies[{place}].{name}", mend=f"use at most {longest}"
            )
    return from_data(fields, Copy)
