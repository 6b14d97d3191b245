"""The door of the event log: a body becomes a batch, and each event of it a row or a refusal.

Pure functions. Nobody outside is believed: who was shown what comes from the signed receipt, never from the event, and
one bad event never loses the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
from msgspec import Meta

from arauto.core.brief import check_amount
from arauto.core.campaign import DAY_MS, Campaign, Site
from arauto.core.door import explain, from_json, has_control
from arauto.core.errors import ArautoError, EventError, Problem, ReceiptError
from arauto.core.events import (
    CHOSEN,
    DEVICE_FLOOR,
    EVENT_TYPES,
    REPEAT,
    SEGMENTS,
    Cart,
    Click,
    Custom,
    Event,
    EventBatch,
    EventRow,
    EventType,
    Impression,
    Purchase,
    Rating,
    View,
    WebVital,
)
from arauto.core.ids import uuid7_ms
from arauto.core.receipts import ANONYMOUS, Receipt, ReceiptBook

SKEW_MS = DAY_MS
"""How wrong a visitor's clock may be. Within that, an event's time is brought between its decision and its arrival."""
LATENESS_MS = 7 * DAY_MS
"""How long a page that was offline may keep its events."""
OLDEST_MS = 90 * DAY_MS + LATENESS_MS + SKEW_MS
"""The greatest age of an event id: the longest attribution window, and the two above."""
SERVERS_MS = 7_200_000
"""How far the clocks of two of our servers may be apart, or one may jump back: an hour set wrong, then mended, must not
cost the events of what was decided meanwhile. The receipt's signature is ours in any case."""
MAX_INT = 2**53 - 1
"""The greatest integer that every reader of JSON keeps exactly (RFC 8259, section 6)."""

