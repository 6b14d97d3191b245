"""A campaign's test: fixed splits by their coin, moving ones by inverse propensities, checks first."""

import msgspec
import numpy as np
import pytest

from arauto.core.brief import Message
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Variant
from arauto.core.errors import NotFoundError
from arauto.creative import read_brief
from arauto.experiments import lift_words
from arauto.loop.experiment import hourly_outcomes, make_experiment, read_experiment
from arauto.store import ArmOutcomes
from tests.store.builders import NOW, Decisions, new_campaign


def campaign(state="live", **plan):
    return Campaign(
        id=1,
        site_id=1,
        slug="watch",
        name="watch",
        brief=read_brief({"product": "watch"}),
        message=Message(language="en", product="watch", call_to_action="Go"),
        plan=CampaignPlan(**plan),
        state=state,
    )


VARIANTS = [
    Variant(
        id=n,
        campaign_id=1,
        name=name,
        copy=Copy(title=name, description="", image_suggestion=""),
        origin=Origin(engine="x"),
    )
    for n, name in ((1, "a"), (2, "b"), (3, "c"))
]


def rows(arm, n, k, p, *, late_k=None, most=None):
    """Two halves of ``n`` each; ``late_k`` successes in the second."""
    return [
        ArmOutcomes(
            variant_id=arm,
            late=late,
            n=n,
            total=one,
            squares=one,
            weighted=one / p,
            weighted_sq=one / p**2,
            least=p,
            most=most or p,
        )
        for late, one in ((False, k), (True, k if late_k is None else late_k))
    ]


def test_a_fixed_split_is_compared_by_its_coin():
    found = make_experiment(campaign(), VARIANTS, rows(1, 5000, 500, 0.5) + rows(2, 5000, 700, 0.5), 0.02)
    assert (found.verdict, found.best, found.control, found.fixed_split) == ("better", "b", "a", True)
    first, second = found.arms
    assert (first.lift, first.p, first.chance_to_win) == (None, None, pytest.approx(0.0, abs=1e-6))
    assert second.lift == pytest.approx(0.4, abs=0.01)
    assert 0 < second.lift_low < second.lift < second.lift_high
    assert second.p < 0.001
    assert second.found
    assert not second.changed
    assert second.expected_loss < first.expected_loss
    assert found.sample_ratio_p == 1.0
    assert found.sample_ratio_p_at_end is None
    assert "b beats a on click rate" in found.text["en"]
    assert "b supera a em" in found.text["pt-BR"]


def test_losers_newcomers_and_the_undecided():
    worse = make_experiment(campaign(), VARIANTS, rows(1, 5000, 700, 0.5) + rows(2, 5000, 500, 0.5), 0.0)
    assert (worse.verdict, worse.best) == ("worse", "b")
    early = make_experiment(campaign(), VARIANTS, rows(1, 200, 20, 0.5) + rows(2, 200, 24, 0.5), 0.0)
    assert early.verdict == "too_early"
    assert early.visitors_left > 1000
    assert "more visitors" in early.text["en"]
    novel = make_experiment(campaign(), VARIANTS, rows(1, 5000, 500, 0.5) + rows(2, 5000, 1000, 0.5, late_k=500), 0.0)
    assert novel.arms[1].changed
    other = make_experiment(campaign(), VARIANTS, rows(1, 5000, 500, 0.5) + rows(2, 5000, 700, 0.5), 0.0, "b")
    assert (other.control, other.verdict) == ("b", "worse")
    with pytest.raises(NotFoundError):
        make_experiment(campaign(), VARIANTS, rows(1, 10, 1, 1.0), 0.0, "c")


def test_an_interval_without_an_end_is_told_in_words():
    few = make_experiment(campaign(), VARIANTS, rows(1, 8, 1, 0.5) + rows(2, 8, 1, 0.5), 0.0)
    assert few.arms[1].lift_high is None
    assert "(not bounded yet)" in few.text["en"]
    assert "(ainda não dá para limitar)" in few.text["pt-BR"]
    none = make_experiment(campaign(), VARIANTS, rows(1, 8, 0, 0.5) + rows(2, 8, 1, 0.5), 0.0)
    assert "nothing can be said of b against a" in none.text["en"]
    assert lift_words(0.5, 0.1, None, "pt-BR") == {"lift": "+50,0%", "between": "ao menos +10,0%"}
    assert lift_words(0.5, 0.1, 0.9, "en")["between"] == "+10.0% to +90.0%"


