"""Simulated visitors: made-up traffic for texts that no real person has seen. Everything it leads to is *simulated*.

Visitors have a hidden taste, so that there is something to learn. It is drawn from a seed and documented here; it says
nothing about real people:

- *liking* of a text: each distinct word (lower case, its first six letters) has a weight from the standard normal
  distribution, hashed from seed and word; the liking is their sum over √(number of words), so about standard normal.
- click after an impression: logit 8 % + 0.45 × liking of title and description, ± 0.1 for mobile and desktop.
- cart after a click 45 %; purchase after a cart: logit 45 % + 0.3 × liking of the description.
- rating after a purchase 40 %: 1 + Binomial(4, logit 70 % + 0.3 × liking).
- load times: log-normal, σ = 0.4, median LCP 1.6 s (mobile 2.3 s), the same for every variant.

Pages behave as real ones do: one visitor in ten never sees what was decided, some events come late and out of order,
some are sent twice, some visitors deny consent or send Global Privacy Control.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from decimal import Decimal
from statistics import NormalDist
from typing import Literal
from uuid import UUID

import msgspec
import numpy as np

from arauto.core.campaign import Copy
from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import InputError
from arauto.core.events import Cart, Click, Device, Event, Impression, Purchase, Rating, View, VitalName, WebVital
from arauto.core.ids import uuid7
from arauto.loop.answers import DecideAnswer
from arauto.loop.remote import Remote

Progress = Callable[[int, int], None]
"""Told (done, total) now and then."""

_TELL_EVERY = 20
_WORD = re.compile(r"[^\W\d_]+")
_NORMAL = NormalDist()
_DEVICES: tuple[Device | None, ...] = ("mobile", "desktop", "tablet", None)
_DEVICE_BOUNDS = (0.60, 0.93, 0.97)
_DEVICE_SHIFT: dict[Device | None, float] = {"mobile": 0.1, "desktop": -0.1, "tablet": 0.0, None: 0.0}
_LCP_MS: dict[Device | None, float] = {"mobile": 2300.0, "desktop": 1600.0, "tablet": 1900.0, None: 1600.0}


class Taste:
    """What the simulated visitors of one seed like. The same text is liked the same for ever."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._weights: dict[str, float] = {}

    def liking(self, text: str, facet: str = "") -> float:
        """About standard normal over texts. ``facet`` names one of several independent tastes."""
        words = {word[:6].lower() for word in _WORD.findall(text)}
        return sum(self._weight(word, facet) for word in words) / math.sqrt(max(1, len(words)))

    def click_rate(self, copy: Copy, device: Device | None = None) -> float:
        """The probability of a click after an impression."""
        return _logistic(0.08, 0.45 * self.liking(f"{copy.title} {copy.description}") + _DEVICE_SHIFT[device])

    def purchase_rate(self, copy: Copy) -> float:
        """The probability of a purchase after something was put into the cart."""
        return _logistic(0.45, 0.3 * self.liking(copy.description, "purchase"))

    def happiness(self, copy: Copy) -> float:
        """The success rate p of a rating, 1 + Binomial(4, p)."""
        return _logistic(0.70, 0.3 * self.liking(copy.description, "rating"))

    def _weight(self, word: str, facet: str) -> float:
        name = f"{self._seed}/{facet}/{word}"
        if name not in self._weights:
            digest = hashlib.blake2b(name.encode(), digest_size=6).digest()
            self._weights[name] = _NORMAL.inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2**48)
        return self._weights[name]


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated visitor, and the dice of everything they may do, thrown before anything is decided.

    ``habit`` is about the page: ``late`` events arrive at the end of the run, out of order; ``twice``: all are sent
    again; ``impatient``: there are two clicks.
    """

    visitor: UUID
    device: Device | None
    consent: Literal["granted", "denied"]
    gpc: bool
    habit: Literal["plain", "late", "twice", "impatient"]
    dice: dict[str, float]

    @property
    def known(self) -> bool:
        """Whether anything personal may be kept."""
        return self.consent == "granted" and not self.gpc


_DICE = ("see", "click", "cart", "buy", "again", "join", "rate", "score", "value", "speed", "jitter")


def make_person(seed: int, index: int) -> Person:
    """Visitor number ``index`` of a seed: always the same."""
    rng = np.random.default_rng([seed, index])
    dice = dict(zip(_DICE, rng.random(len(_DICE)).tolist(), strict=True))
    consent, habit, device = rng.random(3).tolist()
    return Person(
        visitor=UUID(bytes=rng.bytes(16), version=4),
        device=_DEVICES[bisect_right(_DEVICE_BOUNDS, device)],
        consent="denied" if consent < 0.25 else "granted",
        gpc=consent > 0.92,
        habit="late" if habit < 0.05 else "twice" if habit < 0.08 else "impatient" if habit < 0.11 else "plain",
        dice=dice,
    )


class ArmSent(msgspec.Struct, kw_only=True):
    """What one variant was sent in one segment, each thing once: what the store's totals must equal exactly.

    ``purchases`` are decisions that bought, ``orders`` the orders themselves; money is in cents.
    """

    variant: str
    segment: str
    impressions: int = 0
    views: int = 0
    clicks: int = 0
    carts: int = 0
    purchases: int = 0
    orders: int = 0
    value_cents: int = 0
    ratings: int = 0
    rating_sum: int = 0
    vitals: int = 0


class Sent(msgspec.Struct, kw_only=True):
    """What a simulation sent. ``stored`` and ``duplicates`` are the server's answers, added up.

    ``events`` counts different events; ``repeats`` those that were sent again or meant the same. Without lost answers
    ``stored == events`` and ``duplicates == repeats``.
    """

    campaign: str
    seed: int
    first: int
    visitors: int
    decisions: int = 0
    requests: int = 0
    events: int = 0
    repeats: int = 0
    stored: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    arms: list[ArmSent] = []


class Story(msgspec.Struct, frozen=True):
    """What a visitor's page sends: batches in order, and how many of the events repeat what was already said."""

    batches: list[list[Event]]
    repeats: int