# Browsers write half a surrogate pair as an escape that is no text (RFC 8259, section 8.2). It must not cost the batch.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_batch = msgspec.json.Decoder(EventBatch)
_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An :class:`EventBatch` whose events are still to be read."""

    key: Annotated[str, Meta(max_length=64)]
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=500)]
    consent: Literal["granted", "denied"] = "denied"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read of a body: events with their places in it, and the problems of the others."""

    key: str
    consent: str
    events: Sequence[tuple[int, Event]]
    problems: list[Problem]


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to store, the place in the batch of each, what was refused, and the campaigns to look up before."""

    rows: list[EventRow]
    places: list[int]
    problems: list[Problem]
    unknown: set[int]


def with_key(body: bytes, query: str) -> bytes:
    """``body`` with the site key of the query string (``?key=``), when it has none of its own."""
    keys = parse_qs(query).get("key")
    if not keys:
        return body
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    fields.setdefault("key", msgspec.Raw(msgspec.json.encode(keys[0])))
    return msgspec.json.encode(fields)


def read_batch(body: bytes) -> Batch:
    """All events at once where the whole body is good, else one by one.

    Raises:
        EventError: it is no JSON, or something around the events is wrong.
    """
    try:
        batch = _batch.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_singly(body)
    return Batch(key=batch.key, consent=batch.consent, events=list(enumerate(batch.events)), problems=[])


def _read_singly(body: bytes) -> Batch:
    envelope = from_json(_ESCAPES.sub(_mend_surrogate, body), _Envelope, error=EventError)
    events, problems = [], []
    for place, raw in enumerate(envelope.events):
        try:
            events.append((place, _event.decode(raw)))
        except msgspec.ValidationError as failure:
            problems.append(_at(place, explain(failure, Event, EventError)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
            problems.append(
                _at(place, EventError(f"is not JSON: {failure}", field="$", mend="send one JSON object per event"))
            )
    return Batch(key=envelope.key, consent=envelope.consent, events=events, problems=problems)


def admit(
    batch: Batch, site: Site, campaigns: Mapping[int, Campaign], book: ReceiptBook, now_ms: int, *, private: bool
) -> Admitted:
    """Check every event of ``batch``, which came for ``site``.

    ``private`` (no consent, or Global Privacy Control) drops who it was and what could tell: visitor, order, item and
    props. A receipt of ours whose campaign is not in ``campaigns`` puts the campaign's id into ``unknown`` and has its
    event refused: look the campaign up, and call again with it.
    """
    window = _Window(site, campaigns, book, now_ms, private)
    rows, places, problems = [], [], list(batch.problems)
    for place, event in batch.events:
        try:
            rows.append(window.row(event))
            places.append(place)
        except ArautoError as error:
            problems.append(_at(place, error))
    problems.sort(key=lambda problem: problem.index or 0)
    return Admitted(rows=rows, places=places, problems=problems, unknown=window.unknown)


class _Window:
    """The checks of one batch. Its events mostly share one receipt and one visitor: each is worked out once."""

    def __init__(
        self, site: Site, campaigns: Mapping[int, Campaign], book: ReceiptBook, now_ms: int, private: bool
    ) -> None:
        self._site = site
        self._campaigns = campaigns
        self._now = now_ms
        self._private = private
        self.unknown: set[int] = set()
        self._receipt = cache(book.read)
        self._tag = cache(book.visitor_tag)
        self._tomb = cache(book.tomb)

    def row(self, event: Event) -> EventRow:
        self._check_id(event.id)
        row = EventRow(
            event_id=event.id,
            type=_TYPE[type(event)],
            site_id=self._site.id,
            occurred_ms=min(event.at, self._now),
            received_ms=self._now,
        )
        visitor = None if self._private else event.visitor
        if event.receipt is not None:
            campaign, visitor = self._join(row, event, self._receipt(event.receipt), visitor)
        else:
            campaign = None
            self._check_loose(event, visitor)
        if visitor is not None:
            row.visitor_id = visitor
            row.tomb = self._tomb(visitor)
        _FILL[type(event)](row, event, self._private)
        if row.currency is not None:
            self._check_currency(row.currency, campaign)
        return row

    def _check_currency(self, currency: str, campaign: Campaign | None) -> None:
        """That of the campaign; without a receipt, that of a campaign of the site (the store joins only equal ones)."""
        possible = [campaign] if campaign else [one for one in self._campaigns.values() if one.site_id == self._site.id]
        good = {one.plan.currency for one in possible}
        if currency not in good:
            raise EventError(
                f"is {currency}", field="currency", mend=f"send amounts in {' or '.join(sorted(good)) or 'no currency'}"
            )

    def _check_id(self, event_id: UUID) -> None:
        bits = event_id.int
        if (bits >> 76) & 0xF != 7 or (bits >> 62) & 0b11 != 0b10:
            raise EventError(
                "is not a UUID of version 7", field="id", mend="make one per event (RFC 9562, section 5.7)"
            )
        if not self._now - OLDEST_MS <= uuid7_ms(event_id) <= self._now + SKEW_MS:
            raise EventError("carries a time that cannot be", field="id", mend="set the clock of the device right")

    def _join(
        self, row: EventRow, event: Event, receipt: Receipt, visitor: UUID | None
    ) -> tuple[Campaign, UUID | None]:
        """Write what the receipt tells into ``row``. Returns the campaign, and the visitor if one may be kept."""
        campaign = self._campaigns.get(receipt.campaign_id)
        if campaign is None:
            self.unknown.add(receipt.campaign_id)
            raise ReceiptError("is of a campaign that is gone", field="receipt", mend="ask for a new decision")
        if campaign.site_id != self._site.id:
            raise ReceiptError("belongs to another site", field="receipt", mend="send it with that site's key")
        window = campaign.plan.attribution_ms
        decided = receipt.decided_ms
        if not -SERVERS_MS <= self._now - decided <= window + LATENESS_MS:
            raise ReceiptError("has expired", field="receipt", mend="ask for a new decision")
        if not decided - SKEW_MS <= event.at <= self._now + SKEW_MS:
            raise EventError(
                "is not between the decision and now", field="at", mend="set the clock of the device right"
            )
        row.occurred_ms = max(row.occurred_ms, decided)
        if row.occurred_ms > decided + window:
            raise EventError("is after the campaign's attribution window", field="at", mend="leave the event out")
        if visitor is not None:
            # An anonymous decision stays tied to nobody, whatever consent came later.
            if receipt.visitor_tag == ANONYMOUS:
                visitor = None
            elif receipt.visitor_tag != self._tag(visitor):
                raise ReceiptError(
                    "is another visitor's", field="receipt", mend="send it as the visitor it was given to"
                )
        row.decision_id = receipt.decision_id
        row.campaign_id = receipt.campaign_id
        row.variant_id = receipt.variant_id
        row.policy_version = receipt.policy_version
        row.segment = SEGMENTS[receipt.segment]
        row.stage, row.propensity = judge_choice(receipt, event.chance)
        if campaign.plan.assignment == "visitor" and receipt.visitor_tag != ANONYMOUS:
            # Whose first decision it is cannot be known of one who withdrew consent in between.
            row.stage, row.once = (receipt.stage, True) if visitor is not None else (REPEAT, False)
        return campaign, visitor

    def _check_loose(self, event: Event, visitor: UUID | None) -> None:
        """An event without a receipt: it can be joined to a visitor's latest impression, or means nothing."""
        if isinstance(event, Impression | Click | WebVital):
            raise EventError("is missing", field="receipt", mend="send the receipt that decide answered with")
        if visitor is None:
            raise EventError(
                "is missing, and there is no visitor with consent to whom the event could be joined",
                field="receipt",
                mend="send the receipt that decide answered with",
            )
        if not self._now - LATENESS_MS - SKEW_MS <= event.at <= self._now + SKEW_MS:
            raise EventError("is not within the last week", field="at", mend="set the clock of the device right")


