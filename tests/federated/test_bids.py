"""Bidding: sums lose nothing, budgets hold, plans beat what does not plan."""

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.federated.bidding import federated_market
from arauto.federated.bids import (
    BANDS,
    Auctions,
    check_auctions,
    compare,
    counts_of,
    fitted,
    market_of,
    regions_of,
    replay,
)


def table(click, price, ctr):
    return {"click": click, "market_price": price, "predicted_ctr": ctr}


def auctions(count, seed=0):
    draw = np.random.default_rng(seed)
    ctr = np.clip(draw.lognormal(-4, 0.8, count), 0, 1)
    price = np.minimum(draw.gamma(1.2, 40, count), 300).astype(int)
    return check_auctions(table((draw.random(count) < ctr).astype(int), price, ctr), "log")


TRAIN, TEST = auctions(6000), auctions(4500, 1)


@pytest.fixture(scope="module")
def market():
    return market_of(counts_of(TRAIN).astype(float))


def test_the_federated_market_is_the_centralised_one(market):
    found = federated_market(regions_of(TRAIN, 5))
    assert (found.joint == market.joint).all()
    assert (found.value == market.value).all()


def test_noise_changes_the_market_but_it_stays_one(market):
    found = federated_market(regions_of(TRAIN, 5), 20.0)
    assert (found.joint != market.joint).any()
    assert found.joint.min() >= 0
    assert found.joint.sum() == pytest.approx(1)


@pytest.mark.parametrize("auction", ["second", "first"])
def test_budgets_hold_and_planning_pays(market, auction):
    found = compare(Auctions(*(column[:2000] for column in TRAIN)), TEST, {"centralised": market}, auction, (16,))
    clicks = {}
    for one in found:
        assert one.cost <= one.budget + 1e-6
        assert 0 < one.win_rate < 1
        clicks[one.method] = clicks.get(one.method, 0) + one.clicks
        assert one.clicks <= TEST.click.sum()
    assert clicks["joint"] > 0.5 * clicks["linear"]


def test_a_plan_wins_more_than_bidding_the_mean_price(market):
    """Over several worlds, so that luck with few clicks does not decide."""

    class Flat:
        def bids(self, left, budget, ctr):
            return np.full(len(ctr), 30.0)

    planned = flat = 0
    budget = 4000.0
    bidder = fitted("joint", market, TRAIN, budget)
    for seed in range(3):
        world = auctions(5000, 10 + seed)
        planned += replay(bidder, world, budget)[0]
        flat += replay(Flat(), world, budget)[0]
    assert planned > 1.2 * flat


def test_an_expensive_world_is_left_alone():
    log = Auctions(np.ones(1000, np.int64), np.full(1000, 500), np.full(1000, 0.5))
    market = market_of(counts_of(log).astype(float))
    assert replay(fitted("joint", market, log, 100.0), log, 100.0)[0] == 0


@pytest.mark.parametrize(
    ("click", "price", "ctr", "field"),
    [
        (2, 1, 0.1, "x.click"),
        (1, -1, 0.1, "x.market_price"),
        (1, 1, 1.5, "x.predicted_ctr"),
        (1, 1, 0.0, "x.predicted_ctr"),
    ],
)
def test_columns_that_cannot_be_used(click, price, ctr, field):
    with pytest.raises(InputError) as wrong:
        check_auctions(table(*(np.full(1000, value) for value in (click, price, ctr))), "x")
    assert wrong.value.field == field


def test_too_few_auctions_and_none():
    with pytest.raises(InputError):
        check_auctions(table(np.ones(3), np.ones(3), np.ones(3)), "x")
    with pytest.raises(InputError, match="no column"):
        check_auctions({"click": np.ones(3)}, "x")
    with pytest.raises(InputError, match="no number"):
        check_auctions(table(np.array(["a"]), np.ones(1), np.ones(1)), "x")
    with pytest.raises(InputError):
        market_of(np.zeros(BANDS * 301 + BANDS))
    with pytest.raises(InputError):
        fitted("magic", market_of(counts_of(TRAIN).astype(float)), TRAIN, 1.0)
