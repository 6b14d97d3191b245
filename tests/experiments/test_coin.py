"""Bets on the coin given the outcome, and the one early look."""

import math

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.coin import CHECK_AT, Trials, coin_evidence, early_look
from arauto.experiments.mixture import Prior

PRIOR = Prior(0.3, 0.6)


def trials(share, n, k):
    return Trials(np.array(share, float), np.array(n, float), np.array(k, float))


def test_it_is_the_likelihood_ratio_of_the_coin():
    """Against the plain product over visitors, with the stakes' mean over the same sizes."""
    share, n, k = [0.2, 0.5], [[80, 20], [50, 50]], [[8, 1], [5, 3]]
    p = 17 / 200
    total = 0.0
    for size, stake in zip(PRIOR.sizes(), np.exp(PRIOR.stakes()), strict=True):
        tilt = max(1.0 - size, 0.02)
        rest = (1.0 - p * tilt) / (1.0 - p)
        product = 1.0
        for e, (n0, n1), (k0, k1) in zip(share, n, k, strict=True):
            for odds, treated, control in ((tilt, k1, k0), (rest, n1 - k1, n0 - k0)):
                chance = e * odds / (1.0 - e + e * odds)
                product *= (chance / e) ** treated * ((1.0 - chance) / (1.0 - e)) ** control
        total += stake * product
    assert float(coin_evidence(trials(share, n, k), "less", PRIOR)) == pytest.approx(math.log(total))


def test_it_is_fair_and_sees_both_sides():
    """Its mean over the coins of 9 visitors, of whom 3 bought, is 1 exactly, but for the pooled rate it is told."""
    e, mean = 0.3, 0.0
    for buyers in range(4):
        for others in range(7):
            chance = math.comb(3, buyers) * math.comb(6, others) * e ** (buyers + others)
            chance *= (1.0 - e) ** (9 - buyers - others)
            told = trials([e], [[9 - buyers - others, buyers + others]], [[3 - buyers, buyers]])
            mean += chance * math.exp(float(coin_evidence(told, "less", PRIOR)))
    assert mean == pytest.approx(1.0)
    worse, better = trials([0.5], [[1000, 1000]], [[100, 60]]), trials([0.5], [[1000, 1000]], [[100, 140]])
    assert coin_evidence(worse, "less", PRIOR) > 3.0 > 0.0 > coin_evidence(better, "less", PRIOR)
    assert coin_evidence(better, "greater", PRIOR) > 2.0 > 0.0 > coin_evidence(worse, "greater", PRIOR)
    assert coin_evidence(trials([0.5], [[0, 0]], [[0, 0]]), "less", PRIOR) == pytest.approx(0.0)
    sure = trials([0.5], [[10, 10]], [[10, 10]])
    assert np.isfinite([coin_evidence(sure, side, PRIOR) for side in ("less", "greater")]).all()


def test_it_needs_fewer_visitors_than_a_bet_that_suits_any_outcome():
    from arauto.experiments.comparison import lift_evidence, pair_terms

    rng = np.random.default_rng(3)
    looks, runs = 200, 60
    n = np.cumsum(np.broadcast_to([2475.0, 25.0], (runs, looks, 2)), axis=1)
    k = np.cumsum(rng.binomial([2475, 25], [0.05, 0.035], (runs, looks, 2)).astype(float), axis=1)
    ours = coin_evidence(Trials(np.array([0.01]), n[:, :, None], k[:, :, None]), "less", PRIOR)
    sums = pair_terms(np.full((runs, looks), 0.01), n, k, k)
    theirs = lift_evidence(sums, side="less", prior=PRIOR)
    first = [np.median((found >= math.log(20.0)).argmax(axis=1)) for found in (ours, theirs)]
    assert first[0] < 0.97 * first[1]


def test_a_harmless_change_is_seldom_refuted_however_often_one_looks():
    rng = np.random.default_rng(4)
    runs, looks, share = 400, 150, np.array([0.05])
    n = np.cumsum(np.broadcast_to([475.0, 25.0], (runs, looks, 2)), axis=1)[:, :, None]
    k = np.cumsum(rng.binomial([475, 25], 0.08, (runs, looks, 2)).astype(float), axis=1)[:, :, None]
    harm = coin_evidence(Trials(share, n, k), "less", PRIOR)
    assert (harm >= math.log(20.0)).any(axis=1).mean() <= 0.05
    early = []
    for run in range(runs):
        looked = (early_look(Trials(share, n[run, at], k[run, at]), "less") for at in range(looks))
        early.append(next(p for p in looked if p is not None))
    assert np.mean(np.array(early) <= 0.05) <= 0.07


def test_the_early_look_comes_when_enough_is_due_and_bounds_the_tail():
    assert early_look(trials([0.01], [[9900, 100]], [[990, 10]]), "less") is None
    at = int(CHECK_AT / 0.01)
    low = early_look(trials([0.01], [[89_100, 900]], [[at - 30, 30]]), "less")
    exact = sum(math.exp(i * math.log(45.0) - 45.0 - math.lgamma(i + 1)) for i in range(31))
    assert low == pytest.approx(exact)
    assert early_look(trials([0.01], [[89_100, 900]], [[at - 30, 30]]), "greater") == 1.0
    high = early_look(trials([0.01], [[89_100, 900]], [[at - 62, 62]]), "greater")
    assert high == pytest.approx(1.0 - sum(math.exp(i * math.log(45.0) - 45.0 - math.lgamma(i + 1)) for i in range(62)))
    assert early_look(trials([0.01], [[89_100, 900]], [[at - 45, 45]]), "less") == 1.0
    assert early_look(trials([0.5], [[900, 900]], [[400, 0]]), "less") < 1e-60


def test_counts_that_cannot_be_are_refused():
    for bad in (trials([1.0], [[1, 1]], [[0, 0]]), trials([0.5], [[1, 1]], [[2, 0]]), trials([0.5], [[1]], [[0]])):
        with pytest.raises(InputError):
            coin_evidence(bad, "less", PRIOR)
