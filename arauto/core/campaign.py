"""What is shown: variants of a campaign, on a site."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from arauto.core.brief import Brief, Currency, Message, Slug

Goal = Literal["click", "purchase", "rating"]
Allocation = Literal["thompson", "uniform", "fixed", "top_two", "revenue", "contextual", "audience"]
"""Who is shown what: see :class:`CampaignPlan`."""
Assignment = Literal["decision", "visitor"]
Feature = Literal["device", "hour"]
CampaignState = Literal["draft", "live", "paused", "ended"]
VariantState = Literal["live", "retired", "staged"]

DAY_MS = 86_400_000


class Copy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One text variant: title, short description and a suggestion for the picture."""

    title: str
    description: str
    image_suggestion: str


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a variant was made (provenance): engine and model, and the hash of what was asked."""

    engine: str
    model: str = ""
    prompt_sha256: str = ""
    seed: int | None = None


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One arm of a campaign. ``id`` is unique over the whole store; ``name`` within the campaign.

    A ``staged`` one is shown by a release only.
    """

    id: int
    campaign_id: int
    name: str
    copy: Copy
    origin: Origin
    state: VariantState = "live"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A web property. ``key`` is public (it stands in the page); ``origins`` are the pages allowed to use it."""

    id: int
    name: str
    key: str
    origins: tuple[str, ...] = ()


class CampaignPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The marketer's choices for a campaign.

    ``allocation``: ``thompson`` and ``uniform`` say themselves; ``fixed`` deals by ``shares`` (of variants, by name);
    ``top_two`` looks for the best arm, for a test to be decided soon; ``revenue`` is Thompson sampling on what an
    impression earns; ``contextual`` is linear Thompson sampling on ``features``: the kind of device, the hour (of UTC,
    in parts of three hours), or both; ``audience`` on the visitor's segment (as ``thompson`` for a visitor without one,
    and for the goal ``rating``).

    ``assignment`` says what tosses the coin: each ``decision``, or a ``visitor`` (with consent) once, who then keeps
    what they saw while its share does not fall. ``holdout`` is the share of visitors who always get the first live
    variant, apart from the test. Campaigns of a site that name the same ``layer`` and parts of it that do not overlap
    (``layer_part``, places from 0 to 1) never meet in one visitor. Both of these need assignment by visitor.

    ``cpm`` is what a thousand impressions cost, in ``currency`` (0: not known); reports reckon with it. ``floor`` is
    the least propensity of each arm that learns. ``refresh_ms`` is how stale the posteriors may grow; 0 means that they
    are renewed before a batch of events is acknowledged. ``seed`` makes the draws repeatable; None takes a random one.
    """

    goal: Goal = "click"
    attribution_ms: Annotated[int, Meta(ge=60_000, le=90 * DAY_MS)] = 7 * DAY_MS
    floor: Annotated[float, Meta(ge=0.0001, le=0.2)] = 0.01
    allocation: Allocation = "thompson"
    shares: Annotated[dict[str, Annotated[float, Meta(gt=0, le=1)]], Meta(max_length=200)] = {}
    features: Annotated[tuple[Feature, ...], Meta(min_length=1, max_length=2)] = ("device",)
    assignment: Assignment = "decision"
    holdout: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    layer: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$|^$")] = ""
    layer_part: tuple[Annotated[float, Meta(ge=0, le=1)], Annotated[float, Meta(ge=0, le=1)]] = (0.0, 1.0)
    refresh_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 200
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    currency: Currency = "BRL"
    cpm: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    simulated: bool = False
    """True when the traffic is made up. Every report of the campaign then says *simulated*."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A brief being shown on a site. ``slug`` is unique within the site."""

    id: int
    site_id: int
    slug: Slug
    name: str
    brief: Brief
    message: Message
    plan: CampaignPlan
    state: CampaignState = "draft"
    created_ms: int = 0
    launched_ms: int | None = None
    ended_ms: int | None = None
