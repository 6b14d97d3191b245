"""How good a ranking is: hit rate and NDCG of one held-back item a user, over all items, none sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

AT = 10
RESAMPLES = 1000
Scorer = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Scores of all items, users × items, for some users (codes). The result may be written to."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % bootstrap interval over users."""

    value: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """HR@10 and NDCG@10 (one relevant item: 1/log₂(1 + rank)), of how many users."""

    hit_rate: Measured
    ndcg: Measured
    users: int


def ranks(score: Scorer, users: NDArray[np.int64], targets: NDArray[np.int64], seen: Any) -> NDArray[np.int64]:
    """The rank from 0 of each user's target among all items the user has not ``seen`` (sparse, all users × items).

    Of equal scores, half of the others count as better: a model that tells nothing apart gains nothing by it.
    """
    found = []
    for start in range(0, len(users), 1024):
        some, wanted = users[start : start + 1024], targets[start : start + 1024]
        scores = np.asarray(score(some))
        known = seen[some]
        scores[np.repeat(np.arange(len(some)), np.diff(known.indptr)), known.indices] = -np.inf
        own = scores[np.arange(len(some)), wanted][:, None]
        found.append((scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) // 2)
    return np.concatenate(found)


def gains(found: NDArray[np.int64]) -> NDArray[np.float64]:
    """HR@10 and NDCG@10 of each rank, ranks × 2."""
    hit = found < AT
    return np.stack([hit, np.where(hit, 1.0 / np.log2(found + 2.0), 0.0)], axis=1)


def quality(found: NDArray[np.int64], rng: np.random.Generator) -> Quality:
    """The means over users, with percentile bootstrap intervals."""
    each = gains(found)
    draws = np.empty((RESAMPLES, 2))
    for place in range(RESAMPLES):
        draws[place] = each[rng.integers(0, len(each), len(each))].mean(axis=0)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    hit, ndcg = (
        Measured(value=float(value), low=float(lowest), high=float(highest))
        for value, lowest, highest in zip(each.mean(axis=0), low, high, strict=True)
    )
    return Quality(hit_rate=hit, ndcg=ndcg, users=len(each))
