"""What to offer a visitor: what worked for similar visitors, by propensity-weighted outcomes, explored, with a reason.

For a variant, each showing to a neighbour counts with weight similarity / propensity, so that what was shown often is
not taken for what is liked (self-normalised inverse propensity, Swaminathan & Joachims 2015). The weighted rate is
worth as many trials as its effective sample size (Kish 1965) says and is drawn towards the rate among everyone; a draw
from the resulting beta ranks it (Thompson sampling), so what is little known is tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.audience.state import Showings, begins, bought, unpack
from arauto.core.brief import Language
from arauto.core.i18n import LANGUAGES, number, say

DAY_MS = 86_400_000
Goal = Literal["click", "purchase"]
LEAST_CHANCE = 0.01
"""Propensities below this weigh as this: the variance that one rare showing could bring is bounded."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of offers. ``prior`` is how many trials the rate among everyone is worth; a campaign is shown to one
    visitor at most ``cap`` times in ``cap_days``, and not for ``rest_days`` after they bought from it."""

    neighbours: int = 100
    prior: float = 50.0
    cap: int = 5
    cap_days: float = 1.0
    rest_days: float = 30.0


class Candidate(NamedTuple):
    """A variant that may be shown now, and its campaign."""

    variant: int
    campaign: int
    name: str = ""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A variant to show. ``rate`` estimates its goal for this visitor, worth ``trials`` effective showings."""

    variant: int
    campaign: int
    rate: float
    trials: float
    similar: int
    done: int
    reason: dict[Language, str]


class Tally(NamedTuple):
    """Showings of a variant, weighted: Σw, Σw·r and Σw²; and how many visitors saw it, and did it."""

    weight: float = 0.0
    reward: float = 0.0
    square: float = 0.0
    visitors: int = 0
    done: int = 0

    @property
    def worth(self) -> tuple[float, float]:
        """The effective sample size, and the rate."""
        weight, reward, square, _, _ = self
        return (weight * weight / square if square > 0 else 0.0), (reward / weight if weight > 0 else 0.0)

    @property
    def trials(self) -> float:
        """The effective sample size."""
        return self.worth[0]

    @property
    def rate(self) -> float:
        return self.worth[1]


_NONE = Tally()


def tally(seen: Showings, similarities: NDArray[np.float64], goal: Goal) -> dict[int, Tally]:
    """What visitors were shown, added up by variant. ``similarities`` weigh the visitors, by place."""
    if not len(seen.owners):
        return {}
    did = seen.bought if goal == "purchase" else seen.clicked
    order = seen.variants.argsort(kind="stable")
    new = begins(seen.variants[order])
    places = np.empty_like(order)
    places[order] = new.cumsum() - 1
    many = int(new.sum())
    weights = similarities[seen.owners] / np.maximum(seen.chances, LEAST_CHANCE)
    weight, square = np.bincount(places, weights, many), np.bincount(places, weights * weights, many)
    reward = np.bincount(places[did], weights[did], many)
    # A visitor's showings of one variant are together.
    each = (begins(seen.owners) | begins(places)).nonzero()[0]
    visitors, doers = (
        np.bincount(some, minlength=many) for some in (places[each], places[each[np.logical_or.reduceat(did, each)]])
    )
    columns = (one.tolist() for one in (weight, reward, square, visitors, doers))
    variants = seen.variants[order][new].tolist()
    return {variant: Tally(*row) for variant, *row in zip(variants, *columns, strict=True)}


def allowed(candidates: Iterable[Candidate], packed: bytes, now_ms: int, policy: Policy) -> list[Candidate]:
    """The candidates that are neither capped for this visitor nor of a campaign they just bought from."""
    options = list(candidates)
    campaign_of = {one.variant: one.campaign for one in options}
    recent: dict[int, int] = defaultdict(int)
    for one in unpack(packed):
        if one.kind == "impression" and one.code in campaign_of and now_ms - one.at_ms < policy.cap_days * DAY_MS:
            recent[campaign_of[one.code]] += 1
    rested = {
        campaign_of[code]
        for code, at_ms in bought(packed).items()
        if code in campaign_of and now_ms - at_ms < policy.rest_days * DAY_MS
    }
    return [one for one in options if one.campaign not in rested and recent[one.campaign] < policy.cap]


def choose(
    candidates: Sequence[Candidate],
    near: Mapping[int, Tally],
    everyone: Mapping[int, Tally],
    policy: Policy,
    rng: np.random.Generator,
    *,
    count: int = 3,
    goal: Goal = "click",
) -> list[Offer]:
    """At most ``count`` offers, the best draw first, one of each campaign.

    ``near`` is what neighbours saw and did; without it the rates among everyone decide, for the visitor nobody knows.
    """
    weight = sum(one.weight for one in everyone.values())
    base = (sum(one.reward for one in everyone.values()) + 0.5) / (weight + 10.0)
    prior = policy.prior
    rates, trials = [], []
    for one in candidates:
        every_trials, every_rate = everyone.get(one.variant, _NONE).worth
        own_trials, own_rate = near.get(one.variant, _NONE).worth
        general = (prior * base + every_trials * every_rate) / (prior + every_trials)
        rates.append((prior * general + own_trials * own_rate) / (prior + own_trials))
        trials.append(own_trials if near else every_trials)
    likely, strengths = np.array(rates), prior + np.array(trials)
    draws = rng.beta(np.maximum(strengths * likely, 1e-3), np.maximum(strengths * (1 - likely), 1e-3)).tolist()
    best: dict[int, int] = {}
    for place in sorted(range(len(draws)), key=lambda place: (-draws[place], candidates[place].variant)):
        best.setdefault(candidates[place].campaign, place)
    offers = []
    for campaign, place in list(best.items())[:count]:
        variant = candidates[place].variant
        own, every = near.get(variant, _NONE), everyone.get(variant, _NONE)
        offers.append(
            Offer(
                variant=variant,
                campaign=campaign,
                rate=rates[place],
                trials=trials[place],
                similar=own.visitors,
                done=own.done,
                reason=_reason(own, every, goal),
            )
        )
    return offers


def _reason(own: Tally, every: Tally, goal: Goal) -> dict[Language, str]:
    """In words: what similar visitors did; else what everyone did; else that it is being tried."""
    if own.done:
        return reason(f"audience.similar_{goal}", own.done, own.visitors)
    if every.done:
        return reason(f"audience.everyone_{goal}", every.done, every.visitors)
    return {language: say("audience.explored", language) for language in LANGUAGES}


def reason(key: str, done: int, of: int) -> dict[Language, str]:
    """A message with two counts, in each language."""
    return {
        language: say(key, language, done=_count(done, language), of=_count(of, language)) for language in LANGUAGES
    }


@lru_cache(maxsize=4096)
def _count(of: int, language: Language) -> str:
    return number(of, language)


def counts_of_items(states: Iterable[bytes], kinds: Collection[str]) -> dict[int, int]:
    """How many of some visitors did one of ``kinds`` with each item."""
    found: dict[int, int] = defaultdict(int)
    for packed in states:
        own = set(bought(packed)) if "purchase" in kinds else set()
        own |= {touch.code for touch in unpack(packed) if touch.kind in kinds and touch.kind != "purchase"}
        for code in own:
            found[code] += 1
    return dict(found)
