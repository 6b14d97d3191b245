"""Which variant to show, from memory: no disk, no network, no waiting.

For each live campaign there are the arms' propensities and a block of arms drawn from them beforehand. A decision takes
the next arm of the block, so the propensity it carries is exactly the one that was used, and all that is left to do for
one visitor is an id, a signature and three joined pieces of ready JSON.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
import numpy as np

from arauto.core.campaign import Campaign, Site, Variant
from arauto.core.clock import Clock
from arauto.core.errors import AuthError, ConflictError, ForbiddenError, NotFoundError
from arauto.core.events import DEVICE_FLOOR, HELD_OUT, PART_MS, SEGMENTS, CandidatesQuery, DecideQuery
from arauto.core.receipts import ANONYMOUS, ReceiptBook
from arauto.experiments import draw_arms
from arauto.loop.answers import DecideAnswer
from arauto.loop.policy import Mix, Policy, marginal
from arauto.loop.sticky import Sticky

BLOCK = 1024
"""Arms drawn at a time."""
_RANDOM = 16 * 512
_HALVES = struct.Struct(">QQ")
_NIL = UUID(int=0)
_SEGMENT: Mapping[str | None, int] = {None: 0, **{name: place for place, name in enumerate(SEGMENTS)}}

Arm = tuple[int, float, int, bytes, bytes]
"""A variant, its probability, the stage, and the answer's JSON before and after the receipt."""


class _Deck:
    """The arms of a segment, and a block of them drawn beforehand."""

    def __init__(self, mix: Mix, campaign: Campaign, known: Mapping[int, Variant], version: int) -> None:
        overall = marginal([mix])
        self.arms: list[Arm] = [
            (
                draw.variant_id,
                overall[draw.variant_id],
                draw.stage,
                *_pieces(campaign, known[draw.variant_id], overall[draw.variant_id], version),
            )
            for draw in mix
        ]
        self.mix = mix
        self._chances = np.array([draw.chance for draw in mix])
        self.plain = not any(draw.stage for draw in mix)
        self.block: list[int] = []
        self.place = BLOCK

    def shuffle(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def draw(self) -> int:
        """The place of the next arm."""
        if self.place == BLOCK:
            self.block = draw_arms(self._chances, BLOCK, self._rng).tolist()
            self.place = 0
        self.place += 1
        return self.block[self.place - 1]


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
        self.parts = 1 if self.groups else len(self.decks) // len(SEGMENTS)
        if campaign.plan.assignment == "visitor":
            self.sticky = Sticky(campaign, policy.release)
            if policy.control in known:
                pieces = _pieces(campaign, known[policy.control], 1.0, policy.version)
                self.held = (policy.control, 1.0, HELD_OUT, *pieces)


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
            ConflictError: the campaign is of a layer, and the visitor not in its part (or without consent).
        """
        live, deck, segment, tag = self._place(query, gpc, origin)
        return self._answer(live, self._next(live, deck, tag), self._decision_id(), segment, tag)

    def candidates(self, query: CandidatesQuery, *, gpc: bool = False, origin: str | None = None) -> bytes:
        """Draws for the device to choose from, as the JSON of a :class:`~arauto.loop.answers.CandidatesAnswer`.

        They are the next arms of the block, each once, under one decision: the first that events tell of is the one
        that was shown. Where a visitor keeps a variant, or a release is on its way, there is one.

        Raises:
            ArautoError: as in :meth:`decide`.
        """
        live, deck, segment, tag = self._place(query, gpc, origin)
        decision, count = self._decision_id(), query.candidates
        if live.sticky is not None or not deck.plain:
            one = self._answer(live, self._next(live, deck, tag), decision, segment, tag)
            return b"".join((b'{"candidates":[', one, b'],"shares":[1.0],"floor":1.0}'))
        drawn = Counter(deck.draw() for _ in range(count))
        answers = (
            self._answer(live, deck.arms[place], decision, segment, tag, (count, times))
            for place, times in drawn.items()
        )
        shares = msgspec.json.encode([times / count for times in drawn.values()])
        tail = b'],"shares":%b,"floor":%.3f}' % (shares, DEVICE_FLOOR)
        return b"".join((b'{"candidates":[', b",".join(answers), tail))

    def _place(self, query: DecideQuery, gpc: bool, origin: str | None) -> tuple[_Live, _Deck, int, bytes]:
        """The campaign, the arms for this visitor, their segment and tag."""
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
        if live.parts > 1:
            place = segment * live.parts + self._now_ms() // PART_MS % live.parts
        elif live.groups:
            # Whoever stays anonymous has no segment, whatever is known of them.
            place = 0 if visitor is None or tag == ANONYMOUS else live.groups.get(self._group_of(visitor), 0)
        deck = live.decks[place]
        live.served += 1
        return live, deck, segment, tag

    def _next(self, live: _Live, deck: _Deck, tag: bytes) -> Arm:
        if live.sticky is None or (tag == ANONYMOUS and not live.sticky.layered):
            return deck.arms[deck.draw()]
        return self._of_visitor(live, live.sticky, deck, tag)

    def _answer(
        self, live: _Live, arm: Arm, decision: bytes, segment: int, tag: bytes, of: tuple[int, int] = (1, 1)
    ) -> bytes:
        variant_id, share, stage, head, tail = arm
        receipt = self._book.sign_facts(
            decision, live.campaign_id, variant_id, share, live.version, segment, tag, stage, of
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
