"""Bidding under a budget, learnt by many bidders together: what is shared are counts, so a sum of them loses nothing.

A region counts (predicted CTR, market price) pairs and clicks; the sum of the regions' counts, through secure
aggregation, is the same integers as if all their auctions lay in one place. Methods, from the literature and ours:

* ``linear``: bid = b · θ / θ̄, b tuned on the training auctions (Perlich et al., KDD 2012);
* ``ortb``: bid = √(c θ / λ + c²) − c, λ tuned likewise (Zhang, Yuan, Wang: Optimal real-time bidding, KDD 2014);
* ``rl``: a Markov decision process over (auctions left, budget left), solved by dynamic programming with the mean CTR
  in place of each auction's (Cai et al.: Real-time bidding by reinforcement learning, WSDM 2017, algorithm 1);
* ``joint``: ours, the same process over the joint distribution of CTR and price, so that the future is valued at the
  auctions that will be picked, not at the mean one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.federated.masks import Words

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Auction = Literal["second", "first"]
METHODS = ("linear", "ortb", "rl", "joint")
FRACTIONS = (2, 4, 8, 16, 32, 64)
PRICES = 301
"""Market prices 0 … 300; dearer ones count as 300."""
BANDS = 40
"""Bands of predicted CTR: 40 equal steps of its logarithm from 10⁻⁵ to 1."""
DIM = BANDS * PRICES + BANDS
EPISODE = 1000
_GRID = 256


class Auctions(NamedTuple):
    """A log of auctions in the order of time. ``price`` is the highest bid of the others, in whole units."""

    click: Ints
    price: Ints
    ctr: Floats


COLUMNS = ("click", "market_price", "predicted_ctr")


def check_auctions(columns: Mapping[str, NDArray[Any]], field: str) -> Auctions:
    """The auctions of a table's :data:`COLUMNS`.

    Raises:
        InputError: a column is missing or cannot be used, or there are too few rows.
    """
    for name in COLUMNS:
        if name not in columns:
            raise InputError(f"has no column {name}", field=field, mend=f"give {', '.join(COLUMNS)}")
        if columns[name].dtype.kind not in "iufb":
            raise InputError("holds what is no number", field=f"{field}.{name}")
    click, price, ctr = (columns[name].astype(np.float64) for name in COLUMNS)
    if len(click) < EPISODE:
        raise InputError(f"has {len(click)} auctions", field=field, mend=f"give at least {EPISODE}")
    if not np.isin(click, (0, 1)).all():
        raise InputError("must be 0 or 1", field=f"{field}.click")
    if not (np.isfinite(price) & (price >= 0) & (price <= 1e6)).all():
        raise InputError("must be from 0 to 10⁶", field=f"{field}.market_price")
    if not (np.isfinite(ctr) & (ctr >= 0) & (ctr <= 1)).all() or not ctr.any():
        raise InputError("must be probabilities, and not all 0", field=f"{field}.predicted_ctr")
    return Auctions(click.astype(np.int64), np.rint(price).astype(np.int64), ctr)


def band_of(ctr: Floats) -> Ints:
    """The band of each predicted CTR."""
    place = (np.log10(np.clip(ctr, 1e-5, 1.0)) + 5) * (BANDS / 5)
    return np.clip(place.astype(np.int64), 0, BANDS - 1)


def counts_of(log: Auctions) -> Words:
    """What a region contributes: ``DIM`` counts, auctions by band and price, then clicks by band."""
    band = band_of(log.ctr)
    pairs = np.bincount(band * PRICES + np.minimum(log.price, PRICES - 1), minlength=BANDS * PRICES)
    clicks = np.bincount(band, weights=log.click, minlength=BANDS)
    return np.concatenate((pairs, clicks)).astype(np.uint32)


class Market(NamedTuple):
    """What was learnt: how often each (band, price) occurs, and the clicks that a band's auctions bring."""

    joint: Floats
    value: Floats

    @property
    def prices(self) -> Floats:
        """How often each price occurs."""
        return np.asarray(self.joint.sum(axis=0))


def market_of(counts: Floats, strength: float = 200.0) -> Market:
    """The market that the summed counts tell of; noise below zero counts as nothing.

    A band's value is its middle CTR, corrected by one factor for all and then by the band's own clicks, which weigh
    against ``strength`` expected ones: few clicks change little.
    """
    pairs = np.maximum(counts[: BANDS * PRICES].reshape(BANDS, PRICES), 0.0)
    clicks = np.maximum(counts[BANDS * PRICES :], 0.0)
    total = pairs.sum()
    if total <= 0:
        raise InputError("holds no auctions", field="counts")
    middle = 10.0 ** ((np.arange(BANDS) + 0.5) * (5 / BANDS) - 5)
    shown = pairs.sum(axis=1)
    expected = middle * shown
    overall = (clicks.sum() + 1) / (expected.sum() + 1)
    factor = (clicks + strength * overall) / (expected + strength)
    return Market(pairs / total, np.clip(middle * factor, 0.0, 1.0))


