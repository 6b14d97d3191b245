"""Which variant of a campaign is better: every comparison always valid, the checks of the test itself first.

While each variant kept one share of the traffic, variants are compared by the coin that dealt them out
(:func:`arauto.experiments.compare`, valid at any sample size). Where the shares moved (a bandit, a release), each
outcome is weighed by the inverse of the propensity it was shown with, which no drift can turn into Simpson's paradox;
the intervals are then asymptotic confidence sequences.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from arauto.core.brief import Language
from arauto.core.campaign import DAY_MS, Assignment, Campaign, CampaignState, Goal, Variant
from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import NotFoundError
from arauto.core.i18n import LANGUAGES, number, say
from arauto.experiments import (
    Interval,
    Posterior,
    best_probabilities,
    compare,
    discoveries,
    expected_loss,
    find_bots,
    lift_interval,
    lift_score,
    lift_words,
    pair_terms,
    ratio_asymptotic,
    ratio_mismatch,
    ratio_mismatch_at_end,
    visitors_left,
)
from arauto.loop.policy import make_policy
from arauto.store import ArmOutcomes, GroupOutcomes, SeriesPoint, Store, Tally

SUSPICIOUS = 0.01
"""The p-value of a sample-ratio mismatch below which no verdict is given."""
LEVEL = 0.95
BOT_DAYS = 7
"""The last days of a campaign that are searched for bots, so that the search stays short."""

ExperimentVerdict = Literal["better", "worse", "too_early", "unhealthy", "no_data"]


class ComparedArm(msgspec.Struct, frozen=True, kw_only=True):
    """One variant against the control, on the campaign's goal. ``lift`` is relative, with its 95 % interval.

    ``p`` is always valid (None where the shares moved). ``found``: announced, with at most 5 % of what is announced
    false. ``changed``: the lift of the second half of the time is surely not that of the first (novelty). The two
    Bayesian figures are for the eye, and only for goals that are rates.
    """

    name: str
    impressions: int
    value: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    p: float | None
    found: bool
    changed: bool
    chance_to_win: float | None
    expected_loss: float | None


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """The visitors of the holdout (``held``), who always got the default, beside all the others with consent.

    Each counts with the first decision they saw. ``lift`` is what the campaign gained over the default, relative, with
    its always-valid 95 % interval and p-value.
    """

    held: int
    others: int
    held_value: float | None
    value: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    p: float


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a test stands. Readable for ever, also after the campaign's end.

    ``assignment`` tells what is counted: decisions, or visitors by their first one (and each decision without consent).

    ``sample_ratio_p`` is always valid, and ``sample_ratio_p_at_end`` (chi-square) sharper, but for one look at a test
    that is over; both None where no fixed split was meant. ``bots`` is the share of decisions by visitors (of those
    with consent) in the last week too busy to be people. ``visitors_left`` estimates how many more are needed.
    ``as_of_ms`` is when the counting began.
    """

    campaign_id: int
    slug: str
    goal: Goal
    state: CampaignState
    simulated: bool
    fixed_split: bool
    assignment: Assignment
    control: str
    best: str
    verdict: ExperimentVerdict
    sample_ratio_p: float | None
    sample_ratio_p_at_end: float | None
    bots: float
    visitors_left: int | None
    arms: list[ComparedArm]
    holdout: HeldOut | None
    text: dict[str, str]
    as_of_ms: int = 0


class _Pair(NamedTuple):
    """A variant against the control. ``log_e`` is evidence for e-BH; where there is none, the interval decides."""

    lift: float
    interval: Interval
    changed: bool
    p: float | None
    log_e: float
    left: int | None


