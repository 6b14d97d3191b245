"""The report: plain numbers with intervals, and a sentence that claims no more than they do."""

import msgspec
import numpy as np
import pytest

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Variant
from arauto.core.clock import FakeClock
from arauto.core.i18n import LANGUAGES
from arauto.experiments import mean_sequence, rate_sequence
from arauto.loop import report as report_module
from arauto.loop.policy import make_policy
from arauto.loop.report import (
    Facts,
    Numbers,
    Report,
    SegmentNumbers,
    TotalNumbers,
    VariantNumbers,
    Vital,
    build_report,
    make_report,
)
from arauto.store import ArmTotals, VitalHistogram, Weights, bucket_of

NOW = 1_760_000_900_000
LAUNCHED = 1_760_000_000_000


def campaign(state="live", ended_ms=None, **plan) -> Campaign:
    return Campaign(
        id=5,
        site_id=1,
        slug="relogio",
        name="Relógio",
        brief=Brief(product="Relógio"),
        message=Message(language="pt-BR", product="Relógio", call_to_action="Saiba mais"),
        plan=CampaignPlan(**plan),
        state=state,
        created_ms=LAUNCHED - 1,
        launched_ms=LAUNCHED,
        ended_ms=ended_ms,
    )


def variant(number, state="live") -> Variant:
    return Variant(
        id=number,
        campaign_id=5,
        name="abcdef"[number - 1],
        copy=Copy(title=f"T{number}", description="D", image_suggestion="I"),
        origin=Origin(engine="local", model="m"),
        state=state,
    )


def arm(number, impressions=0, clicks=0, segment="mobile", **counts) -> ArmTotals:
    return ArmTotals(variant_id=number, segment=segment, impressions=impressions, clicks=clicks, **counts)


def facts(*totals, variants=2, vitals=(), weights=(), states=(), **plan) -> Facts:
    names = [variant(n + 1, states[n] if states else "live") for n in range(variants)]
    return Facts(campaign=campaign(**plan), variants=names, totals=totals, vitals=vitals, weights=weights)


def test_column_names_are_pinned():
    """The dashboard, the terminal and other people's scripts read these."""
    numbers = (
        "impressions", "views", "clicks", "ctr", "carts", "purchases", "orders", "conversion", "revenue_cents",
        "ratings", "rating",
    )  # fmt: skip
    assert Numbers.__struct_fields__ == numbers
    assert TotalNumbers.__struct_fields__ == (*numbers, "vitals")
    assert SegmentNumbers.__struct_fields__ == (*numbers, "segment")
    assert VariantNumbers.__struct_fields__ == (
        *numbers, "id", "name", "state", "title", "description", "image_suggestion", "engine", "model", "share",
        "chance_to_win", "vitals",
    )  # fmt: skip
    assert Vital.__struct_fields__ == ("readings", "p75", "low", "high")
    assert Report.__struct_fields__ == (
        "campaign_id", "slug", "name", "goal", "state", "currency", "simulated", "level", "from_ms", "until_ms",
        "generated_ms", "standing", "totals", "variants", "segments", "shares", "sample_ratio_p", "suspicious",
    )  # fmt: skip


def test_numbers_add_up_and_carry_their_intervals():
    made = make_report(
        facts(
            arm(1, 100, 7, views=6, carts=4, purchases=2, orders=3, value_cents=29990, ratings=2, rating_sum=9),
            arm(1, 50, 3, segment="desktop"),
            arm(2, 80, 4, purchases=1, orders=1, value_cents=10),
        ),
        NOW,
    )
    a, b = made.variants
    assert (a.impressions, a.clicks, a.views, a.carts, a.purchases, a.orders) == (150, 10, 6, 4, 2, 3)
    assert (a.revenue_cents, b.revenue_cents, made.totals.revenue_cents) == (29990, 10, 30000)
    assert (a.ctr.value, a.ctr.low, a.ctr.high) == (10 / 150, *rate_sequence(10, 150))
    assert (b.conversion.value, b.conversion.low, b.conversion.high) == (1 / 80, *rate_sequence(1, 80))
    assert (a.rating.value, a.rating.low, a.rating.high) == (4.5, *mean_sequence(9, 2, 1, 5))
    assert b.rating is None
    assert made.totals.ctr.value == 14 / 230
    assert [(row.segment, row.impressions, row.clicks) for row in made.segments] == [
        ("desktop", 50, 3),
        ("mobile", 180, 11),
    ]
    assert (made.from_ms, made.until_ms, made.generated_ms, made.level) == (LAUNCHED, NOW, NOW, 0.95)
    assert (a.title, a.engine, a.model, a.name, a.id, a.state) == ("T1", "local", "m", "a", 1, "live")


