"""Pure preparation of an append: rows become lines of the statement, and what repeats inside a batch is told apart.

The statement wants each event id, and each thing that a decision tells once, at most once. So the first of each goes,
and what repeats it waits for what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from arauto.core.events import MARKS, EventRow, EventType, PropValue, VitalName
from arauto.store.vitals import bucket_of

MAX_ORDERS = 20
"""Orders that one decision may count."""
MAX_ITEMS = 40
"""Items that one decision may tell of, viewed and put into the cart together."""

JOINED = frozenset(("view", "click", "cart", "purchase", "rating"))
"""Outcomes that, told without a decision, are joined to their visitor's last one."""

_VITAL_BITS: dict[VitalName, int] = {"LCP": 8, "INP": 16, "CLS": 32, "FCP": 64, "TTFB": 128, "load": 256}
_ONCE_BITS: dict[str, int] = {"impression": 1, "click": 2, "rating": 4}
_MARK_BITS = {name: 512 << place for place, name in enumerate(MARKS)}
_BY_REF: dict[str, str] = {"view": "v/", "cart": "c/", "purchase": "p/"}


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What a decision was."""

    decision_id: UUID
    decided_ms: int
    campaign_id: int
    variant_id: int
    propensity: float | None
    policy_version: int | None
    segment: str
    stage: int = 0
    once: bool = False


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """An event as the statement reads it. Its names are short because they cross the wire with every row.

    ``bit`` or ``key`` says what a decision tells once: a bit of ``exposures.seen``, or an entry of ``exposures.refs``.
    """

    n: int
    id: UUID
    t: EventType
    o: int
    r: int
    s: int
    d: UUID | None = None
    c: int | None = None
    v: UUID | None = None
    bit: int = 0
    key: str | None = None
    ref: str = ""
    amt: int | None = None
    cur: str | None = None
    score: int | None = None
    m: VitalName | None = None
    x: float | None = None
    b: int | None = None
    name: str | None = None
    props: dict[str, PropValue] | None = None


class Fold(msgspec.Struct, omit_defaults=True, gc=False):
    """All that a batch tells of one decision, as the statement reads it: a row of ``exposures``."""

    d: UUID
    dms: int
    c: int
    a: int
    p: float | None
    pv: int | None
    seg: str
    st: int = 0
    v: UUID | None = None
    seen: int = 0
    shown: int | None = None
    viewed: int | None = None
    clicked: int | None = None
    carted: int | None = None
    purchased: int | None = None
    score: int | None = None
    orders: int = 0
    value: int = 0
    items: int = 0
    refs: list[str] | None = None
    amounts: list[int | None] | None = None
    once: bool = False
    tomb: str | None = None


class Entry(msgspec.Struct, gc=False):
    """A row on its way: its line, its decision, and whose it is."""

    line: Line
    facts: Facts | None
    visitor: UUID | None
    tomb: str | None


Word: TypeAlias = tuple[UUID, int, str | None]
"""What a decision tells once: the decision, and the ``bit`` or the ``key``."""


class Choice(msgspec.Struct):
    """What goes in one statement: ``now``, with ``folds`` by decision. ``twins`` say the same as the entry beside them,
    and share its fate; ``later`` must wait until that of the others is known."""

    now: list[Entry]
    folds: dict[UUID, Fold]
    twins: list[tuple[Entry, Entry]]
    later: list[Entry]


def to_entry(n: int, row: EventRow) -> Entry:
    """The entry of the ``n``-th row.

    Raises:
        ValueError: when the row contradicts itself.
    """
    line = Line(n, row.event_id, row.type, row.occurred_ms, row.received_ms, row.site_id)
    line.c, line.ref = row.campaign_id, row.ref
    if row.type == "purchase":
        line.amt, line.cur = row.value_cents or 0, row.currency
    elif row.type == "rating":
        if row.score is None:
            raise ValueError("a rating has a score")
        line.score = row.score
    elif row.type == "web_vital":
        if row.metric is None or row.reading is None:
            raise ValueError("a web vital has a metric and a reading")
        line.m, line.x, line.b = row.metric, row.reading, bucket_of(row.reading)
    elif row.type == "custom":
        line.name, line.props = row.name, row.props
    decision = row.decision_id
    if decision is None:
        line.v = row.visitor_id
        return Entry(line, None, row.visitor_id, row.tomb)
    if row.campaign_id is None or row.variant_id is None:
        raise ValueError("a decision has a campaign and a variant")
    entry = Entry(line, None, row.visitor_id, row.tomb)
    tie(
        entry,
        Facts(
            decision,
            decision.int >> 80,
            row.campaign_id,
            row.variant_id,
            row.propensity,
            row.policy_version,
            row.segment,
            row.stage,
            row.once,
        ),
    )
    return entry


def tie(entry: Entry, facts: Facts) -> None:
    """Give an entry its decision, and with it what it may tell only once. Its visitor is kept by the exposure."""
    line = entry.line
    entry.facts, line.d, line.c, line.v = facts, facts.decision_id, facts.campaign_id, None
    if line.m is not None:
        line.bit = _VITAL_BITS[line.m]
    elif prefix := _BY_REF.get(line.t):
        line.key = prefix + line.ref
    elif line.name is not None:
        line.bit = _MARK_BITS.get(line.name, 0)
    else:
        line.bit = _ONCE_BITS.get(line.t, 0)


def choose(entries: Sequence[Entry]) -> Choice:
    """Sort out a batch so that the statement may take it as a set, and yet it is as if one came after the other."""
    choice = Choice([], {}, [], [])
    now: dict[Word, Entry] = {}
    ids: set[UUID] = set()
    waiting: set[Word | UUID] = set()
    for entry in entries:
        line, facts = entry.line, entry.facts
        word = (facts.decision_id, line.bit, line.key) if facts is not None and (line.bit or line.key) else None
        if line.id in waiting or (word is not None and word in waiting):
            wait = True
        elif word is not None and word in now:
            choice.twins.append((entry, now[word]))
            _name(choice.folds[word[0]], entry)
            continue
        else:
            wait = line.id in ids or (facts is not None and not _add(_fold(choice.folds, facts), entry))
        if wait:
            choice.later.append(entry)
            waiting.add(line.id)
            if word is not None:
                waiting.add(word)
            continue
        ids.add(line.id)
        if word is not None:
            now[word] = entry
        choice.now.append(entry)
    return choice


def _fold(folds: dict[UUID, Fold], facts: Facts) -> Fold:
    """The fold of a decision, begun if need be."""
    fold = folds.get(facts.decision_id)
    if fold is None:
        fold = folds[facts.decision_id] = Fold(
            facts.decision_id,
            facts.decided_ms,
            facts.campaign_id,
            facts.variant_id,
            facts.propensity,
            facts.policy_version,
            facts.segment,
            facts.stage,
            once=facts.once,
        )
    return fold


def _add(fold: Fold, entry: Entry) -> bool:
    """Add an event to its decision's fold; False when the fold is full."""
    line = entry.line
    if line.key is not None:
        if fold.orders >= MAX_ORDERS if line.amt is not None else fold.items >= MAX_ITEMS:
            return False
        fold.refs, fold.amounts = fold.refs or [], fold.amounts or []
        fold.refs.append(line.key)
        fold.amounts.append(line.amt)
    fold.seen |= line.bit
    _name(fold, entry)
    kind = line.t
    if kind == "impression":
        fold.shown = line.o
    elif kind == "click":
        fold.clicked = line.o
    elif kind == "purchase":
        fold.purchased = fold.purchased or line.o
        fold.orders += 1
        fold.value += line.amt or 0
    elif kind == "rating":
        fold.score = line.score
    elif kind == "view":
        fold.viewed = fold.viewed or line.o
        fold.items += 1
    elif kind == "cart":
        fold.carted = fold.carted or line.o
        fold.items += 1
    return True


def _name(fold: Fold, entry: Entry) -> None:
    """A decision is of the first visitor that an event names, be it a repeat."""
    if fold.v is None:
        fold.v = entry.visitor
        if fold.once:
            fold.tomb = entry.tomb


def encode(lines: Sequence[Any]) -> str:
    """A parameter of the statement.

    Raises:
        UnicodeError: when a text holds half a surrogate pair.
    """
    return msgspec.json.encode(lines).decode()