async def read_experiment(
    store: Store, campaign_id: int, control: str = "", *, clock: Clock | None = None
) -> Experiment:
    """Compare a campaign's variants with ``control``: by default the first of those that were shown. All read anew.

    Raises:
        NotFoundError: there is no such campaign, or no such variant was shown.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    variants = await store.catalogue.variants(campaign_id)
    tally = await read_tally(store, campaign, variants, clock or SystemClock())
    return await asyncio.to_thread(tell_experiment, campaign, variants, tally, control)


async def read_tally(store: Store, campaign: Campaign, variants: Sequence[Variant], clock: Clock) -> Tally:
    """What the experiment is judged by, as of now. Where shares moved, or visitors are the units, this reads every
    exposure of the campaign."""
    at, began = clock.now_ms(), time.monotonic()
    plan = campaign.plan
    outcomes = await _outcomes(store, campaign, variants)
    last = await store.rollups.last_decided(campaign.id)
    busy = await store.rollups.busyness(campaign.id, max(0, last - BOT_DAYS * DAY_MS))
    groups = await store.rollups.held_out(campaign.id, plan.goal) if plan.holdout else []
    return Tally(
        at_ms=at,
        took_ms=round(1000 * (time.monotonic() - began)),
        goal=plan.goal,
        assignment=plan.assignment,
        holdout=plan.holdout,
        bots=find_bots(np.repeat(list(busy), list(busy.values()))).share if busy else 0.0,
        outcomes=outcomes,
        groups=groups,
    )


def tell_experiment(campaign: Campaign, variants: Sequence[Variant], tally: Tally, control: str = "") -> Experiment:
    """The comparison, of a tally. Pure."""
    told = make_experiment(campaign, variants, tally.outcomes, tally.bots, control, tally.groups)
    return msgspec.structs.replace(told, as_of_ms=tally.at_ms)


async def _outcomes(store: Store, campaign: Campaign, variants: Sequence[Variant]) -> list[ArmOutcomes]:
    """From the counters by the hour, where every variant surely kept its share from first to last; else from every
    exposure, each with its own propensity."""
    plan = campaign.plan
    steady = plan.assignment == "decision" and plan.allocation in ("uniform", "fixed")
    if not steady or not await store.catalogue.untouched(campaign.id):
        by_visitor = plan.assignment == "visitor"
        return await store.rollups.outcomes(campaign.id, plan.goal, by_visitor=by_visitor)
    policy = make_policy(msgspec.structs.replace(campaign, state="live"), variants, [], 0)
    hours = await store.rollups.series(campaign.id, step="hour")
    return hourly_outcomes(plan.goal, policy.propensities, hours) if policy else []


def hourly_outcomes(goal: Goal, shares: Mapping[int, float], hours: Sequence[SeriesPoint]) -> list[ArmOutcomes]:
    """What :meth:`arauto.store.Rollups.outcomes` tells, of variants that kept their ``shares``; halves to the hour."""
    middle = (hours[0].at_ms + hours[-1].at_ms) / 2 if hours else 0.0
    n, x, xx = {
        "click": ("impressions", "clicks", "clicks"),
        "purchase": ("impressions", "purchases", "purchases"),
        "rating": ("ratings", "rating_sum", "rating_sq"),
    }[goal]
    sums: dict[tuple[int, bool], list[int]] = {}
    for hour in hours:
        cell = sums.setdefault((hour.variant_id, hour.at_ms > middle), [0, 0, 0])
        for place, name in enumerate((n, x, xx)):
            cell[place] += getattr(hour, name)
    return [
        ArmOutcomes(
            variant_id=variant,
            late=late,
            n=count,
            total=total,
            squares=squares,
            weighted=total / shares[variant],
            weighted_sq=squares / shares[variant] ** 2,
            least=shares[variant],
            most=shares[variant],
        )
        for (variant, late), (count, total, squares) in sorted(sums.items())
        if count
    ]


def make_experiment(
    campaign: Campaign,
    variants: Sequence[Variant],
    outcomes: Sequence[ArmOutcomes],
    bots: float,
    control: str = "",
    groups: Sequence[GroupOutcomes] = (),
) -> Experiment:
    """The same of given facts; ``groups`` are the holdout and the others. Pure."""
    seen: dict[str, list[ArmOutcomes]] = {}
    for variant in sorted(variants, key=lambda one: one.id):
        if rows := [row for row in outcomes if row.variant_id == variant.id]:
            seen[variant.name] = rows
    base = control or next(iter(seen), "")
    if control and control not in seen:
        raise NotFoundError(f"no variant {control!r} was shown", field="control", mend="name one that was")
    split = _split(seen)
    pairs = {
        name: _fixed(seen[base], rows, split[base], split[name]) if split else _weighed(seen[base], rows, seen)
        for name, rows in seen.items()
        if name != base
    }
    found = _found(pairs)
    mismatch, at_end = _mismatch(seen, split, campaign)
    unhealthy = any(p is not None and p < SUSPICIOUS for p in (mismatch, at_end))
    verdict, best = _verdict(pairs, found, unhealthy)
    chances = _chances(seen, campaign.plan.goal)
    return Experiment(
        campaign_id=campaign.id,
        slug=campaign.slug,
        goal=campaign.plan.goal,
        state=campaign.state,
        simulated=campaign.plan.simulated,
        fixed_split=bool(split),
        assignment=campaign.plan.assignment,
        control=base,
        best=best,
        verdict=verdict,
        sample_ratio_p=mismatch,
        sample_ratio_p_at_end=at_end,
        bots=bots,
        visitors_left=pairs[best].left if verdict == "too_early" else None,
        arms=[_arm(name, rows, pairs.get(name), name in found, chances.get(name)) for name, rows in seen.items()],
        holdout=_held_out(campaign.plan.holdout, groups),
        text={
            language: _sentence(campaign, verdict, base, best, pairs, (mismatch, at_end), language)
            for language in LANGUAGES
        },
    )


def _held_out(share: float, groups: Sequence[GroupOutcomes]) -> HeldOut | None:
    """The others against the holdout: the coin put a visitor into it with probability ``share``."""
    if not share:
        return None
    columns = [
        [float(sum(getattr(row, name) for row in groups if row.held is held)) for held in (True, False)]
        for name in ("n", "total", "squares")
    ]
    found = compare(pair_terms([1.0 - share], *([column] for column in columns))[0])
    return HeldOut(
        held=found.visitors[0],
        others=found.visitors[1],
        held_value=_finite(found.means[0]),
        value=_finite(found.means[1]),
        lift=_finite(found.lift),
        lift_low=_finite(found.lift_interval.low),
        lift_high=_finite(found.lift_interval.high),
        p=found.p,
    )


def _split(seen: dict[str, list[ArmOutcomes]]) -> dict[str, float]:
    """Each variant's share, when all kept theirs from first to last; else empty."""
    shares = {name: rows[0].least for name, rows in seen.items()}
    steady = all(row.least == row.most == shares[name] for name, rows in seen.items() for row in rows)
    # A variant that came later, or went, moves the shares of the others: they no longer add up.
    return shares if steady and math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9) else {}


