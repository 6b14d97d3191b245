"""The routes of those who run the place. Each checks, does one thing, and lets this process know at once."""

from __future__ import annotations

import msgspec

from arauto.core.campaign import DAY_MS, Campaign, Site, Variant
from arauto.core.errors import InputError
from arauto.loop import (
    CampaignDetail,
    Experiment,
    Neighbours,
    NewCampaign,
    NewRelease,
    Offers,
    Release,
    Segments,
    add_copies,
    create_campaign,
    list_releases,
    read_experiment,
    read_release,
    start_release,
    steer_release,
    write_later,
)
from arauto.loop.report import Report, build_report
from arauto.server.wire import (
    Answered,
    AuditQuery,
    Call,
    ControlQuery,
    Desk,
    NearQuery,
    NewReleaseMove,
    NewSite,
    NewState,
    NewVariants,
    NewVariantState,
    OffersQuery,
    SiteQuery,
)
from arauto.store import AuditEntry, JobStatus


async def list_sites(desk: Desk, _call: Call) -> list[Site]:
    """All sites."""
    return await desk.store.catalogue.sites()


async def put_site(desk: Desk, call: Call) -> Site:
    """Make a site, or give it other origins; every process learns of it within a sweep."""
    body: NewSite = call.body
    site = await desk.store.catalogue.ensure_site(body.name, list(body.origins))
    await desk.store.catalogue.audit(call.actor, "site.put", f"site {site.id}", {"origins": list(site.origins)})
    await desk.runtime.sync(all_over=True)
    return site


async def list_campaigns(desk: Desk, call: Call) -> list[Campaign]:
    """All campaigns, or one site's."""
    query: SiteQuery = call.query
    return await desk.store.catalogue.campaigns(query.site or None)


async def post_campaign(desk: Desk, call: Call) -> CampaignDetail:
    """A new draft."""
    body: NewCampaign = call.body
    created = await create_campaign(desk.store, desk.settings, body, actor=call.actor)
    await desk.runtime.reload(created.campaign.id)
    return _detail(created.campaign, created.variants, created.job)


async def get_campaign(desk: Desk, call: Call) -> CampaignDetail:
    """A campaign and its variants."""
    campaign = await desk.store.catalogue.campaign(call.params["id"])
    return _detail(campaign, await desk.store.catalogue.variants(campaign.id), None)


async def set_state(desk: Desk, call: Call) -> Campaign:
    """Move a campaign to another state."""
    body: NewState = call.body
    campaign = await desk.store.catalogue.set_campaign_state(call.params["id"], body.state, call.actor)
    await desk.runtime.reload(campaign.id)
    return campaign


async def add_variants(desk: Desk, call: Call) -> list[Variant] | Answered:
    """Add texts now, or have some written."""
    body: NewVariants = call.body
    if bool(body.copies) == (body.write is not None):
        raise InputError("is neither texts nor a number to write, or both", field="$", mend="give `copies` or `write`")
    campaign = await desk.store.catalogue.campaign(call.params["id"])
    if body.write is not None:
        engine = body.engine or desk.settings.text_engine
        job = await write_later(desk.store, campaign, body.write, engine, actor=call.actor)
        return Answered(202, await desk.store.jobs.get(job))
    added = await add_copies(desk.store, campaign, body.copies, actor=call.actor)
    await desk.runtime.reload(campaign.id)
    return added


async def set_variant_state(desk: Desk, call: Call) -> Variant:
    """Retire a variant, or take it back."""
    body: NewVariantState = call.body
    variant = await desk.store.catalogue.set_variant_state(call.params["id"], body.state, call.actor)
    await desk.runtime.reload(variant.campaign_id)
    return variant


async def get_report(desk: Desk, call: Call) -> Report:
    """What the campaign has shown so far."""
    return await build_report(desk.store, call.params["id"])


async def get_experiment(desk: Desk, call: Call) -> Experiment:
    """Which variant is better."""
    query: ControlQuery = call.query
    return await read_experiment(desk.store, call.params["id"], query.control)


async def post_release(desk: Desk, call: Call) -> Release:
    """Begin a release."""
    body: NewRelease = call.body
    begun = await start_release(desk.store, call.params["id"], body, actor=call.actor)
    await desk.runtime.reload(begun.campaign_id)
    return begun


async def get_releases(desk: Desk, call: Call) -> list[Release]:
    """A campaign's releases."""
    return await list_releases(desk.store, call.params["id"])


async def get_release(desk: Desk, call: Call) -> Release:
    """One release."""
    return await read_release(desk.store, call.params["id"])


async def move_release(desk: Desk, call: Call) -> Release:
    """Hold, resume or roll back."""
    body: NewReleaseMove = call.body
    steered = await steer_release(desk.store, call.params["id"], body.action, actor=call.actor)
    await desk.runtime.reload(steered.campaign_id)
    return steered


async def get_job(desk: Desk, call: Call) -> JobStatus:
    """How far a job is."""
    return await desk.store.jobs.get(call.params["id"])


async def cancel_job(desk: Desk, call: Call) -> JobStatus:
    """End a job."""
    status = await desk.store.jobs.cancel(call.params["id"])
    await desk.store.catalogue.audit(call.actor, "job.cancel", f"job:{status.id}", {"name": status.name})
    return status


async def get_audit(desk: Desk, call: Call) -> list[AuditEntry]:
    """Who did what."""
    query: AuditQuery = call.query
    return await desk.store.catalogue.audit_log(query.limit, query.before or None)


def _detail(campaign: Campaign, variants: list[Variant], job: int | None) -> CampaignDetail:
    return CampaignDetail(**msgspec.structs.asdict(campaign), variants=variants, job=job)


async def get_neighbours(desk: Desk, call: Call) -> Neighbours:
    """Who is like a visitor."""
    query: NearQuery = call.query
    own = desk.runtime.audience
    await own.ready.wait()
    since = desk.runtime.clock.now_ms() - query.days * DAY_MS if isinstance(query.days, int) else 0
    segment = query.segment if isinstance(query.segment, int) else None
    return own.neighbours(call.params["id"], query.k, segment, since)


async def get_offers(desk: Desk, call: Call) -> Offers:
    """What to show a visitor."""
    query: OffersQuery = call.query
    return await desk.runtime.offers(call.params["id"], query.count)


async def get_segments(desk: Desk, _call: Call) -> Segments:
    """The segments of the audience."""
    await desk.runtime.audience.ready.wait()
    return desk.runtime.audience.segments()