class Bidder(Protocol):
    """Says what to bid. ``left`` counts the auctions still to come, this one included."""

    def bids(self, left: int, budget: Floats, ctr: Floats) -> Floats: ...


class Linear(NamedTuple):
    """bid = ``slope`` · θ."""

    slope: float

    def bids(self, left: int, budget: Floats, ctr: Floats) -> Floats:  # noqa: ARG002  the same at any time
        return self.slope * ctr


class Ortb(NamedTuple):
    """bid = √(c θ / λ + c²) − c."""

    c: float
    rate: float

    def bids(self, left: int, budget: Floats, ctr: Floats) -> Floats:  # noqa: ARG002  the same at any time
        return np.asarray(np.sqrt(self.c * ctr / self.rate + self.c**2) - self.c)


class Planned(NamedTuple):
    """Bids by a table of what is still to be won: ``table[t, g]`` clicks with t auctions and budget ``g · step`` left.

    The bid is the price at which winning is worth no more than keeping the money. ``factor[band]`` turns a predicted
    CTR into its value. Under first price the bid is shaded: the best of ``won`` (the chance to win at each price)
    times what is gained.
    """

    table: Floats
    step: float
    factor: Floats
    won: Floats | None = None

    def bids(self, left: int, budget: Floats, ctr: Floats) -> Floats:
        row = self.table[min(left, len(self.table)) - 1]
        value = ctr * self.factor[band_of(ctr)]
        at = np.arange(len(row)) * self.step
        keep = np.interp(budget, at, row)
        most = budget - np.interp(keep - value, row, at)
        if self.won is None:
            return np.asarray(most)
        price = np.arange(PRICES)
        gain = value[:, None] - keep[:, None] + np.interp(budget[:, None] - price, at, row)
        gain = np.where(price <= np.minimum(most, budget)[:, None], gain * self.won, -1.0)
        return np.asarray(np.argmax(gain, axis=1), np.float64)


def plan(
    joint: Floats, value: Floats, auctions: int, budget: float, auction: Auction = "second"
) -> tuple[Floats, float]:
    """The table of :class:`Planned`, by dynamic programming, and its step.

    V(t, b) = V(t−1, b) + Σ p(θ, δ) · max(0, θ + V(t−1, b − δ) − V(t−1, b)) under second price; under first price the
    gain is that of the best bid a, F(a) · (θ + V(t−1, b − a) − V(t−1, b)), prices taken as independent of θ.
    """
    cost, mass = _coarse(joint)
    busy = joint.sum(axis=1) > 0
    mass, value = mass[busy], value[busy]
    won = np.cumsum(mass.sum(axis=0))
    grid = int(min(_GRID, max(2, budget + 1)))
    step = budget / (grid - 1)
    left = np.arange(grid)[:, None] - cost[None, :] / step
    afford = left >= 0
    low = np.clip(np.floor(left).astype(np.int64), 0, grid - 2)
    part = np.clip(left - low, 0.0, 1.0)
    table = np.zeros((auctions, grid))
    for t in range(1, auctions):
        before = table[t - 1]
        lost = np.where(afford, before[low] * (1 - part) + before[low + 1] * part - before[:, None], -np.inf)
        gain = np.zeros(grid)
        for one, weight in zip(value, mass, strict=True):
            better = np.maximum(one + lost, 0.0)
            gain += better @ weight if auction == "second" else weight.sum() * (better * won).max(axis=1)
        table[t] = np.maximum.accumulate(before + gain)
    return table, step


def _coarse(joint: Floats, most: int = 48) -> tuple[Floats, Floats]:
    """Prices in at most ``most`` groups of about equal weight: their mean costs, and each band's mass in them."""
    weight = joint.sum(axis=0)
    group = np.minimum((np.cumsum(weight) - weight / 2) / weight.sum() * most, most - 1).astype(np.int64)
    _, group = np.unique(group, return_inverse=True)
    count = group.max() + 1
    sums = np.bincount(group, weights=weight, minlength=count)
    cost = np.bincount(group, weights=weight * np.arange(PRICES), minlength=count)
    mass = np.stack([np.bincount(group, weights=row, minlength=count) for row in joint])
    return cost / np.maximum(sums, 1e-300), np.asarray(mass, np.float64)


class Result(NamedTuple):
    """What a method won on the test auctions with one budget. ``win_rate`` is of the auctions."""

    method: str
    fraction: int
    budget: float
    clicks: int
    cost: float
    win_rate: float


