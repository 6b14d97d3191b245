"""What happens, as it comes over the wire (one tagged type per event) and as it is kept (one flat row)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from arauto.core.brief import Currency

EventType = Literal["impression", "view", "click", "cart", "purchase", "rating", "web_vital", "custom"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
VitalName = Literal["LCP", "INP", "CLS", "FCP", "TTFB", "load"]

MARKS: tuple[str, ...] = ("complaint", "error", "violation")
"""Names of custom events that a decision tells once, and that guardrails of a release count."""

SEGMENTS: tuple[str, ...] = ("unknown", "desktop", "mobile", "tablet")
"""The segments known without any profile: the kind of device. A receipt carries the place in this tuple."""

HELD_OUT = 1
"""The stage of a decision for a visitor of the holdout (docs/decisions/0014)."""
REPEAT = -1
"""The stage kept of a decision that was not the first of its visitor in a release: it proves nothing new."""
CHOSEN = -2
"""The stage kept of a decision that a device made, and that is no fair coin (docs/decisions/0028)."""
MAX_CANDIDATES = 8
DEVICE_FLOOR = 0.2
"""The weight of the even draw in a device's choice: each candidate keeps this times its share."""
PARTS = 8
"""A day of UTC has so many parts, for what is allocated by the hour."""
PART_MS = 86_400_000 // PARTS

Device = Literal["desktop", "mobile", "tablet"]
Reference = Annotated[str, Meta(max_length=64, pattern=r"^[\w.:/@-]*$")]
EventName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
PropName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,31}$")]
PropValue = Annotated[str, Meta(max_length=200)] | int | float | bool | None


class _Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What every event has.

    ``id`` is a UUIDv7 made by the client: a repeat changes nothing. ``at`` is when it happened, in Unix milliseconds.
    ``receipt`` is the one that decide answered with; without it an outcome is joined to the visitor's last impression
    within the attribution window. ``visitor`` is kept only with consent. ``chance`` goes with the receipt of one of
    several candidates: the probability with which the device chose it.
    """

    id: UUID
    at: Annotated[int, Meta(ge=0, lt=2**48)]
    receipt: Annotated[str, Meta(max_length=200)] | None = None
    visitor: UUID | None = None
    chance: Annotated[float, Meta(gt=0, le=1)] | None = None


class Impression(_Event, frozen=True, tag="impression"):
    """The variant was really visible: half of it for one second (IAB/MRC viewable impression)."""


class View(_Event, frozen=True, tag="view"):
    """The landing page, or the item, was looked at. ``item`` names it."""

    item: Reference = ""


class Click(_Event, frozen=True, tag="click"):
    """The variant was clicked."""


class Cart(_Event, frozen=True, tag="cart"):
    """Something was put into the cart. ``item`` names it."""

    item: Reference = ""


class Purchase(_Event, frozen=True, tag="purchase"):
    """A conversion. ``value`` is in units of ``currency``, with at most two decimals; ``order`` tells orders apart."""

    value: Decimal
    currency: Currency
    order: Reference = ""


class Rating(_Event, frozen=True, tag="rating"):
    """Customer satisfaction (CSAT), 1 to 5."""

    score: Annotated[int, Meta(ge=1, le=5)]


class WebVital(_Event, frozen=True, tag="web_vital"):
    """A Core Web Vital or the load time of the page that showed the variant, in milliseconds (CLS: a plain number)."""

    metric: VitalName
    reading: Annotated[float, Meta(ge=0, le=3_600_000)]


class Custom(_Event, frozen=True, tag="custom"):
    """Anything else, by name. ``props`` holds at most 16 scalars."""

    name: EventName
    props: Annotated[dict[PropName, PropValue], Meta(max_length=16)] = {}


Event = Impression | View | Click | Cart | Purchase | Rating | WebVital | Custom


class EventRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One row of the event log, every check passed. Money is in cents; times are Unix milliseconds.

    An event with a receipt has ``decision_id`` and what the receipt told. ``(decision_id, type, ref)`` is counted once.
    """

    event_id: UUID
    type: EventType
    site_id: int
    occurred_ms: int
    received_ms: int
    decision_id: UUID | None = None
    campaign_id: int | None = None
    variant_id: int | None = None
    propensity: float | None = None
    policy_version: int | None = None
    segment: str = "unknown"
    stage: int = 0
    once: bool = False
    """Whether the stage counts once for each visitor (assignment by visitor)."""
    visitor_id: UUID | None = None
    tomb: str | None = None
    """Keyed hash of ``visitor_id``, hexadecimal: how an erased visitor is recognised without being kept."""
    ref: str = ""
    value_cents: int | None = None
    currency: str | None = None
    score: int | None = None
    metric: VitalName | None = None
    reading: float | None = None
    name: str | None = None
    props: dict[str, PropValue] | None = None


class DecideQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of ``POST /v1/decide``. ``key`` is the site's public key; ``visitor`` counts only with consent."""

    key: Annotated[str, Meta(max_length=64)]
    campaign: Annotated[str, Meta(max_length=64)]
    visitor: UUID | None = None
    consent: Literal["granted", "denied"] = "denied"
    device: Device | None = None


class CandidatesQuery(DecideQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of ``POST /v1/candidates``: how many draws the device chooses from."""

    candidates: Annotated[int, Meta(ge=2, le=MAX_CANDIDATES)] = 3


class EventBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of ``POST /v1/events``: at most 500 events of one site."""

    key: Annotated[str, Meta(max_length=64)]
    events: Annotated[list[Event], Meta(min_length=1, max_length=500)]
    consent: Literal["granted", "denied"] = "denied"
