"""Which variant to show, from memory: no disk, no network, no waiting.

For each live campaign there are the arms' propensities and a block of arms drawn from them beforehand. A decision takes
the next arm of the block, so the propensity it carries is exactly the one that was used, and all that is left to do for
one visitor is an id, a signature and three joined pieces of ready JSON.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
import numpy as np

from arauto.core.campaign import Campaign, CampaignPlan, Goal, Site, Variant
from arauto.core.clock import Clock
from arauto.core.door import from_data
from arauto.core.errors import AuthError, ConflictError, ForbiddenError, InputError, NotFoundError
from arauto.core.events import HELD_OUT, PART_MS, PARTS, SEGMENTS, DecideQuery
from arauto.core.receipts import ANONYMOUS, ReceiptBook
from arauto.experiments import (
    draw_arms,
    fixed_propensities,
    revenue_propensities,
    segment_propensities,
    thompson_propensities,
    top_two_propensities,
    uniform_propensities,
)
from arauto.loop.answers import DecideAnswer
from arauto.loop.sticky import Sticky

BLOCK = 1024
"""Arms drawn at a time."""
_RANDOM = 16 * 512
_HALVES = struct.Struct(">QQ")
_NIL = UUID(int=0)
_SEGMENT: Mapping[str | None, int] = {None: 0, **{name: place for place, name in enumerate(SEGMENTS)}}


class Counts(Protocol):
    """What the allocation reads of the store's totals of a variant, segment and (for the hour) part of the day."""

    @property
    def variant_id(self) -> int: ...
    @property
    def segment(self) -> str: ...
    @property
    def impressions(self) -> int: ...
    @property
    def clicks(self) -> int: ...
    @property
    def purchases(self) -> int: ...
    @property
    def value_cents(self) -> int: ...
    @property
    def value_sq(self) -> int: ...
    @property
    def ratings(self) -> int: ...
    @property
    def rating_sum(self) -> int: ...
    @property
    def part(self) -> int: ...


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A release on its way: ``share`` of the traffic gets the change, the rest stays with the control.

    ``release`` is its number. The change is the variants ``candidates`` (without any: those of the campaign), dealt out
    by the campaign's plan with the fields of ``change`` replaced. ``stage`` goes into the receipts: as it is for the
    control, plus one for the change.
    """

    stage: int
    share: float
    release: int = 0
    candidates: tuple[int, ...] = ()
    change: Mapping[str, Any] = {}


class Draw(NamedTuple):
    """One way that a decision can go: a variant, the stage its receipt tells of, and the probability of just that."""

    variant_id: int
    stage: int
    chance: float


Mix = tuple[Draw, ...]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign's traffic is shared. ``propensities`` is by variant id and sums to 1.

    ``mixes`` holds the draws in each segment of :data:`~arauto.core.events.SEGMENTS`, or one for all of them; with
    several, ``propensities`` is their mean. ``version`` is no serial number: it counts what was known when the policy
    was made. So processes that know the same make the same policy under the same version, and a refresh that brings no
    news changes nothing.

    ``mixes`` may also be one for each segment and part of the day, parts innermost. ``control`` is what the holdout is
    shown, ``release`` the number of the release on its way; 0: none.
    """

    campaign_id: int
    version: int
    propensities: dict[int, float]
    mixes: tuple[Mix, ...]
    control: int = 0
    release: int = 0


def reward_counts(goal: Goal, variants: Sequence[int], totals: Iterable[Counts]) -> tuple[list[float], list[int]]:
    """Successes and trials of each variant (by id) for the goal: of impressions clicked, bought after, or of ratings.

    A rating of 1 to 5 is a success of 0 to 1 (Agrawal & Goyal 2012, section 1.2: rewards in [0, 1]).
    """
    place = {variant_id: index for index, variant_id in enumerate(variants)}
    successes, trials = [0.0] * len(place), [0] * len(place)
    for total in totals:
        index = place.get(total.variant_id)
        if index is None:
            continue
        if goal == "rating":
            successes[index] += (total.rating_sum - total.ratings) / 4
            trials[index] += total.ratings
        else:
            successes[index] += total.clicks if goal == "click" else total.purchases
            trials[index] += total.impressions
    return successes, trials


