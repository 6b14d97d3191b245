"""Which variant to show, from memory: no disk, no network, no waiting.

For each live campaign there are the arms' propensities and a block of arms drawn from them beforehand. A decision takes
the next arm of the block, so the propensity it carries is exactly the one that was used, and all that is left to do for
one visitor is an id, a signature and three joined pieces of ready JSON.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec
import numpy as np

from arauto.core.campaign import Campaign, Goal, Site, Variant
from arauto.core.clock import Clock
from arauto.core.errors import AuthError, ForbiddenError, NotFoundError
from arauto.core.events import SEGMENTS, DecideQuery
from arauto.core.receipts import ANONYMOUS, ReceiptBook
from arauto.experiments import draw_arms, thompson_propensities, uniform_propensities
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
    def impressions(self) -> int: ...
    @property
    def clicks(self) -> int: ...
    @property
    def purchases(self) -> int: ...
    @property
    def ratings(self) -> int: ...
    @property
    def rating_sum(self) -> int: ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign's traffic is shared. ``propensities`` is by variant id and sums to 1.

    ``version`` is no serial number: it counts what was known when the policy was made. So processes that know the same
    make the same policy under the same version, and a refresh that brings no news changes nothing.
    """

    campaign_id: int
    version: int
    propensities: dict[int, float]


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


def make_policy(campaign: Campaign, variants: Sequence[Variant], totals: Iterable[Counts], seed: int) -> Policy | None:
    """The policy of a campaign, or None when it is not live or has no live variant. A pure function, for any thread."""
    arms = sorted(variant.id for variant in variants if variant.state == "live")
    if campaign.state != "live" or not arms:
        return None
    plan = campaign.plan
    successes, trials = reward_counts(plan.goal, arms, totals)
    version = 2 * len(variants) - len(arms)
    if plan.allocation == "uniform":
        shares = uniform_propensities(len(arms))
    else:
        version += sum(trials) + round(4 * sum(successes))
        rng = np.random.default_rng([seed, version, 0])
        shares = thompson_propensities(successes, trials, floor=plan.floor, rng=rng)
    return Policy(
        campaign_id=campaign.id, version=version % 2**32, propensities=dict(zip(arms, shares.tolist(), strict=True))
    )


class _Live:
    """A live campaign as the hot path needs it."""

    def __init__(self, campaign_id: int, seed: int, lane: int) -> None:
        self.campaign_id = campaign_id
        self.seed = seed
        self.lane = lane
        self.served = 0
        self.origins: frozenset[str] = frozenset()
        self.arms: list[tuple[int, float, bytes, bytes]] = []
        self.policy: Policy | None = None
        self.version = 0

    def take(self, policy: Policy, campaign: Campaign, variants: Sequence[Variant]) -> None:
        known = {variant.id: variant for variant in variants}
        self.arms = [
            (variant_id, share, *_pieces(campaign, known[variant_id], share, policy.version))
            for variant_id, share in policy.propensities.items()
        ]
        if policy != self.policy:
            self.policy = policy
            self.version = policy.version
            self.shares = np.array(list(policy.propensities.values()))
            self.rng = np.random.default_rng([self.seed, policy.version, 1, self.lane])
            self.draw()

    def draw(self) -> None:
        self.block: list[int] = draw_arms(self.shares, BLOCK, self.rng).tolist()
        self.place = 0


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
        if live.place == BLOCK:
            live.draw()
        arm = live.block[live.place]
        live.place += 1
        live.served += 1
        variant_id, share, head, tail = live.arms[arm]
        decision = self._decision_id()
        receipt = self._book.sign_facts(
            decision,
            live.campaign_id,
            variant_id,
            share,
            live.version,
            _SEGMENT[query.device],
            tag,
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
