"""Histograms keep their promise of relative accuracy."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.store.vitals import ACCURACY, LEAST, ZERO_BUCKET, bucket_of, quantile_of, reading_of


@given(st.floats(LEAST * 1.0001, 3_600_000))
def test_a_bucket_stands_for_its_readings(reading: float) -> None:
    assert abs(reading_of(bucket_of(reading)) - reading) <= reading * ACCURACY * 1.000001


@given(st.floats(0, 3_600_000), st.floats(0, 3_600_000))
def test_buckets_keep_the_order(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert bucket_of(low) <= bucket_of(high)


def test_nothing_is_in_the_zero_bucket_but_next_to_nothing() -> None:
    assert bucket_of(0) == bucket_of(LEAST) == ZERO_BUCKET
    assert bucket_of(LEAST * 1.01) > ZERO_BUCKET
    assert reading_of(ZERO_BUCKET) == 0
    assert -(2**15) < ZERO_BUCKET < bucket_of(3_600_000) < 2**15


@pytest.mark.parametrize("reading", [-1.0, math.nan, math.inf])
def test_what_is_no_reading_is_refused(reading: float) -> None:
    with pytest.raises(ValueError, match="reading"):
        bucket_of(reading)


@pytest.mark.parametrize("q", [0.0, 0.5, 0.75, 0.99, 1.0])
def test_quantiles_are_within_the_promise(q: float) -> None:
    rng = random.Random(3)
    readings = sorted(rng.lognormvariate(7.5, 0.8) for _ in range(2001))
    buckets: dict[int, int] = {}
    for reading in readings:
        buckets[bucket_of(reading)] = buckets.get(bucket_of(reading), 0) + 1
    true = readings[max(1, math.ceil(q * len(readings))) - 1]
    told = quantile_of(buckets, q)
    assert told is not None
    assert abs(told - true) <= true * ACCURACY * 1.000001


def test_quantiles_of_odd_histograms() -> None:
    assert quantile_of({}, 0.5) is None
    assert quantile_of({3: 0}, 0.5) is None
    assert quantile_of({ZERO_BUCKET: 5}, 0.5) == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile_of({1: 1}, 1.5)
    with pytest.raises(ValueError, match="below zero"):
        quantile_of({1: -3, 2: -1}, 0.5)