def test_it_is_json_and_comes_back_the_same():
    made = make_report(facts(arm(1, 100, 7), arm(2, 80, 4)), NOW)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Report) == made
    assert make_report(facts(arm(1, 100, 7), arm(2, 80, 4)), NOW) == made


def test_without_data_there_are_no_rates():
    made = make_report(facts(), NOW)
    assert made.standing.verdict == "no_data"
    assert made.totals.ctr is made.totals.conversion is made.totals.rating is None
    assert made.totals.vitals == {}
    assert made.segments == []
    assert [row.chance_to_win for row in made.variants] == [None, None]
    assert make_report(facts(arm(1, 10), goal="rating"), NOW).standing.verdict == "no_data"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("made", "verdict", "says"),
    [
        (facts(), "no_data", {"en": "No impression", "pt-BR": "nenhuma impressão"}),
        (facts(goal="rating"), "no_data", {"en": "No rating", "pt-BR": "nenhuma avaliação"}),
        (facts(arm(1, 90, 9), variants=1), "one_variant", {"en": "10.00%", "pt-BR": "10,00%"}),
        (facts(arm(1, 900, 9), arm(2, 1100, 9)), "too_early", {"en": "2,000", "pt-BR": "2.000"}),
        (facts(arm(1, 1), states=("retired", "retired")), "too_early", {"en": "Too early", "pt-BR": "cedo"}),
        (
            facts(arm(1, 5000, 50), arm(2, 5000, 500)),
            "leader",
            {"en": "Variant b has the highest click rate", "pt-BR": "variante b tem a maior taxa de cliques"},
        ),
        (
            facts(arm(1, 5000, purchases=500), arm(2, 5000, purchases=5), goal="purchase"),
            "leader",
            {"en": "Variant a has the highest conversion rate", "pt-BR": "variante a tem a maior taxa de conversão"},
        ),
        (
            facts(arm(1, ratings=900, rating_sum=4000), arm(2, ratings=900, rating_sum=2000), goal="rating"),
            "leader",
            {"en": "mean rating of the live variants: 4.44", "pt-BR": "nota média entre as que estão no ar: 4,44"},
        ),
    ],
)
def test_the_sentence(made, verdict, says, language):
    standing = make_report(made, NOW).standing
    assert standing.verdict == verdict
    assert (standing.leader is not None) == (verdict == "leader")
    assert says[language] in standing.text[language]
    assert set(standing.text) == set(LANGUAGES)


def test_simulated_is_said_in_every_sentence():
    for totals in ([], [arm(1, 5000, 50), arm(2, 5000, 500)]):
        made = make_report(facts(*totals, simulated=True), NOW)
        assert made.simulated
        assert "simulated" in made.standing.text["en"]
        assert "simulado" in made.standing.text["pt-BR"]
        assert "simulated" not in make_report(facts(*totals), NOW).standing.text["en"]


@pytest.mark.no_cover
def test_a_leader_is_rarely_named_where_there_is_none():
    """A/A of three variants, looked at twenty times each, 200 campaigns: 5 % at most may ever name a leader."""
    rng = np.random.default_rng(8)
    named = 0
    for _ in range(200):
        clicks = np.cumsum(rng.binomial(100, 0.05, (20, 3)), axis=0)
        named += any(
            report_module._standing(
                facts(*(arm(n + 1, 100 * look, int(clicks[look - 1, n])) for n in range(3)), variants=3), None
            ).verdict
            == "leader"
            for look in range(1, 21)
        )
    assert named <= 10


def test_a_retired_variant_is_shown_but_not_compared():
    made = make_report(facts(arm(1, 5000, 50), arm(2, 5000, 500), arm(3, 4000, 39), variants=3,
                             states=("live", "retired", "live")), NOW)  # fmt: skip
    assert made.standing.verdict == "too_early"
    assert [row.share is None for row in made.variants] == [False, True, False]
    assert [row.chance_to_win is None for row in made.variants] == [False, True, False]