def test_a_split_that_was_not_meant_stops_the_verdict():
    skewed = rows(1, 5000, 500, 0.5) + rows(2, 4000, 700, 0.5)
    found = make_experiment(campaign("ended"), VARIANTS, skewed, 0.0)
    assert found.verdict == "unhealthy"
    assert found.sample_ratio_p < 0.01
    assert found.sample_ratio_p_at_end < found.sample_ratio_p
    assert "Do not trust" in found.text["en"]


def test_nothing_to_compare():
    assert make_experiment(campaign(), VARIANTS, [], 0.0).verdict == "no_data"
    alone = make_experiment(campaign(simulated=True), VARIANTS, rows(1, 10, 1, 1.0), 0.0)
    assert alone.verdict == "no_data"
    assert "one variant" in alone.text["en"]


def test_a_bandits_drift_makes_no_paradox():
    """Morning and evening differ by a factor of four, and the bandit moves the traffic to b by evening: no effect."""
    rng = np.random.default_rng(1)
    told = []
    for late, rate, share in ((False, 0.4, 0.1), (True, 0.1, 0.9)):
        for arm, p in ((1, 1 - share), (2, share)):
            n = int(40_000 * p)
            k = float(rng.binomial(n, rate))
            told.append(
                ArmOutcomes(
                    variant_id=arm, late=late, n=n, total=k, squares=k,
                    weighted=k / p, weighted_sq=k / p**2, least=p, most=p,
                )
            )  # fmt: skip
    found = make_experiment(campaign(), VARIANTS, told, 0.0)
    assert not found.fixed_split
    assert found.arms[1].value < 0.7 * found.arms[0].value  # the naive reading
    assert found.arms[1].lift == pytest.approx(0.0, abs=0.1)
    assert found.arms[1].lift_low < 0 < found.arms[1].lift_high
    assert found.verdict == "too_early"
    assert found.sample_ratio_p is None
    better = [msgspec.structs.replace(row, **_raised(row)) for row in told]
    assert make_experiment(campaign(), VARIANTS, better, 0.0).verdict == "better"


def _raised(row):
    grown = 1.6 if row.variant_id == 2 else 1.0
    return {name: getattr(row, name) * grown for name in ("total", "squares", "weighted", "weighted_sq")}


async def test_it_reads_what_the_store_has(store):
    made, variants = await new_campaign(store, arms=2, allocation="uniform", goal="purchase")
    decisions = Decisions(made, variants)
    told = []
    for n in range(40):
        one = decisions.new(at_ms=NOW + n, variant=n % 2)
        told += [one.row("impression")] + ([one.purchase("o", 100)] if n % 4 == 1 else [])
    await store.events.append(told)
    outcomes = await store.rollups.outcomes(made.id, "purchase")
    assert [(row.variant_id, row.late, row.n) for row in outcomes] == [
        (variant.id, late, 10) for variant in variants for late in (False, True)
    ]
    assert sum(row.weighted for row in outcomes) == pytest.approx(10 / 0.25)
    assert await store.rollups.busyness(made.id) == {}
    found = await read_experiment(store, made.id)
    assert [arm.impressions for arm in found.arms] == [20, 20]
    assert found.arms[1].value == 0.5
    assert (await store.rollups.outcomes(made.id, "rating")) == []


async def test_where_shares_stood_still_the_counters_are_enough(store):
    made, variants = await new_campaign(store, arms=2, allocation="uniform", goal="rating")
    await store.catalogue.set_campaign_state(made.id, "live", "test")
    decisions = Decisions(made, variants)
    told = []
    for n in range(40):
        one = decisions.new(at_ms=NOW + n * 600_000, variant=n % 2)
        told += [one.row("impression", propensity=0.5), one.row("rating", propensity=0.5, score=1 + n % 5)]
    await store.events.append(told)
    assert await store.catalogue.untouched(made.id)
    hours = await store.rollups.series(made.id, step="hour")
    shares = {variant.id: 0.5 for variant in variants}
    fast = hourly_outcomes("rating", shares, hours)
    slow = await store.rollups.outcomes(made.id, "rating")
    for name in ("n", "total", "squares", "weighted", "weighted_sq"):
        for variant in variants:
            one, other = (sum(getattr(r, name) for r in rows if r.variant_id == variant.id) for rows in (fast, slow))
            assert one == other
    assert {(row.least, row.most) for row in fast} == {(0.5, 0.5)}
    quick = await read_experiment(store, made.id)
    copy = Copy(title="new", description="d", image_suggestion="i")
    await store.catalogue.add_kit(made.id, [(copy, Origin(engine="given"))], {}, "test")
    assert not await store.catalogue.untouched(made.id)
    thorough = await read_experiment(store, made.id)
    assert quick.fixed_split
    assert quick.arms == thorough.arms
    assert hourly_outcomes("click", shares, []) == []