def make_policy(
    campaign: Campaign, variants: Sequence[Variant], totals: Iterable[Counts], seed: int, ramp: Ramp | None = None
) -> Policy | None:
    """The policy of a campaign, or None when it is not live or has no live variant. A pure function, for any thread."""
    candidates = frozenset(ramp.candidates) if ramp else frozenset()
    arms = sorted(variant.id for variant in variants if variant.state == "live" and variant.id not in candidates)
    changed = sorted(variant.id for variant in variants if variant.id in candidates and variant.state != "retired")
    if campaign.state != "live" or not (arms or changed):
        return None
    rows = list(totals)
    names = {variant.id: variant.name for variant in variants}
    _, trials = counts = reward_counts(campaign.plan.goal, [*arms, *changed], rows)
    version = 2 * len(variants) - len(arms) + (ramp.stage if ramp else 0)
    if campaign.plan.allocation not in ("uniform", "fixed") or (ramp and "allocation" in ramp.change):
        version += sum(trials) + round(4 * sum(counts[0]))
    rng = np.random.default_rng([seed, version, 0])
    control = _shares(campaign.plan, arms, names, rows, rng)
    if ramp is None or not (changed or not candidates):
        mixes = [[Draw(arm, 0, share) for arm, share in one.items()] for one in control]
    else:
        plan = changed_plan(campaign.plan, ramp.change)
        change = _shares(plan, changed if candidates else arms, names, rows, rng)
        mixes = _join(control, change, ramp)
    if not mixes:
        return None
    return Policy(
        campaign_id=campaign.id,
        version=version % 2**32,
        propensities=_marginal(mixes),
        mixes=tuple(tuple(mix) for mix in mixes),
        control=min(control[0], default=0) if control else 0,
        release=ramp.release if ramp else 0,
    )


def changed_plan(plan: CampaignPlan, change: Mapping[str, Any]) -> CampaignPlan:
    """``plan`` with the fields of ``change`` replaced.

    Raises:
        InputError: it has no such field, or the value cannot be used.
    """
    return check_deal(from_data({**msgspec.to_builtins(plan), **change}, CampaignPlan)) if change else plan


def wants_hours(plan: CampaignPlan, ramp: Ramp | None = None) -> bool:
    """Whether the policy is to be made from totals that tell the hours apart."""
    allocations = {plan.allocation, ramp.change.get("allocation") if ramp else None}
    return "contextual" in allocations and "hour" in plan.features


def check_deal(plan: CampaignPlan) -> CampaignPlan:
    """The plan, if its traffic can be dealt out by it.

    Raises:
        InputError: it is to be split by shares, and there are none; it has a layer or a holdout, but no visitors to
            keep in or out of it; or the part of the layer is empty.
    """
    if plan.allocation == "fixed" and not plan.shares:
        raise InputError("is missing", field="shares", mend='give shares by variant, such as {"a": 0.5, "b": 0.5}')
    for name in ("layer", "holdout"):
        if getattr(plan, name) and plan.assignment != "visitor":
            raise InputError("needs visitors", field=name, mend='set assignment to "visitor"')
    if not plan.layer_part[0] < plan.layer_part[1]:
        raise InputError(f"is {list(plan.layer_part)}", field="layer_part", mend="give two rising places from 0 to 1")
    if plan.layer_part != (0.0, 1.0) and not plan.layer:
        raise InputError("is of no layer", field="layer_part", mend="name the layer")
    return plan


