"""From counters to evidence: each metric's sums, by the share they were counted under."""

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments import Guardrail, pair_terms, read_guardrail
from arauto.loop.evidence import METRICS, RATES, VITALS, Ledger, check_rail, default_rails, standard_guardrail
from arauto.store import BUCKET_RATIO, ZERO_BUCKET, Staged, StageMark, StageTotals, StageVital, bucket_of


def totals(stage, segment="mobile", **counts):
    return StageTotals(stage=stage, segment=segment, **counts)


def ledger(*rows, vitals=(), marks=(), shares=None):
    staged = Staged(totals=list(rows), vitals=list(vitals), marks=list(marks))
    return Ledger(shares or {7: 0.1, 8: 0.5}, staged)


def spread(middle):
    return {bucket_of(middle) + step: 20 for step in range(-10, 11)}


def test_blocks_keep_the_share_they_were_counted_under():
    found = ledger(
        totals(14, impressions=900, clicks=90),
        totals(15, impressions=100, clicks=8),
        totals(16, impressions=500, clicks=50),
        totals(17, "desktop", impressions=500, clicks=60),
        totals(21, impressions=10**6, clicks=1),  # another release's
    )
    expected = pair_terms([0.1, 0.5], [[900, 100], [500, 500]], [[90, 8], [50, 60]], [[90, 8], [50, 60]]).sum(axis=0)
    assert np.array_equal(found.measure(standard_guardrail("ctr")).sums, expected)
    assert found.exposures() == 600
    assert found.mismatch() > 0.5
    assert ledger(totals(14, impressions=500), totals(15, impressions=500)).mismatch() < 1e-6
    assert ledger().mismatch() == 1.0


def test_ratios_and_money():
    found = ledger(
        totals(
            16,
            impressions=1000,
            purchases=50,
            value_cents=5000,
            value_sq=10**6,
            ratings=10,
            rating_sum=40,
            rating_sq=170,
        ),
        totals(
            17,
            impressions=1000,
            purchases=40,
            value_cents=6000,
            value_sq=10**6,
            ratings=10,
            rating_sum=45,
            rating_sq=210,
        ),
    )
    readings = {
        name: read_guardrail(standard_guardrail(name), found.measure(standard_guardrail(name)), 0.1)
        for name in ("cpa", "revenue", "rating", "conversion")
    }
    assert readings["cpa"].change == pytest.approx(0.25)  # impressions per purchase: 25 against 20
    assert readings["revenue"].change == pytest.approx(0.2)
    assert readings["rating"].change == pytest.approx(0.125)
    assert readings["conversion"].change == pytest.approx(-0.2)
    assert readings["cpa"].harm > 0 > readings["revenue"].harm


def test_parity_knows_every_segment():
    found = ledger(totals(16, impressions=500, clicks=50), totals(17, impressions=500, clicks=10))
    rail = standard_guardrail("ctr.parity")
    measured = found.measure(rail)
    assert set(measured.segments) == {"unknown", "desktop", "mobile", "tablet"}
    assert read_guardrail(rail, measured, 0.2).segment == "mobile"


def test_marks_and_load_times():
    found = ledger(
        totals(16, impressions=500),
        totals(17, impressions=500),
        marks=[StageMark(stage=17, name="complaint", marks=30), StageMark(stage=16, name="complaint", marks=5)],
        vitals=[
            StageVital(stage=16, metric="LCP", buckets={**spread(1000.0), ZERO_BUCKET: 1}),
            StageVital(stage=17, metric="LCP", buckets=spread(2000.0)),
            StageVital(stage=17, metric="CLS", buckets={bucket_of(0.1): 1}),
        ],
    )
    ceiling = found.measure(standard_guardrail("complaints"))
    assert (ceiling.events, ceiling.exposures) == (30, 500)
    assert read_guardrail(standard_guardrail("complaints"), ceiling, 0.1).harm > 10
    rate = Guardrail(name="complaints", bad="greater")
    assert read_guardrail(rate, found.measure(rate), 0.1).change == pytest.approx(5.0)
    load = read_guardrail(standard_guardrail("lcp"), found.measure(standard_guardrail("lcp")), 0.1)
    assert load.change == pytest.approx(1.0, rel=0.05)
    assert load.harm > 10
    empty = found.measure(standard_guardrail("inp"))
    assert read_guardrail(standard_guardrail("inp"), empty, 0.1).safety == 0.0


def test_every_metric_has_a_guardrail_and_others_are_refused():
    for name in (*METRICS, *RATES, *VITALS):
        rail = standard_guardrail(name)
        assert check_rail(rail) == rail
    assert check_rail(Guardrail(name="lcp.slow", kind="quantile", bad="greater")).bucket_ratio == BUCKET_RATIO
    names = [rail.name for rail in default_rails("click", lambda metric: metric == "LCP")]
    assert names == ["ctr", "lcp", "complaints", "errors", "violations"]
    assert default_rails("rating", lambda _: False)[0].name == "rating"
    for rail in (
        Guardrail(name="fame"),
        Guardrail(name="ctr", kind="quantile"),
        Guardrail(name="errors", kind="parity", bad="greater"),
        Guardrail(name="ctr", bad="greater"),
    ):
        with pytest.raises(InputError) as refused:
            check_rail(rail)
        assert refused.value.field == "guardrails"
