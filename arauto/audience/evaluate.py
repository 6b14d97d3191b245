"""Which recommender is best on a log: ours and its peers, each tuned on the validation item, measured on the test item.

Leave-last-out by time, every item ranked. Models are fitted on what precedes the validation item; at the test, users
bring their whole history, validation item included. ``retrained`` is ours fitted again with the validation items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.audience import peers
from arauto.audience.extras import has
from arauto.audience.interactions import Interactions, Split, leave_last_out
from arauto.audience.linear import Recipe, Statistics, histories
from arauto.audience.ranking import RESAMPLES, Measured, Quality, Scorer, gains, quality, ranks

OURS = "arauto"
MANY_ITEMS = 4000
"""Above so many items, one fit takes seconds: fewer settings are tried."""
Fit = Callable[[Interactions, dict[str, float]], Callable[[Interactions], Scorer]]
"""From a log and settings to what scores the users of a log."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model: its settings chosen on the validation item, its quality on the test item, the seconds of one fit."""

    model: str
    settings: dict[str, float]
    quality: Quality
    fit_seconds: float
    valid_ndcg: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All models on one log. ``ahead`` is our NDCG@10 less the best peer's, paired by user."""

    events: int
    users: int
    items: int
    rows: list[Row]
    retrained: Quality
    best_peer: str
    ahead: Measured
    missing: list[str]


def evaluate(
    log: Interactions, *, seed: int = 0, tune: bool = True, told: Callable[[str], None] | None = None
) -> Evaluation:
    """Compare the models on ``log``. ``told`` hears of each as it begins.

    Raises:
        InputError: nobody has three items.
    """
    split = leave_last_out(log)
    rows: list[Row] = []
    found: dict[str, NDArray[np.int64]] = {}
    for name, grid, fit in _models(split, small=len(log.item_names) <= MANY_ITEMS, tune=tune):
        if told is not None:
            told(name)
        row, found[name] = _run(name, grid, fit, split, seed)
        rows.append(row)
    best = max((row for row in rows if row.model != OURS), key=lambda row: row.quality.ndcg.value).model
    again = _linear(split.known, rows[0].settings)(split.known)
    return Evaluation(
        events=len(log.users),
        users=len(split.users),
        items=len(log.item_names),
        rows=sorted(rows, key=lambda row: -row.quality.ndcg.value),
        retrained=quality(_test(again, split), np.random.default_rng(seed)),
        best_peer=best,
        ahead=_paired(found[OURS], found[best], np.random.default_rng(seed)),
        missing=[] if has("implicit") else ["implicit_als: pip install implicit"],
    )


def _models(split: Split, *, small: bool, tune: bool) -> Iterable[tuple[str, list[list[dict[str, float]]], Fit]]:
    moments = np.full(len(split.known.user_names), np.inf)
    moments[split.users] = split.known.times[split.known.starts[split.users + 1] - 1]

    def counts(log: Interactions, _: dict[str, float]) -> Callable[[Interactions], Scorer]:
        scorer = peers.popularity(log)
        return lambda _: scorer

    def lately(log: Interactions, given: dict[str, float]) -> Callable[[Interactions], Scorer]:
        scorer = peers.popular_lately(log, moments, given["share"])
        return lambda _: scorer

    start = msgspec.to_builtins(Recipe())
    yield OURS, [[start], *(axes(small=small) if tune else [])], _linear
    yield "ease", [[{"ridge": ridge} for ridge in ((30, 100, 200, 300, 500, 1000) if small else (30, 200))]], _ease
    near, shrunk = ((50, 200, 1000), (0, 10, 50)) if small else ((100, 1000), (10,))
    yield "item_knn", [[{"neighbours": k, "shrink": s} for k in near for s in shrunk]], _knn
    if has("implicit"):
        grid: list[dict[str, float]] = [
            {"factors": f, "ridge": r, "alpha": a} for f in (32, 64, 128) for r in (0.1, 10.0) for a in (1, 10)
        ]
        yield "implicit_als", [grid if small else grid[::5]], _als
    shares = (0.005, 0.02, 0.1, 0.3) if small else (0.02, 0.2)
    yield "popular_lately", [[{"share": share} for share in shares]], lately
    yield "popularity", [[{}]], counts


