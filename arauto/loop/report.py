"""Where a campaign stands: plain numbers, each with its interval, and one sentence that claims no more than they do.

Everything is read from the rollups, and every interval but those of load times' histograms is exact in what it counts.
The intervals are confidence sequences (:mod:`arauto.experiments`): they hold whenever and however often one looks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from arauto.core.brief import Language
from arauto.core.campaign import Campaign, CampaignState, Goal, Variant, VariantState
from arauto.core.clock import Clock, SystemClock
from arauto.core.i18n import LANGUAGES, number, percent, say
from arauto.experiments import (
    Interval,
    chance_to_win,
    mean_sequence,
    quantile_interval,
    rate_sequence,
    ratio_mismatch,
    uniform_propensities,
)
from arauto.loop.policy import Ramp, make_policy, reward_counts, wants_hours
from arauto.loop.release import ramp_of
from arauto.store import ArmTotals, Counts, PartTotals, Store, VitalHistogram, Weights, reading_of

LEVEL = 0.95
QUANTILE = 0.75
"""The quantile at which page experience is judged (web vitals, 75th percentile)."""
SUSPICIOUS = 0.01
"""The p-value of the sample ratio at which a report warns."""

_SUMMED = ("impressions", "views", "clicks", "carts", "purchases", "orders", "value_cents", "ratings", "rating_sum")

Verdict = Literal["no_data", "one_variant", "too_early", "leader"]


class Estimate(msgspec.Struct, frozen=True):
    """A number and the 95 % interval around it."""

    value: float
    low: float
    high: float


class Vital(msgspec.Struct, frozen=True, kw_only=True):
    """The 75th percentile of a metric over ``readings`` page views (milliseconds; CLS: a plain number), within 2 %.

    ``low`` to ``high`` is its 95 % interval; an end is None while the readings are too few to bound it.
    """

    readings: int
    p75: float
    low: float | None
    high: float | None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """The plain numbers. All but ``orders`` count decisions that were seen.

    ``ctr`` is clicks and ``conversion`` is buying decisions, per impression; ``rating`` the mean CSAT of 1 to 5; None
    where there is no data. ``revenue_cents`` is in hundredths of the campaign's currency.
    """

    impressions: int
    views: int
    clicks: int
    ctr: Estimate | None
    carts: int
    purchases: int
    orders: int
    conversion: Estimate | None
    revenue_cents: int
    ratings: int
    rating: Estimate | None


class TotalNumbers(Numbers, frozen=True, kw_only=True):
    """All variants together."""

    vitals: dict[str, Vital]


class SegmentNumbers(Numbers, frozen=True, kw_only=True):
    """All variants in one segment: a kind of device."""

    segment: str


class VariantNumbers(Numbers, frozen=True, kw_only=True):
    """One variant. ``share`` is the probability with which it is shown now, None when it is not being shown.

    ``chance_to_win`` is the posterior probability that it is the best live one for the campaign's goal: for the eye,
    not for the decision.
    """

    id: int
    name: str
    state: VariantState
    title: str
    description: str
    image_suggestion: str
    engine: str
    model: str
    share: float | None
    chance_to_win: float | None
    vitals: dict[str, Vital]


class SharePoint(msgspec.Struct, frozen=True, kw_only=True):
    """The probabilities of the variants, by name, from ``at_ms`` on."""

    at_ms: int
    version: int
    shares: dict[str, float]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence or two, in each language. ``leader`` is named only when its interval lies above all the others'."""

    verdict: Verdict
    leader: str | None
    text: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's report. Times are Unix milliseconds; it covers ``from_ms`` to ``until_ms``.

    ``simulated``: the traffic was made up, and so is every lift in it. ``sample_ratio_p`` is the always-valid p-value
    of the traffic's split against the intended one, None where there is no fixed intention (a bandit, variants that
    came or went); ``suspicious`` says that it is below 1 %.
    """

    campaign_id: int
    slug: str
    name: str
    goal: Goal
    state: CampaignState
    currency: str
    simulated: bool
    level: float
    from_ms: int
    until_ms: int
    generated_ms: int
    standing: Standing
    totals: TotalNumbers
    variants: list[VariantNumbers]
    segments: list[SegmentNumbers]
    shares: list[SharePoint]
    sample_ratio_p: float | None
    suspicious: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is made from, as the store gives it."""

    campaign: Campaign
    variants: Sequence[Variant]
    totals: Sequence[ArmTotals] | Sequence[PartTotals]
    vitals: Sequence[VitalHistogram]
    weights: Sequence[Weights]
    ramp: Ramp | None = None


