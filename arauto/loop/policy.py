"""How a campaign's traffic is shared: propensities from what is known of its variants, in every context.

Pure functions, for any thread. :mod:`arauto.loop.decide` serves by what they make.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from arauto.core.campaign import Campaign, CampaignPlan, Goal, Variant
from arauto.core.door import from_data
from arauto.core.errors import InputError
from arauto.core.events import PARTS, SEGMENTS
from arauto.experiments import (
    fixed_propensities,
    revenue_propensities,
    segment_propensities,
    thompson_propensities,
    top_two_propensities,
    uniform_propensities,
)


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

    ``mixes`` may also be one for each segment and part of the day, parts innermost. ``control`` is what the holdout is
    shown, ``release`` the number of the release on its way; 0: none.
    """

    campaign_id: int
    version: int
    propensities: dict[int, float]
    mixes: tuple[Mix, ...]
    control: int = 0
    release: int = 0
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
        propensities=marginal(mixes),
        mixes=tuple(tuple(mix) for mix in mixes),
        control=min(control[0], default=0) if control else 0,
        release=ramp.release if ramp else 0,
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
        return _contextual(plan, arms, totals, rng)
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


def _by_group(
    plan: CampaignPlan, arms: Sequence[int], totals: Iterable[Counts], groups: Groups, rng: np.random.Generator
) -> list[dict[int, float]]:
    """For visitors without a segment of the audience, then for those of each."""
    # Those without come first: all of the traffic, less what the segments tell of it.
    every, shown = (np.array(side, dtype=np.float64) for side in reward_counts(plan.goal, arms, totals))
    rest = np.maximum(shown - groups.trials.sum(axis=1), 0.0)
    known = np.clip(every - groups.successes.sum(axis=1), 0.0, rest)
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


def marginal(mixes: Sequence[Sequence[Draw]]) -> dict[int, float]:
    """The probability of each variant, over draws and (evenly) over segments."""
    parts: dict[int, list[float]] = {}
    for mix in mixes:
        for draw in mix:
            parts.setdefault(draw.variant_id, []).append(draw.chance / len(mixes))
    return {arm: math.fsum(chances) for arm, chances in sorted(parts.items())}