def _fixed(control: list[ArmOutcomes], rows: list[ArmOutcomes], share0: float, share1: float) -> _Pair:
    def sums(first: Sequence[ArmOutcomes], second: Sequence[ArmOutcomes]) -> np.ndarray:
        columns = [
            [sum(getattr(row, column) for row in side) for side in (first, second)]
            for column in ("n", "total", "squares")
        ]
        return np.asarray(pair_terms([share1 / (share0 + share1)], *([column] for column in columns))[0])

    whole = sums(control, rows)
    found = compare(whole)
    halves = [
        lift_interval(
            sums([row for row in control if row.late == late], [row for row in rows if row.late == late]), level=0.975
        )
        for late in (False, True)
    ]
    left = None
    if math.isfinite(found.lift) and found.lift and found.lift > -1.0:
        left = visitors_left(float(lift_score(whole)[1]), sum(found.visitors), found.lift)
    return _Pair(found.lift, found.lift_interval, _apart(*halves), found.p, found.evidence, left)


def _weighed(control: list[ArmOutcomes], rows: list[ArmOutcomes], seen: dict[str, list[ArmOutcomes]]) -> _Pair:
    """By inverse propensities. x/p of either variant and 0 for every other decision; the lift is the ratio of means."""

    def interval(late: tuple[bool, ...], level: float) -> tuple[float, Interval]:
        n = sum(row.n for side in seen.values() for row in side if row.late in late)
        (s0, q0), (s1, q1) = (
            [sum(getattr(row, column) for row in side if row.late in late) for column in ("weighted", "weighted_sq")]
            for side in (control, rows)
        )
        if not s0:
            return math.nan, Interval(-math.inf, math.inf)
        low, high = ratio_asymptotic(n, s1, q1, s0, q0, 0.0, level)
        return s1 / s0 - 1.0, Interval(max(low - 1.0, -1.0), high - 1.0)

    lift, whole = interval((False, True), LEVEL)
    # With K comparisons each must hold at 1 − 5 %/K for all to hold together (union bound).
    _, strict = interval((False, True), 1.0 - (1.0 - LEVEL) / max(1, len(seen) - 1))
    halves = [interval((late,), 0.975)[1] for late in (False, True)]
    decided = strict.low > 0.0 or strict.high < 0.0
    return _Pair(lift, whole, _apart(*halves), None, math.inf if decided else -math.inf, None)