def tell_story(person: Person, answer: DecideAnswer, taste: Taste, now_ms: int, currency: str = "BRL") -> Story:
    """All that happens after a decision. Pure but for the random event ids."""
    dice = person.dice
    if dice["see"] >= 0.9:
        return Story([], 0)
    page = _Page(person, answer.receipt, now_ms)
    landing: list[Event] = [page.event(Impression), *page.load_times()]
    repeats = 0
    outcome: list[Event] = []
    if dice["click"] < taste.click_rate(answer.copy, person.device):
        landing += [page.event(Click), page.event(View)]
        if person.habit == "impatient":
            landing.append(page.event(Click))
            repeats += 1
        outcome = _outcome(person, answer.copy, taste, page, currency)
    batches = [batch for batch in (landing, outcome) if batch]
    if person.habit == "late":
        # The last thing that happened arrives first.
        batches = [batch[::-1] for batch in reversed(batches)]
    elif person.habit == "twice":
        repeats += sum(map(len, batches))
        batches += batches
    return Story(batches, repeats)


class _Page:
    """The page of one visit: fills in what all of its events have in common."""

    def __init__(self, person: Person, receipt: str, now_ms: int) -> None:
        self._person = person
        self._receipt = receipt
        self._at = now_ms

    def event(self, kind: Callable[..., Event], *, loose: bool = False, **facts: object) -> Event:
        """An event of now; a ``loose`` one comes without the receipt."""
        return kind(
            id=uuid7(self._at),
            at=self._at,
            receipt=None if loose else self._receipt,
            visitor=self._person.visitor if self._person.consent == "granted" else None,
            **facts,
        )

    def load_times(self) -> Iterator[Event]:
        dice = self._person.dice
        factor = math.exp(0.4 * _NORMAL.inv_cdf(min(max(dice["speed"], 1e-9), 1 - 1e-9)))
        lcp = _LCP_MS[self._person.device] * factor
        readings: dict[VitalName, float] = {
            "TTFB": 0.2 * lcp,
            "FCP": 0.6 * lcp,
            "LCP": lcp,
            "load": lcp * (1.1 + 0.4 * dice["jitter"]),
            "CLS": 0.2 * dice["jitter"] ** 2,
            "INP": 60.0 + 300.0 * dice["jitter"] ** 3,
        }
        for metric, reading in readings.items():
            yield self.event(WebVital, metric=metric, reading=round(reading, 3))


def _outcome(person: Person, copy: Copy, taste: Taste, page: _Page, currency: str) -> list[Event]:
    dice = person.dice
    if dice["cart"] >= 0.45:
        return []
    events = [page.event(Cart)]
    if dice["buy"] >= taste.purchase_rate(copy):
        return events
    value = Decimal(1500 + int(30_000 * dice["value"] ** 3)) / 100
    # The shop's checkout knows the visitor, not the receipt: the store must find the impression itself.
    loose = person.known and person.habit == "plain" and dice["join"] < 0.3
    for order in range(2 if person.known and dice["again"] < 0.1 else 1):
        name = f"order-{person.visitor.hex[:12]}-{order}"
        events.append(page.event(Purchase, loose=loose, value=value, currency=currency, order=name))
    if dice["rate"] < 0.4:
        events.append(page.event(Rating, score=_score(dice["score"], taste.happiness(copy))))
    return events