def replay(bidder: Bidder, log: Auctions, budget: float, auction: Auction = "second") -> tuple[int, float, float]:
    """Bid on ``log`` in episodes of 1,000 auctions with ``budget`` each: clicks won, money spent, share of auctions
    won.

    Clicks of auctions that were not won are never seen by the bidder. The last episode may be shorter.
    """
    count = -(-len(log.price) // EPISODE)
    padded = count * EPISODE - len(log.price)
    price = np.pad(log.price, (0, padded), constant_values=1 << 40).reshape(count, EPISODE)
    click = np.pad(log.click, (0, padded)).reshape(count, EPISODE)
    ctr = np.pad(log.ctr, (0, padded)).reshape(count, EPISODE)
    left = np.full(count, float(budget))
    left[-1] = budget * (EPISODE - padded) / EPISODE
    clicks, won = 0, 0
    for t in range(EPISODE):
        bid = np.floor(np.minimum(bidder.bids(EPISODE - t, left, ctr[:, t]), left) + 1e-9)
        wins = (bid >= price[:, t]) & (bid >= 0)
        left -= np.where(wins, price[:, t] if auction == "second" else bid, 0.0)
        clicks += int(click[wins, t].sum())
        won += int(wins.sum())
    whole = budget * count - budget * padded / EPISODE
    return clicks, whole - float(left.sum()), won / len(log.price)


def _tuned(
    make: Callable[[float], Bidder], grid: Sequence[float], log: Auctions, budget: float, auction: Auction
) -> Bidder:
    """The parameter with the most clicks on the training auctions; of several, the one that spends least."""
    tried = [(replay(make(one), log, budget, auction), one) for one in grid]
    return make(max(tried, key=lambda found: (found[0][0], -found[0][1]))[1])


def fitted(method: str, market: Market, log: Auctions, budget: float, auction: Auction = "second") -> Bidder:
    """A bidder by ``method`` for episodes with ``budget``. ``rl`` and ``joint`` need the market only, no auctions."""
    middle = 10.0 ** ((np.arange(BANDS) + 0.5) * (5 / BANDS) - 5)
    mean = float(market.joint.sum(axis=1) @ middle)  # θ̄ of the predicted CTRs, as the papers have it
    if method == "linear":
        return _tuned(lambda b: Linear(b / mean), np.geomspace(4, 400, 24).tolist(), log, budget, auction)
    if method == "ortb":
        c = _landscape(market.prices)
        return _tuned(lambda rate: Ortb(c, rate), (mean * np.geomspace(1e-4, 1, 24)).tolist(), log, budget, auction)
    if method not in METHODS:
        raise InputError(f"there is no method {method!r}", field="method", mend=f"one of {', '.join(METHODS)}")
    won = np.cumsum(market.prices) if auction == "first" else None
    if method == "rl":
        table, step = plan(market.prices[None, :], np.array([mean]), EPISODE, budget, auction)
        return Planned(table, step, np.ones(BANDS), won)
    table, step = plan(market.joint, market.value, EPISODE, budget, auction)
    return Planned(table, step, market.value / middle, won)


def _landscape(prices: Floats) -> float:
    """c of the winning chance b / (c + b) that is nearest to the observed one (least squares over the prices)."""
    bid = np.arange(PRICES)
    won = np.cumsum(prices)
    grid = np.geomspace(1, 400, 200)
    return float(grid[np.argmin(((bid / (grid[:, None] + bid) - won) ** 2).sum(axis=1))])


def compare(
    train: Auctions,
    test: Auctions,
    markets: Mapping[str, Market],
    auction: Auction = "second",
    fractions: Sequence[int] | None = None,
) -> list[Result]:
    """Every method at every budget: an episode's is the mean training price × 1,000 / fraction.

    ``markets`` names what ``rl`` and ``joint`` learn from: ``centralised``, ``federated``, ``local 3``, …; the methods
    of the others carry the name of the market behind a slash.
    """
    cost = float(train.price.mean()) * EPISODE
    found = []
    for fraction in fractions or FRACTIONS:
        budget = cost / fraction
        bidders = {method: fitted(method, markets["centralised"], train, budget, auction) for method in METHODS} | {
            f"joint/{name}": fitted("joint", market, train, budget, auction)
            for name, market in markets.items()
            if name != "centralised"
        }
        whole = budget * len(test.price) / EPISODE
        for name, bidder in bidders.items():
            clicks, spent, rate = replay(bidder, test, budget, auction)
            found.append(Result(name, fraction, round(whole, 2), clicks, round(spent, 2), round(rate, 4)))
    return found


def regions_of(log: Auctions, count: int) -> list[Auctions]:
    """``log`` cut into ``count`` regions of consecutive auctions: their markets differ as time does."""
    edges = [math.floor(len(log.price) * n / count) for n in range(count + 1)]
    return [Auctions(log.click[a:b], log.price[a:b], log.ctr[a:b]) for a, b in pairwise(edges)]