def _shares(
    plan: CampaignPlan,
    arms: Sequence[int],
    names: Mapping[int, str],
    totals: Sequence[Counts],
    rng: np.random.Generator,
) -> list[dict[int, float]]:
    """The propensity of each arm, in every segment or (a list of one) in all of them; empty when none can be shown."""
    if plan.allocation == "fixed":
        arms = [arm for arm in arms if names[arm] in plan.shares]
    if not arms:
        return []
    if plan.allocation == "contextual":
        return _contextual(plan, arms, totals, rng)
    if plan.allocation == "uniform":
        shares = uniform_propensities(len(arms))
    elif plan.allocation == "fixed":
        shares = fixed_propensities([plan.shares[names[arm]] for arm in arms])
    elif plan.allocation == "revenue":
        orders, shown = reward_counts("purchase", arms, totals)
        value, value_sq = (
            [sum(getattr(row, name) for row in totals if row.variant_id == arm) for arm in arms]
            for name in ("value_cents", "value_sq")
        )
        shares = revenue_propensities(orders, shown, value, value_sq, floor=plan.floor, rng=rng)
    elif plan.allocation == "top_two":
        shares = top_two_propensities(*reward_counts(plan.goal, arms, totals), floor=plan.floor)
    else:
        shares = thompson_propensities(*reward_counts(plan.goal, arms, totals), floor=plan.floor, rng=rng)
    return [dict(zip(arms, shares.tolist(), strict=True))]


def _contextual(
    plan: CampaignPlan, arms: Sequence[int], totals: Sequence[Counts], rng: np.random.Generator
) -> list[dict[int, float]]:
    """By segment, or by segment and part of the day (parts innermost), as the plan's features say."""
    parts = PARTS if "hour" in plan.features else 1
    cells: dict[tuple[str, int], list[Counts]] = {}
    for row in totals:
        cells.setdefault((row.segment, row.part % parts), []).append(row)
    contexts = [(segment, part) for segment in SEGMENTS for part in range(parts)]
    counts = [reward_counts(plan.goal, arms, cells.get(context, ())) for context in contexts]
    successes, trials = (np.array(side, dtype=np.float64).T for side in zip(*counts, strict=True))
    by_device, by_hour = np.repeat(np.eye(len(SEGMENTS)), parts, axis=0), np.tile(np.eye(parts), (len(SEGMENTS), 1))
    features = [by_device] if "device" in plan.features else []
    features += [by_hour] if parts > 1 else []
    found = segment_propensities(successes, trials, floor=plan.floor, rng=rng, features=np.hstack(features))
    return [dict(zip(arms, row.tolist(), strict=True)) for row in found]


def _join(control: list[dict[int, float]], change: list[dict[int, float]], ramp: Ramp) -> list[list[Draw]]:
    """Both sides of a release in one mix a segment. A side without arms leaves all to the other, which proves nothing
    and so carries no stage."""
    if not control or not change:
        return [[Draw(arm, 0, share) for arm, share in one.items()] for one in control or change]
    mixes = []
    for place in range(max(len(control), len(change))):
        mix = [
            Draw(arm, ramp.stage + side, weight * share)
            for side, weight, shares in ((0, 1.0 - ramp.share, control), (1, ramp.share, change))
            for arm, share in shares[place if len(shares) > 1 else 0].items()
        ]
        mixes.append(mix)
    return mixes


def _marginal(mixes: Sequence[Sequence[Draw]]) -> dict[int, float]:
    """The probability of each variant, over draws and (evenly) over segments."""
    parts: dict[int, list[float]] = {}
    for mix in mixes:
        for draw in mix:
            parts.setdefault(draw.variant_id, []).append(draw.chance / len(mixes))
    return {arm: math.fsum(chances) for arm, chances in sorted(parts.items())}


Arm = tuple[int, float, int, bytes, bytes]
"""A variant, its probability, the stage, and the answer's JSON before and after the receipt."""