def _apart(first: Interval, second: Interval) -> bool:
    return first.high < second.low or second.high < first.low


def _found(pairs: dict[str, _Pair]) -> set[str]:
    told = discoveries([pair.log_e for pair in pairs.values()])
    return {name for name, yes in zip(pairs, told.tolist(), strict=True) if yes}


def _mismatch(
    seen: dict[str, list[ArmOutcomes]], split: dict[str, float], campaign: Campaign
) -> tuple[float | None, float | None]:
    counts = [sum(row.n for row in rows) for rows in seen.values()]
    if len(split) < 2 or campaign.plan.goal == "rating":
        return None, None
    shares = np.array(list(split.values()))
    shares /= shares.sum()
    ended = campaign.state == "ended"
    return ratio_mismatch(counts, shares.tolist()), ratio_mismatch_at_end(counts, shares) if ended else None


def _verdict(pairs: dict[str, _Pair], found: set[str], unhealthy: bool) -> tuple[ExperimentVerdict, str]:
    if not pairs:
        return "no_data", ""
    better = [name for name in found if pairs[name].lift > 0.0]
    if better:
        best = max(better, key=lambda name: pairs[name].lift)
    else:
        best = max(pairs, key=lambda name: pairs[name].lift if math.isfinite(pairs[name].lift) else -math.inf)
    if unhealthy:
        return "unhealthy", best
    if better:
        return "better", best
    return ("worse" if len(found) == len(pairs) else "too_early"), best


def _chances(seen: dict[str, list[ArmOutcomes]], goal: Goal) -> dict[str, tuple[float, float]]:
    """Chance to win and expected loss, of goals that are rates."""
    if goal == "rating" or len(seen) < 2:
        return {}
    k, n = (
        np.array([sum(getattr(row, column) for row in rows) for rows in seen.values()]) for column in ("total", "n")
    )
    posterior = Posterior(1.0 + k, 1.0 + n - k)
    wins, loss = best_probabilities(posterior), expected_loss(posterior, np.random.default_rng(0))
    return dict(zip(seen, zip(wins.tolist(), loss.tolist(), strict=True), strict=True))


def _arm(
    name: str, rows: list[ArmOutcomes], pair: _Pair | None, found: bool, chance: tuple[float, float] | None
) -> ComparedArm:
    n = sum(row.n for row in rows)
    return ComparedArm(
        name=name,
        impressions=n,
        value=sum(row.total for row in rows) / n if n else None,
        lift=_finite(pair.lift) if pair else None,
        lift_low=_finite(pair.interval.low) if pair else None,
        lift_high=_finite(pair.interval.high) if pair else None,
        p=pair.p if pair else None,
        found=found,
        changed=pair.changed if pair else False,
        chance_to_win=chance[0] if chance else None,
        expected_loss=chance[1] if chance else None,
    )


def _sentence(
    campaign: Campaign,
    verdict: ExperimentVerdict,
    control: str,
    best: str,
    pairs: dict[str, _Pair],
    mismatch: tuple[float | None, float | None],
    language: Language,
) -> str:
    if not pairs:
        return say("experiment.lonely" if control else "experiment.no_outcome", language)
    pair = pairs[best]
    left = pair.left if verdict == "too_early" else None
    key: str = "too_early_left" if left else verdict
    if verdict == "too_early" and not math.isfinite(pair.lift):
        key = "too_early_none"
    low, high = pair.interval
    shown = lift_words(_finite(pair.lift), _finite(low), _finite(high), language)
    told = say(
        f"experiment.{key}",
        language,
        arm=best,
        control=control,
        metric=say(f"report.measure_{campaign.plan.goal}", language),
        left=number(left or 0, language),
        p=number(min([p for p in mismatch if p is not None], default=1.0), language, 4),
        **shown,
    )
    return f"{told} {say('report.simulated_note', language)}" if campaign.plan.simulated else told


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
