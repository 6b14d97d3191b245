"""Which variant to show, from memory: no disk, no network, no waiting.

For each live campaign there are the arms' propensities and a block of arms drawn from them beforehand. A decision takes
the next arm of the block, so the propensity it carries is exactly the one that was used, and all that is left to do for
one visitor is an id, a signature and three joined pieces of ready JSON.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
import numpy as np

from arauto.core.campaign import Campaign, CampaignPlan, Goal, Site, Variant
from arauto.core.clock import Clock
from arauto.core.door import from_data
from arauto.core.errors import AuthError, ForbiddenError, InputError, NotFoundError
from arauto.core.events import SEGMENTS, DecideQuery
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

BLOCK = 1024
"""Arms drawn at a time."""
_RANDOM = 16 * 512
_HALVES = struct.Struct(">QQ")
_NIL = UUID(int=0)
_SEGMENT: Mapping[str | None, int] = {None: 0, **{name: place for place, name in enumerate(SEGMENTS)}}


class Counts(Protocol):
    """What the allocation reads of the store's totals of a variant (and segment)."""

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


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A release on its way: ``share`` of the traffic gets the change, the rest stays with the control.

    The change is the variants ``candidates`` (without any: those of the campaign), dealt out by the campaign's plan
    with the fields of ``change`` replaced. ``stage`` goes into the receipts: as it is for the control, plus one for the
    change.
    """

    stage: int
    share: float
    candidates: tuple[int, ...] = ()
    change: Mapping[str, Any] = {}


class Draw(NamedTuple):
    """One way that a decision can go: a variant, the stage its receipt tells of, and the probability of just that."""

    variant_id: int
    stage: int
    chance: float


Mix = tuple[Draw, ...]


class Groups(NamedTuple):
    """What the audience knows of some variants: the ids of its segments, and successes and trials by variant and
    segment."""

    ids: tuple[int, ...]
    successes: np.ndarray[Any, np.dtype[np.float64]]
    trials: np.ndarray[Any, np.dtype[np.float64]]

    def only(self, first: int, then: int | None = None) -> Groups:
        """Of the ``first`` variants, or of those ``then`` after them."""
        rows = slice(first) if then is None else slice(first, first + then)
        return Groups(self.ids, self.successes[rows], self.trials[rows])


Audience = Callable[[Sequence[int], Goal], Groups]
"""Tells the counts of variants (by id) for a goal."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign's traffic is shared. ``propensities`` is by variant id and sums to 1.

    ``mixes`` holds the draws in each segment of :data:`~arauto.core.events.SEGMENTS`, or one for all of them; with
    ``groups``, one for visitors without a segment of the audience, then one for each of those. With several,
    ``propensities`` is their mean. ``version`` is no serial number: it counts what was known when the policy
    was made. So processes that know the same make the same policy under the same version, and a refresh that brings no
    news changes nothing.
    """

    campaign_id: int
    version: int
    propensities: dict[int, float]
    mixes: tuple[Mix, ...]
    groups: tuple[int, ...] = ()


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
    campaign: Campaign,
    variants: Sequence[Variant],
    totals: Iterable[Counts],
    seed: int,
    ramp: Ramp | None = None,
    audience: Audience | None = None,
) -> Policy | None:
    """The policy of a campaign, or None when it is not live or has no live variant. For any thread; pure, as far as
    ``audience`` is."""
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
    groups = _groups(campaign, [*arms, *changed], audience)
    if groups is not None:
        version += zlib.crc32(repr(groups.ids).encode() + groups.successes.tobytes() + groups.trials.tobytes())
    rng = np.random.default_rng([seed, version, 0])
    control = _shares(campaign.plan, arms, names, rows, rng, groups and groups.only(len(arms)))
    if ramp is None or not (changed or not candidates):
        mixes = [[Draw(arm, 0, share) for arm, share in one.items()] for one in control]
    else:
        plan = changed_plan(campaign.plan, ramp.change)
        of_change = groups and (groups.only(len(arms), len(changed)) if candidates else groups.only(len(arms)))
        change = _shares(plan, changed if candidates else arms, names, rows, rng, of_change)
        mixes = _join(control, change, ramp)
    if not mixes:
        return None
    return Policy(
        campaign_id=campaign.id,
        version=version % 2**32,
        propensities=_marginal(mixes),
        mixes=tuple(tuple(mix) for mix in mixes),
        groups=groups.ids if groups is not None and len(mixes) > 1 else (),
    )


def _groups(campaign: Campaign, arms: Sequence[int], audience: Audience | None) -> Groups | None:
    """What the audience knows of the arms, when the campaign asks for it and there are segments."""
    if audience is None or campaign.plan.allocation != "audience" or campaign.plan.goal == "rating":
        return None
    found = audience(arms, campaign.plan.goal)
    return found if found.ids else None


def changed_plan(plan: CampaignPlan, change: Mapping[str, Any]) -> CampaignPlan:
    """``plan`` with the fields of ``change`` replaced.

    Raises:
        InputError: it has no such field, or the value cannot be used.
    """
    return check_deal(from_data({**msgspec.to_builtins(plan), **change}, CampaignPlan)) if change else plan


def check_deal(plan: CampaignPlan) -> CampaignPlan:
    """The plan, if its traffic can be dealt out by it.

    Raises:
        InputError: it is to be split by shares, and there are none.
    """
    if plan.allocation == "fixed" and not plan.shares:
        raise InputError("is missing", field="shares", mend='give shares by variant, such as {"a": 0.5, "b": 0.5}')
    return plan


def _shares(
    plan: CampaignPlan,
    arms: Sequence[int],
    names: Mapping[int, str],
    totals: Sequence[Counts],
    rng: np.random.Generator,
    groups: Groups | None = None,
) -> list[dict[int, float]]:
    """The propensity of each arm, in every segment or (a list of one) in all of them; empty when none can be shown.

    ``groups`` says that the campaign's traffic is told apart by the audience's segments, and so not by device.
    """
    if plan.allocation == "fixed":
        arms = [arm for arm in arms if names[arm] in plan.shares]
    if not arms:
        return []
    if plan.allocation == "contextual" and groups is None:
        cells = [reward_counts(plan.goal, arms, [row for row in totals if row.segment == name]) for name in SEGMENTS]
        successes, trials = (np.array(side, dtype=np.float64).T for side in zip(*cells, strict=True))
        found = segment_propensities(successes, trials, floor=plan.floor, rng=rng)
        return [dict(zip(arms, row.tolist(), strict=True)) for row in found]
    if plan.allocation == "audience" and groups is not None:
        return _by_group(plan, arms, totals, groups, rng)
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


def _by_group(
    plan: CampaignPlan, arms: Sequence[int], totals: Sequence[Counts], groups: Groups, rng: np.random.Generator
) -> list[dict[int, float]]:
    """The propensities of those without a segment, who are all of the traffic less what the segments tell of it, and of
    each segment."""
    successes, trials = (np.array(side, dtype=np.float64) for side in reward_counts(plan.goal, arms, totals))
    rest = np.maximum(trials - groups.trials.sum(axis=1), 0.0)
    known = np.clip(successes - groups.successes.sum(axis=1), 0.0, rest)
    found = segment_propensities(
        np.column_stack([known, groups.successes]), np.column_stack([rest, groups.trials]), floor=plan.floor, rng=rng
    )
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


class _Deck:
    """The arms of a segment, and a block of them drawn beforehand."""

    def __init__(self, mix: Mix, campaign: Campaign, known: Mapping[int, Variant], version: int) -> None:
        marginal = _marginal([mix])
        self.arms = [
            (
                draw.variant_id,
                marginal[draw.variant_id],
                draw.stage,
                *_pieces(campaign, known[draw.variant_id], marginal[draw.variant_id], version),
            )
            for draw in mix
        ]
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
        self.decks: list[_Deck] = []
        self._decks: list[_Deck] = []
        self.policy: Policy | None = None
        self.version = 0
        self.groups: dict[int, int] = {}

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
        self.groups = {group: place for place, group in enumerate(policy.groups, 1)}
        self.decks = decks if len(decks) > 1 else decks * len(SEGMENTS)


class Decider:
    """The decisions of one process.

    With ``lane`` 0 and a campaign's ``plan.seed``, the same seed and the same events give the same arms; processes that
    serve side by side take different lanes, so that they do not draw the same sequence. ``group_of`` tells a visitor's
    segment of the audience.
    """

    def __init__(
        self, book: ReceiptBook, clock: Clock, *, lane: int = 0, group_of: Callable[[UUID], int] = lambda _: -1
    ) -> None:
        self._book = book
        self._group_of = group_of
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
        segment = place = _SEGMENT[query.device]
        if live.groups:
            # Whoever stays anonymous has no segment, whatever is known of them.
            place = 0 if visitor is None or tag == ANONYMOUS else live.groups.get(self._group_of(visitor), 0)
        deck = live.decks[place]
        if deck.place == BLOCK:
            deck.draw()
        arm = deck.block[deck.place]
        deck.place += 1
        live.served += 1
        variant_id, share, stage, head, tail = deck.arms[arm]
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