class _Deck:
    """The arms of a segment, and a block of them drawn beforehand."""

    def __init__(self, mix: Mix, campaign: Campaign, known: Mapping[int, Variant], version: int) -> None:
        marginal = _marginal([mix])
        self.arms: list[Arm] = [
            (
                draw.variant_id,
                marginal[draw.variant_id],
                draw.stage,
                *_pieces(campaign, known[draw.variant_id], marginal[draw.variant_id], version),
            )
            for draw in mix
        ]
        self.mix = mix
        self._chances = np.array([draw.chance for draw in mix])
        self.block: list[int] = []
        self.place = BLOCK

    def shuffle(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def draw(self) -> None:
        self.block = draw_arms(self._chances, BLOCK, self._rng).tolist()
        self.place = 0


class _Live:
    """A live campaign as the hot path needs it."""

    def __init__(self, campaign_id: int, seed: int, lane: int) -> None:
        self.campaign_id = campaign_id
        self.seed = seed
        self.lane = lane
        self.served = 0
        self.origins: frozenset[str] = frozenset()
        self.parts = 1
        self.sticky: Sticky | None = None
        self.held: Arm | None = None
        self.decks: list[_Deck] = []
        self._decks: list[_Deck] = []
        self.policy: Policy | None = None
        self.version = 0

    def take(self, policy: Policy, campaign: Campaign, variants: Sequence[Variant]) -> None:
        known = {variant.id: variant for variant in variants}
        decks = [_Deck(mix, campaign, known, policy.version) for mix in policy.mixes]
        if policy != self.policy:
            self.policy = policy
            self.version = policy.version
            for place, deck in enumerate(decks):
                deck.shuffle(np.random.default_rng([self.seed, policy.version, 1 + place, self.lane]))
        else:
            # The texts may have changed; what was drawn stays drawn.
            for old, deck in zip(self._decks, decks, strict=True):
                deck.shuffle(old._rng)
                deck.block, deck.place = old.block, old.place
        self._decks = decks
        self.decks = decks if len(decks) > 1 else decks * len(SEGMENTS)
        self.parts = len(self.decks) // len(SEGMENTS)
        if campaign.plan.assignment == "visitor":
            self.sticky = Sticky(campaign, policy.release)
            if policy.control in known:
                pieces = _pieces(campaign, known[policy.control], 1.0, policy.version)
                self.held = (policy.control, 1.0, HELD_OUT, *pieces)


class Decider:
    """The decisions of one process.

    With ``lane`` 0 and a campaign's ``plan.seed``, the same seed and the same events give the same arms; processes that
    serve side by side take different lanes, so that they do not draw the same sequence.
    """

    def __init__(self, book: ReceiptBook, clock: Clock, *, lane: int = 0) -> None:
        self._book = book
        self._now_ms = clock.now_ms
        self._lane = lane
        self._by_name: dict[tuple[str, str], _Live] = {}
        self._by_id: dict[int, tuple[tuple[str, str], _Live]] = {}
        self._keys: frozenset[str] = frozenset()
        self._seeds: dict[int, int] = {}
        self._random = b""
        self._used = 0

    def seed_of(self, campaign: Campaign) -> int:
        """The seed of a campaign's draws in this process: its plan's, or one taken at random once."""
        if campaign.plan.seed is not None:
            return campaign.plan.seed
        return self._seeds.setdefault(campaign.id, int.from_bytes(os.urandom(7), "big"))

    def know(self, sites: Iterable[Site]) -> None:
        """The sites whose keys are good."""
        self._keys = frozenset(site.key for site in sites)

    def put(self, site: Site, campaign: Campaign, variants: Sequence[Variant], policy: Policy | None) -> None:
        """Serve ``campaign`` by ``policy`` from now on; with None, serve it no more."""
        name = (site.key, campaign.slug)
        _, live = self._by_id.get(campaign.id, (name, None))
        if policy is None:
            self.drop(campaign.id)
            return
        if live is None:
            live = _Live(campaign.id, self.seed_of(campaign), self._lane)
        live.origins = frozenset(site.origins)
        live.take(policy, campaign, variants)
        self._by_id[campaign.id] = (name, live)
        self._by_name[name] = live

    def drop(self, campaign_id: int) -> None:
        """Serve the campaign no more."""
        if found := self._by_id.pop(campaign_id, None):
            self._by_name.pop(found[0], None)

    def policy(self, campaign_id: int) -> Policy | None:
        """What is being served, or None."""
        found = self._by_id.get(campaign_id)
        return found[1].policy if found else None

    def served(self) -> dict[int, int]:
        """How many decisions each live campaign got from this process."""
        return {campaign_id: live.served for campaign_id, (_, live) in self._by_id.items()}

    def decide(self, query: DecideQuery, *, gpc: bool = False, origin: str | None = None) -> bytes:
        """One decision, as the JSON of a :class:`~arauto.loop.answers.DecideAnswer`.

        ``gpc`` (Global Privacy Control) and a consent that is not granted make it anonymous. ``origin`` is that of the
        page that asks, None when it is no browser, or when the page is ours.

        Raises:
            AuthError: no site has that key.
            NotFoundError: the site has no live campaign of that name with a live variant.
            ForbiddenError: the origin is not one of the site's.
            ConflictError: the campaign is of a layer, and the visitor not in its part (or without consent).
        """
        live = self._by_name.get((query.key, query.campaign))
        if live is None:
            raise self._absent(query)
        if origin is not None and origin not in live.origins:
            raise foreign_origin()
        visitor = query.visitor
        tag = ANONYMOUS
        if visitor is not None and query.consent == "granted" and not gpc:
            tag = self._book.visitor_tag(visitor)
        segment = _SEGMENT[query.device]
        place = segment
        if live.parts > 1:
            place = segment * live.parts + self._now_ms() // PART_MS % live.parts
        deck = live.decks[place]
        if live.sticky is None or (tag == ANONYMOUS and not live.sticky.layered):
            if deck.place == BLOCK:
                deck.draw()
            arm = deck.arms[deck.block[deck.place]]
            deck.place += 1
        else:
            arm = self._of_visitor(live, live.sticky, deck, tag)
        live.served += 1
        variant_id, share, stage, head, tail = arm
        decision = self._decision_id()
        receipt = self._book.sign_facts(
            decision,
            live.campaign_id,
            variant_id,
            share,
            live.version,
            segment,
            tag,
            stage,
        )
        text = decision.hex()
        uuid = f'{{"decision":"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}'
        return b"".join((uuid.encode(), head, receipt, tail))

    def _of_visitor(self, live: _Live, sticky: Sticky, deck: _Deck, tag: bytes) -> Arm:
        """What the visitor behind ``tag`` is shown, whenever they come.

        Raises:
            ConflictError: they are not in the campaign's part of its layer.
        """
        if not sticky.inside(tag):
            raise ConflictError(
                "this visitor is not in the campaign's part of its layer", field="visitor", mend="show your own content"
            )
        if live.held is not None and sticky.held(tag):
            return live.held
        return deck.arms[sticky.draw(tag, deck.mix)]

    def _decision_id(self) -> bytes:
        """The 16 bytes of a UUIDv7 (RFC 9562, section 5.7). The system is asked for randomness once for many."""
        used = self._used
        if used == len(self._random):
            self._random, used = os.urandom(_RANDOM), 0
        high, low = _HALVES.unpack_from(self._random, used)
        self._used = used + 16
        stamp = (self._now_ms() & 0xFFFFFFFFFFFF) << 16
        return _HALVES.pack(stamp | 0x7000 | high & 0xFFF, 0x8000000000000000 | low & 0x3FFFFFFFFFFFFFFF)

    def _absent(self, query: DecideQuery) -> Exception:
        if query.key not in self._keys:
            return unknown_key()
        return NotFoundError(
            "is not a live campaign of this site", field="campaign", mend="launch it, or correct its name in the page"
        )


def unknown_key() -> AuthError:
    """The error for a site key that is nobody's."""
    return AuthError("is not the key of a site", field="key", mend="copy the site's key again")


def foreign_origin() -> ForbiddenError:
    """The error for a page of another origin than the site's."""
    return ForbiddenError(
        "this page's origin is not one of the site's",
        field="Origin",
        mend="add the origin to the site, or mend the key",
    )


def _pieces(campaign: Campaign, variant: Variant, share: float, version: int) -> tuple[bytes, bytes]:
    """The answer's JSON between the decision id and the receipt, and after the receipt."""
    blank = msgspec.json.encode(
        DecideAnswer(
            decision=_NIL,
            campaign=campaign.slug,
            variant=variant.name,
            copy=variant.copy,
            call_to_action=campaign.message.call_to_action,
            link=campaign.message.link,
            propensity=share,
            policy_version=version,
            receipt="",
            simulated=campaign.plan.simulated,
        )
    )
    # The receipt comes after every free text, and nothing but a boolean after it: the last one found is the field.
    head, mark, tail = blank.rpartition(b'"receipt":"')
    return head[len(f'{{"decision":"{_NIL}') :] + mark, tail