def judge_choice(receipt: Receipt, chance: float | None) -> tuple[int, float]:
    """The stage and the propensity of what a device chose with probability ``chance`` of k independent draws.

    A draw was chosen with chance/``drawn``; kept as a fair coin with probability (floor/k)/(chance/``drawn``), by bits
    of the decision's id, what is kept was chosen with floor/k whatever the device saw in it: its arm is distributed as
    drawn. The others are kept apart as :data:`CHOSEN`, with the probability that the arm was among the draws, times
    ``chance``, whose inverse is an unbiased weight (docs/decisions/0028).

    Raises:
        EventError: the chance is missing, or below what every candidate keeps, or there was nothing to choose.
    """
    if receipt.candidates == 1:
        if chance is not None and chance < 1:
            raise EventError("goes with one of several candidates only", field="chance", mend="leave it out")
        return receipt.stage, receipt.propensity
    k, p = receipt.candidates, receipt.propensity
    least = DEVICE_FLOOR * receipt.drawn / k
    if chance is None:
        raise EventError("is missing", field="chance", mend="send the probability with which the device chose")
    if chance < least * (1 - 1e-6):
        raise EventError(f"is below {least:.6g}", field="chance", mend="mix the choice with the floor that decide told")
    coin = (receipt.decision_id.int & (1 << 48) - 1) / (1 << 48)
    if coin < least / chance:
        return 0, p
    return CHOSEN, (1 - (1 - p) ** k) * chance


def _mend_surrogate(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape["lone"] else escape[0]


def _at(place: int, error: ArautoError) -> Problem:
    field = f"events[{place}]" if error.field in ("", "$") else f"events[{place}].{error.field}"
    return Problem(code=error.code, field=field, problem=error.problem, mend=error.mend, index=place)


def _fill_item(row: EventRow, event: View | Cart, private: bool) -> None:
    row.ref = "" if private else event.item


def _fill_purchase(row: EventRow, event: Purchase, private: bool) -> None:
    row.ref = "" if private else event.order
    row.value_cents = check_amount(event.value, "value", EventError)
    row.currency = event.currency


def _fill_rating(row: EventRow, event: Rating, _private: bool) -> None:
    row.score = event.score


def _fill_vital(row: EventRow, event: WebVital, _private: bool) -> None:
    row.metric = event.metric
    row.reading = event.reading


def _fill_custom(row: EventRow, event: Custom, private: bool) -> None:
    row.name = event.name
    for name, value in event.props.items():
        # Neither can be kept as JSON in the database.
        if isinstance(value, str) and has_control(value):
            raise EventError("holds a control character", field=f"props.{name}", mend="remove that character")
        if isinstance(value, int) and abs(value) > MAX_INT:
            raise EventError(f"is beyond ±{MAX_INT}", field=f"props.{name}", mend="send it as a text")
    row.props = None if private else event.props


def _fill_nothing(_row: EventRow, _event: Event, _private: bool) -> None:
    pass


_FILL: Mapping[type, Callable[[EventRow, Any, bool], None]] = {
    Impression: _fill_nothing,
    View: _fill_item,
    Click: _fill_nothing,
    Cart: _fill_item,
    Purchase: _fill_purchase,
    Rating: _fill_rating,
    WebVital: _fill_vital,
    Custom: _fill_custom,
}
_TYPE: Mapping[type, EventType] = dict(zip(_FILL, EVENT_TYPES, strict=True))