def _score(die: float, p: float) -> int:
    """1 + Binomial(4, p), by inversion of ``die``."""
    reached = 0.0
    for successes in range(4):
        reached += math.comb(4, successes) * p**successes * (1 - p) ** (4 - successes)
        if die < reached:
            return 1 + successes
    return 5


def _logistic(base: float, shift: float) -> float:
    """The probability whose logit is that of ``base`` plus ``shift``."""
    return 1.0 / (1.0 + (1.0 - base) / base * math.exp(-shift))


class Simulation:
    """Drives simulated visitors through a campaign whose plan says ``simulated``, ``concurrency`` of them at a time."""

    def __init__(
        self,
        remote: Remote,
        campaign: str,
        *,
        seed: int,
        concurrency: int = 16,
        currency: str = "BRL",
        clock: Clock | None = None,
    ) -> None:
        self.taste = Taste(seed)
        self._remote = remote
        self._campaign = campaign
        self._seed = seed
        self._concurrency = concurrency
        self._currency = currency
        self._clock = clock or SystemClock()

    async def run(self, visitors: int, *, first: int = 0, progress: Progress | None = None) -> Sent:
        """Send visitors ``first`` to ``first + visitors − 1``. With ``concurrency=1`` a run is repeatable.

        Raises:
            InputError: when the campaign does not say that it is simulated, or the server refused an event.
            ArautoError: what the server answered.
        """
        sent = Sent(campaign=self._campaign, seed=self._seed, first=first, visitors=visitors, arms=[])
        arms: dict[tuple[str, str], ArmSent] = {}
        late: list[tuple[Person, list[Event]]] = []
        queue = iter(range(first, first + visitors))
        done = itertools.count(1)
        started = time.perf_counter()

        async def walk() -> None:
            for index in queue:
                await self._visit(make_person(self._seed, index), sent, arms, late)
                count = next(done)
                if progress is not None and (count % _TELL_EVERY == 0 or count == visitors):
                    progress(count, visitors)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, visitors)):
                    group.create_task(walk())
        except ExceptionGroup as failures:
            # The first says it all: the walkers fail of the same cause.
            raise failures.exceptions[0] from None
        for person, batch in late:
            await self._send(person, batch, sent)
        sent.seconds = time.perf_counter() - started
        sent.arms = [arms[key] for key in sorted(arms)]
        return sent

    async def _visit(
        self,
        person: Person,
        sent: Sent,
        arms: dict[tuple[str, str], ArmSent],
        late: list[tuple[Person, list[Event]]],
    ) -> None:
        visitor = person.visitor if person.consent == "granted" else None
        answer = await self._remote.decide(
            self._campaign, visitor=visitor, consent=person.consent, device=person.device, gpc=person.gpc
        )
        if not answer.simulated:
            raise InputError(
                "is not marked as simulated, and made-up visitors may not be mixed with real ones",
                field="campaign",
                mend="make a campaign with `simulated = true` in its plan",
            )
        sent.decisions += 1
        sent.requests += 1
        story = tell_story(person, answer, self.taste, self._clock.now_ms(), self._currency)
        segment = person.device or "unknown"
        arm = arms.setdefault((answer.variant, segment), ArmSent(variant=answer.variant, segment=segment))
        sent.repeats += story.repeats
        sent.events += sum(map(len, story.batches)) - story.repeats
        _count(arm, story)
        if person.habit == "late":
            late.extend((person, batch) for batch in story.batches)
            return
        for batch in story.batches:
            await self._send(person, batch, sent)

    async def _send(self, person: Person, batch: list[Event], sent: Sent) -> None:
        answer = await self._remote.send(batch, consent=person.consent, gpc=person.gpc)
        if answer.refused:
            first = answer.refused[0]
            raise InputError(f"an event was refused: {first.problem}", field=first.field, mend=first.mend)
        sent.requests += 1
        sent.stored += answer.stored
        sent.duplicates += answer.duplicates


_COUNTER = {Impression: "impressions", View: "views", Click: "clicks", Cart: "carts", WebVital: "vitals"}


def _count(arm: ArmSent, story: Story) -> None:
    """Add a story to the ledger: each event once, one click of a decision, one buyer however many orders."""
    events = {event.id: event for batch in story.batches for event in batch}.values()
    clicked = bought = False
    for event in events:
        if isinstance(event, Purchase):
            arm.orders += 1
            arm.value_cents += int(event.value * 100)
            arm.purchases += not bought
            bought = True
        elif isinstance(event, Rating):
            arm.ratings += 1
            arm.rating_sum += event.score
        elif not (isinstance(event, Click) and clicked):
            name = _COUNTER[type(event)]
            setattr(arm, name, getattr(arm, name) + 1)
            clicked |= isinstance(event, Click)