async def build_report(store: Store, campaign_id: int, *, clock: Clock | None = None) -> Report:
    """Read a campaign's facts and make its report.

    Raises:
        NotFoundError: there is no such campaign.
        StoreError: the database cannot be used.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    ramp = ramp_of(await store.rollouts.latest(campaign_id))
    hours = wants_hours(campaign.plan, ramp)
    facts = Facts(
        campaign=campaign,
        variants=await store.catalogue.variants(campaign_id),
        totals=await store.rollups.parts(campaign_id) if hours else await store.rollups.totals(campaign_id, fair=True),
        vitals=await store.rollups.vitals(campaign_id),
        weights=await store.rollups.weights(campaign_id),
        ramp=ramp,
    )
    return await asyncio.to_thread(make_report, facts, (clock or SystemClock()).now_ms())


def make_report(facts: Facts, now_ms: int) -> Report:
    """The report of given facts. Pure: the same facts give the same report."""
    campaign = facts.campaign
    p = _sample_ratio(facts)
    suspicious = p is not None and p < SUSPICIOUS
    return Report(
        campaign_id=campaign.id,
        slug=campaign.slug,
        name=campaign.name,
        goal=campaign.plan.goal,
        state=campaign.state,
        currency=campaign.plan.currency,
        simulated=campaign.plan.simulated,
        level=LEVEL,
        from_ms=campaign.created_ms if campaign.launched_ms is None else campaign.launched_ms,
        until_ms=now_ms if campaign.ended_ms is None else campaign.ended_ms,
        generated_ms=now_ms,
        standing=_standing(facts, p if suspicious else None),
        totals=TotalNumbers(**_numbers(facts.totals), vitals=_vitals(facts.vitals)),
        variants=_variants(facts),
        segments=[
            SegmentNumbers(segment=segment, **_numbers([row for row in facts.totals if row.segment == segment]))
            for segment in sorted({row.segment for row in facts.totals})
        ],
        shares=_share_points(facts),
        sample_ratio_p=p,
        suspicious=suspicious,
    )


def _numbers(rows: Iterable[Counts]) -> dict[str, Any]:
    """The fields of :class:`Numbers` of these rows together."""
    sums = dict.fromkeys(_SUMMED, 0)
    for row in rows:
        for name in _SUMMED:
            sums[name] += getattr(row, name)
    ratings, rating_sum = sums["ratings"], sums.pop("rating_sum")
    return {
        "revenue_cents": sums.pop("value_cents"),
        **sums,
        "ctr": _rate(sums["clicks"], sums["impressions"]),
        "conversion": _rate(sums["purchases"], sums["impressions"]),
        "rating": Estimate(rating_sum / ratings, *mean_sequence(rating_sum, ratings, 1, 5, LEVEL)) if ratings else None,
    }


def _rate(k: int, n: int) -> Estimate | None:
    return Estimate(k / n, *rate_sequence(k, n, LEVEL)) if n else None


def _vitals(histograms: Iterable[VitalHistogram]) -> dict[str, Vital]:
    """The vitals of these histograms together, by metric."""
    merged: dict[str, Counter[int]] = {}
    for histogram in histograms:
        merged.setdefault(histogram.metric, Counter()).update(histogram.buckets)
    return {metric: _vital(merged[metric]) for metric in sorted(merged) if merged[metric].total()}


def _vital(buckets: Mapping[int, int]) -> Vital:
    low, at, high = (
        None if bucket is None else reading_of(bucket) for bucket in quantile_interval(buckets, QUANTILE, LEVEL)
    )
    return Vital(readings=sum(buckets.values()), p75=at or 0.0, low=low, high=high)


def _variants(facts: Facts) -> list[VariantNumbers]:
    shares, chances = _shares_now(facts), _chances(facts)
    return [
        VariantNumbers(
            id=variant.id,
            name=variant.name,
            state=variant.state,
            title=variant.copy.title,
            description=variant.copy.description,
            image_suggestion=variant.copy.image_suggestion,
            engine=variant.origin.engine,
            model=variant.origin.model,
            share=shares.get(variant.id),
            chance_to_win=chances.get(variant.id),
            vitals=_vitals(row for row in facts.vitals if row.variant_id == variant.id),
            **_numbers([row for row in facts.totals if row.variant_id == variant.id]),
        )
        for variant in sorted(facts.variants, key=lambda variant: variant.id)
    ]


def _live(facts: Facts) -> list[Variant]:
    return sorted((variant for variant in facts.variants if variant.state == "live"), key=lambda variant: variant.id)


def _shares_now(facts: Facts) -> dict[int, float]:
    """What is being served: as last recorded, or as made from the same totals when the record lags behind."""
    policy = make_policy(facts.campaign, facts.variants, facts.totals, facts.campaign.plan.seed or 0, facts.ramp)
    if policy is None:
        return {}
    if facts.weights and facts.weights[-1].version == policy.version:
        return facts.weights[-1].propensities
    return policy.propensities


def _chances(facts: Facts) -> dict[int, float]:
    ids = [variant.id for variant in _live(facts)]
    successes, trials = reward_counts(facts.campaign.plan.goal, ids, facts.totals)
    if not sum(trials):
        return {}
    return dict(zip(ids, chance_to_win(successes, trials, np.random.default_rng(0)).tolist(), strict=True))


def _share_points(facts: Facts) -> list[SharePoint]:
    names = {variant.id: variant.name for variant in facts.variants}
    return [
        SharePoint(
            at_ms=weights.at_ms,
            version=weights.version,
            shares={names[arm]: share for arm, share in weights.propensities.items() if arm in names},
        )
        for weights in facts.weights
    ]


def _sample_ratio(facts: Facts) -> float | None:
    """The p-value of an even split, where an even split over the same variants was intended from first to last.

    Of decisions: where visitors keep their variant, decisions follow no coin (the experiment looks at visitors).
    """
    arms = {variant.id for variant in facts.variants}
    if facts.campaign.plan.assignment == "visitor":
        return None
    if facts.campaign.plan.allocation != "uniform" or len(arms) < 2 or not facts.weights:
        return None
    if any(weights.propensities.keys() != arms or _uneven(weights) for weights in facts.weights):
        return None
    seen: Counter[int] = Counter()
    for row in facts.totals:
        seen[row.variant_id] += row.impressions
    return ratio_mismatch([seen[arm] for arm in sorted(arms)], uniform_propensities(len(arms)).tolist())


def _uneven(weights: Weights) -> bool:
    shares = weights.propensities.values()
    return max(shares) - min(shares) > 1e-9


def _standing(facts: Facts, mismatch: float | None) -> Standing:
    """The verdict. The intervals compared hold together: each at 1 − 5 %/K for K variants (union bound)."""
    live, goal = _live(facts), facts.campaign.plan.goal
    level = 1.0 - (1.0 - LEVEL) / max(1, len(live))
    measured = {
        variant.name: _measure(goal, [row for row in facts.totals if row.variant_id == variant.id], level)
        for variant in live
    }
    verdict: Verdict = "too_early"
    leader = None
    if not any(row.ratings if goal == "rating" else row.impressions for row in facts.totals):
        verdict = "no_data"
    elif len(live) == 1:
        verdict = "one_variant"
    elif len(live) > 1 and facts.campaign.plan.assignment == "decision":
        best = max(measured, key=lambda name: measured[name][1].low)
        if all(measured[best][1].low > one.high for name, (_, one) in measured.items() if name != best):
            verdict, leader = "leader", best
    named = leader or (live[0].name if live else "")
    text: dict[str, str] = {}
    for language in LANGUAGES:
        sentences = [_sentence(verdict, facts, named, measured.get(named), language)]
        if mismatch is not None:
            sentences.append(say("report.mismatch", language, p=f"{mismatch:.1g}"))
        if facts.campaign.plan.simulated:
            sentences.append(say("report.simulated_note", language))
        text[language] = " ".join(sentences)
    return Standing(verdict=verdict, leader=leader, text=text)


def _measure(goal: Goal, rows: Sequence[Counts], level: float) -> tuple[float, Interval]:
    """The campaign's goal for one variant: its rate or mean, and its sequence at ``level``."""
    if goal == "rating":
        total, n = sum(row.rating_sum for row in rows), sum(row.ratings for row in rows)
        return (total / n if n else 0.0), mean_sequence(total, n, 1, 5, level)
    k = sum(row.clicks if goal == "click" else row.purchases for row in rows)
    n = sum(row.impressions for row in rows)
    return (k / n if n else 0.0), rate_sequence(k, n, level)


def _sentence(
    verdict: Verdict, facts: Facts, name: str, measured: tuple[float, Interval] | None, language: Language
) -> str:
    goal = facts.campaign.plan.goal
    if verdict == "no_data":
        return say("report.no_rating" if goal == "rating" else "report.no_data", language)
    if verdict == "too_early" or measured is None:
        if facts.campaign.plan.assignment == "visitor":
            return say("report.by_visitor", language)
        seen = sum(row.impressions for row in facts.totals)
        return say("report.too_early", language, impressions=number(seen, language))
    value, (low, high) = measured
    written = {
        part: number(figure, language, 2) if goal == "rating" else percent(figure, language)
        for part, figure in (("value", value), ("low", low), ("high", high))
    }
    if verdict == "one_variant":
        return say("report.one_variant", language, **written)
    return say("report.leader", language, name=name, measure=say(f"report.measure_{goal}", language), **written)
