"""What a report cannot say by itself: cost, cost per purchase, return on it; and what changed since the time before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from arauto.core.campaign import DAY_MS, CampaignPlan
from arauto.experiments import mean_sequence, rate_sequence, ratio_asymptotic
from arauto.loop import Estimate
from arauto.store import Counts, SeriesPoint

HOUR_MS = 3_600_000
PERIODS_MS = (7 * DAY_MS, DAY_MS, HOUR_MS)
"""The last of these that fits twice into the campaign's time is compared with the one before."""
COMPARED = ("impressions", "clicks", "ctr", "purchases", "conversion", "revenue", "rating")


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Money in hundredths of the currency. ``cpa`` is the cost of a decision that bought, ``roas`` revenue over cost;
    None where nothing was bought or spent. The intervals are those of the rates behind them."""

    cost_cents: float
    cpa: Estimate | None
    roas: Estimate | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A number now against the period before, relative; ``sure`` when the two 95 % intervals lie apart (of counts:
    never said). Not an experiment: whatever else changed is in it."""

    relative: float
    sure: bool


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The length of the period that was compared, and each number's change."""

    period_ms: int
    of: dict[str, Change]


def costs_of(plan: CampaignPlan, rows: Iterable[Counts]) -> Costs | None:
    """Of a plan that says what a thousand impressions cost; else None."""
    if not plan.cpm:
        return None
    rows = list(rows)
    n, k = sum(row.impressions for row in rows), sum(row.purchases for row in rows)
    value, squares = sum(row.value_cents for row in rows), sum(row.value_sq for row in rows)
    price = plan.cpm / 10.0  # hundredths an impression
    if not n:
        return Costs(cost_cents=0.0, cpa=None, roas=None)
    cpa = None
    if k:
        low, high = rate_sequence(k, n)
        cpa = Estimate(price * n / k, price / high, price / low)
    # Σx/Σy with y = 1 of every impression is the mean, by an asymptotic confidence sequence: values have no bound.
    low, high = ratio_asymptotic(n, float(value), float(squares), float(n), float(n), float(value))
    return Costs(cost_cents=price * n, cpa=cpa, roas=Estimate(value / n / price, max(0.0, low) / price, high / price))


def period_of(from_ms: int, until_ms: int) -> int | None:
    """The longest period of :data:`PERIODS_MS` that fits twice; None when none does."""
    return next((period for period in PERIODS_MS if until_ms - from_ms >= 2 * period), None)


def changes_of(points: Sequence[SeriesPoint], until_ms: int, period_ms: int) -> Changes:
    """What the last period brought, against the one before. Of ``points`` those that began in each."""
    edge = until_ms - period_ms
    now = [point for point in points if edge < point.at_ms <= until_ms]
    before = [point for point in points if edge - period_ms < point.at_ms <= edge]
    told = {}
    for name in COMPARED:
        (new, new_span), (old, old_span) = _figure(name, now), _figure(name, before)
        if new is None or not old:
            continue
        sure = (
            new_span is not None and old_span is not None and (new_span[0] > old_span[1] or new_span[1] < old_span[0])
        )
        told[name] = Change(relative=new / old - 1.0, sure=sure)
    return Changes(period_ms=period_ms, of=told)


def _figure(name: str, rows: Sequence[Counts]) -> tuple[float | None, tuple[float, float] | None]:
    """A number of these rows, and its interval if it has one."""

    def total(field: str) -> int:
        return sum(getattr(row, field) for row in rows)

    n = total("impressions")
    if name in ("ctr", "conversion"):
        k = total("clicks" if name == "ctr" else "purchases")
        return (k / n, rate_sequence(k, n)) if n else (None, None)
    if name == "rating":
        ratings, stars = total("ratings"), total("rating_sum")
        return (stars / ratings, mean_sequence(stars, ratings, 1, 5)) if ratings else (None, None)
    return float(total({"revenue": "value_cents"}.get(name, name))), None