def test_shares_are_those_that_are_served():
    """As recorded while the record is of the same totals; otherwise as the policy is made from them."""
    totals = [arm(1, 100, 10), arm(2, 100, 1)]
    one = facts(*totals, seed=4)
    policy = make_policy(one.campaign, one.variants, totals, 4)
    recorded = [
        Weights(version=1, at_ms=LAUNCHED, propensities={1: 0.5, 2: 0.5, 99: 0.0}),
        Weights(version=policy.version, at_ms=NOW, propensities={1: 0.9, 2: 0.1}),
    ]
    fresh = make_report(facts(*totals, seed=4, weights=recorded), NOW)
    assert [row.share for row in fresh.variants] == [0.9, 0.1]
    assert [point.shares for point in fresh.shares] == [{"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}]
    assert [(point.at_ms, point.version) for point in fresh.shares] == [(LAUNCHED, 1), (NOW, policy.version)]
    stale = make_report(facts(*totals, seed=4, weights=recorded[:1]), NOW)
    assert {row.id: row.share for row in stale.variants} == policy.propensities
    assert sum(row.chance_to_win for row in stale.variants) == pytest.approx(1)
    assert stale.variants[0].chance_to_win > 0.95
    paused = make_report(facts(*totals, state="paused"), NOW)
    assert [row.share for row in paused.variants] == [None, None]


def test_an_ended_campaign_keeps_its_results():
    made = make_report(facts(arm(1, 5000, 50), arm(2, 5000, 500), state="ended", ended_ms=NOW - 7), NOW)
    assert (made.state, made.until_ms, made.generated_ms) == ("ended", NOW - 7, NOW)
    assert made.standing.leader == "b"


def test_load_times_have_their_75th_percentile():
    def histogram(number, metric, readings):
        buckets = {}
        for reading in readings:
            buckets[bucket_of(reading)] = buckets.get(bucket_of(reading), 0) + 1
        return VitalHistogram(variant_id=number, metric=metric, buckets=buckets)

    rng = np.random.default_rng(1)
    slow, fast = rng.lognormal(7.8, 0.4, 500), rng.lognormal(7.2, 0.4, 500)
    made = make_report(
        facts(vitals=[histogram(1, "LCP", slow), histogram(2, "LCP", fast), histogram(2, "CLS", [0.0])]), NOW
    )
    a, b = made.variants
    for row, readings in ((a, slow), (b, fast)):
        vital = row.vitals["LCP"]
        assert vital.readings == 500
        assert vital.p75 == pytest.approx(np.quantile(readings, 0.75, method="higher"), rel=0.03)
        assert vital.low < vital.p75 < vital.high
    assert b.vitals["CLS"] == Vital(readings=1, p75=0.0, low=None, high=None)
    together = made.totals.vitals["LCP"]
    assert together.readings == 1000
    assert b.vitals["LCP"].p75 < together.p75 < a.vitals["LCP"].p75


def test_a_split_that_was_not_intended_is_told():
    even = [Weights(version=1, at_ms=LAUNCHED, propensities={1: 0.5, 2: 0.5})]
    good = make_report(facts(arm(1, 5020, 50), arm(2, 4980, 50), allocation="uniform", weights=even), NOW)
    assert good.sample_ratio_p == 1.0
    assert not good.suspicious
    bad = make_report(facts(arm(1, 5400, 50), arm(2, 4600, 50), allocation="uniform", weights=even), NOW)
    assert bad.sample_ratio_p < 1e-6
    assert bad.suspicious
    assert "not shared out as intended" in bad.standing.text["en"]
    assert "não foi dividido" in bad.standing.text["pt-BR"]


@pytest.mark.parametrize(
    "unfit",
    [
        {"allocation": "thompson", "weights": [Weights(version=1, at_ms=1, propensities={1: 0.5, 2: 0.5})]},
        {"allocation": "uniform", "weights": []},
        {"allocation": "uniform", "weights": [Weights(version=1, at_ms=1, propensities={1: 1.0})]},
        {"allocation": "uniform", "variants": 1, "weights": [Weights(version=1, at_ms=1, propensities={1: 1.0})]},
    ],
)
def test_no_split_is_judged_that_was_not_fixed(unfit):
    made = make_report(facts(arm(1, 9000, 50), **unfit), NOW)
    assert made.sample_ratio_p is None
    assert not made.suspicious


async def test_it_is_built_from_the_store():
    """A store by name only: the five readings that a report takes of it."""
    given = facts(arm(1, 100, 7), arm(2, 80, 4))

    class Books:
        async def campaign(self, campaign_id):
            return given.campaign

        async def variants(self, campaign_id):
            return given.variants

        async def totals(self, campaign_id, *, fair=False):
            return given.totals

        async def vitals(self, campaign_id):
            return []

        async def weights(self, campaign_id):
            return []

        async def latest(self, campaign_id):
            return None

    class FakeStore:
        catalogue = rollups = rollouts = Books()

    assert await build_report(FakeStore(), 5, clock=FakeClock(NOW)) == make_report(given, NOW)