def axes(*, small: bool) -> list[list[dict[str, float]]]:
    """What is tried of ours: one setting after the other, each with the best of those before."""
    return [
        [{"late": late} for late in (0.5, 0.0)],
        # With a fit a minute, only what helps where there are many items.
        [{"ahead": ahead} for ahead in (0.6, 0.0)] if small else [],
        [{"reverse": reverse} for reverse in (0.5, 0.0)] if small else [],
        [{"back": back} for back in (0.3, 0.0)],
        [{"alike": alike} for alike in (0.015, 0.0)],
        # How fast the reading forgets says how much a single pair has to carry, and so how hard to hold it down.
        [{"read": 0.7}],
        [{"ridge": ridge} for ridge in ((30.0, 100.0, 300.0, 1000.0) if small else (200.0,))],
        [{"decay": decay} for decay in (0.8, 0.9, 0.96)] if small else [],
    ]


def _linear(log: Interactions, given: dict[str, float]) -> Callable[[Interactions], Scorer]:
    recipe = msgspec.convert(given, Recipe)
    statistics = Statistics(len(log.item_names), recipe)
    statistics.count(log)
    matrix = statistics.solve()
    return lambda known: peers.apply(matrix, known, recipe.reading)


def _ease(log: Interactions, given: dict[str, float]) -> Callable[[Interactions], Scorer]:
    matrix = peers.ease(log, given["ridge"])
    return lambda known: peers.apply(matrix, known)


def _knn(log: Interactions, given: dict[str, float]) -> Callable[[Interactions], Scorer]:
    matrix = peers.item_knn(log, int(given["neighbours"]), given["shrink"])
    return lambda known: peers.apply(matrix, known)


def _als(log: Interactions, given: dict[str, float]) -> Callable[[Interactions], Scorer]:
    return peers.implicit_als(log, int(given["factors"]), given["ridge"], given["alpha"])


def _run(
    name: str, grid: Sequence[Sequence[dict[str, float]]], fit: Fit, split: Split, seed: int
) -> tuple[Row, NDArray[np.int64]]:
    """Choose on the validation item, axis by axis; measure on the test item."""
    settings: dict[str, float] = {}
    tried: list[dict[str, float]] = []
    reached, seconds = -1.0, 0.0
    ready: Callable[[Interactions], Scorer] | None = None
    for axis in grid:
        base = settings
        for change in axis:
            given = {**base, **change}
            if given in tried:
                continue
            tried.append(given)
            started = time.perf_counter()
            made = fit(split.fit, given)
            took = time.perf_counter() - started
            found = float(gains(_valid(made(split.fit), split))[:, 1].mean())
            if found > reached:
                reached, seconds, settings, ready = found, took, given, made
    if ready is None:
        raise ValueError("nothing to try")
    ranked = _test(ready(split.known), split)
    row = Row(
        model=name,
        settings=settings,
        quality=quality(ranked, np.random.default_rng(seed)),
        fit_seconds=round(seconds, 3),
        valid_ndcg=reached,
    )
    return row, ranked


def _valid(score: Scorer, split: Split) -> NDArray[np.int64]:
    return ranks(score, split.users, split.valid, histories(split.fit, 1.0, upto=True))


def _test(score: Scorer, split: Split) -> NDArray[np.int64]:
    return ranks(score, split.users, split.test, histories(split.known, 1.0, upto=True))


def _paired(ours: NDArray[np.int64], theirs: NDArray[np.int64], rng: np.random.Generator) -> Measured:
    apart: NDArray[Any] = gains(ours)[:, 1] - gains(theirs)[:, 1]
    draws = [apart[rng.integers(0, len(apart), len(apart))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Measured(value=float(apart.mean()), low=float(low), high=float(high))
