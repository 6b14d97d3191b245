"""Segments that move with the visitors: clusters of their vectors, with ids that last, drift, names and a map.

Spherical k-means (Dhillon & Modha 2001), started from the centroids of before, so that a quiet day changes little. New
clusters take the ids of old ones by the greatest overlap of members. That people moved is no alarm: some always do. A
shift of taste leaves fewer of them in one segment and more in another, and that is tested (Stuart 1955, Maxwell 1970)
on those who came since, between borders that stood still: borders found anew move many at once who did nothing.

No SciPy: its import would hold a serving process up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.brief import Language
from arauto.core.i18n import LANGUAGES, say

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
NOBODY = -1
"""The label of a visitor without a vector."""
SMALLEST = 20
"""Visitors that a segment has at least: fewer could be told apart."""
_ROUNDS = 15
_STARTS = 4
_BETTER = 1.02
"""How many times better another start must fit than the centroids of before to replace them."""
_KEPT_OVERLAP = 0.2
"""Share of members (Jaccard) from which a cluster is the old one."""
_ALARM = 1e-3
_MATTERS = 0.01
"""Share of those who came that a segment must have gained for an alarm: of many visitors, a shift that is nothing is
still no chance."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """``centroids``, clusters × dimensions, of unit length; ``ids`` that last; ``next_id`` is free."""

    centroids: Floats
    ids: Labels
    next_id: int

    def label(self, vectors: Floats) -> Labels:
        """The segment id of each vector: that of the nearest centroid; :data:`NOBODY` for zeros."""
        if not len(self.ids):
            return np.full(len(vectors), NOBODY, dtype=np.int64)
        near = vectors @ self.centroids.T
        found: Labels = self.ids[near.argmax(axis=1)]
        found[~vectors.any(axis=1)] = NOBODY
        return found


NO_CLUSTERS = Clusters(np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.int64), 0)


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What changed since the segments were last held fast. ``moved`` is the share of visitors known both times whose
    segment has another id, ``agreement`` the adjusted Rand index of the two. Of the ``active``, who came since: ``net``
    is the share by which segments grew at the cost of others, ``p`` that of equal sizes, ``shifted`` the alarm."""

    moved: float = 0.0
    agreement: float = 1.0
    active: int = 0
    net: float = 0.0
    p: float = 1.0
    shifted: bool = False


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment. ``names`` by language say what sets it apart; ``x`` and ``y`` are its place on the map."""

    id: int
    names: dict[Language, str]
    items: list[str]
    size: int
    share: float
    x: float = 0.0
    y: float = 0.0


def cluster(vectors: Floats, count: int, *, before: Clusters = NO_CLUSTERS, seed: int = 0) -> Clusters:
    """At most ``count`` clusters of unit vectors; fewer when some would have under :data:`SMALLEST` members. Ids are
    new: :func:`match` gives them those of before."""
    real = vectors[vectors.any(axis=1)]
    count = min(count, len(real) // SMALLEST)
    if count < 1:
        return Clusters(np.zeros((0, vectors.shape[1]), dtype=np.float32), np.zeros(0, dtype=np.int64), before.next_id)
    rng = np.random.default_rng(seed)
    known = len(before.ids) > 0 and before.centroids.shape[1] == real.shape[1]
    starts = [_start(real, count, None, rng) for _ in range(1 if known else _STARTS)]
    tries = [_refine(real, start) for start in starts]
    centroids, fit = max(tries, key=lambda one: one[1])
    if known:
        same, fit_before = _refine(real, _start(real, count, before.centroids, rng))
        centroids = same if fit_before >= fit / _BETTER else centroids
    sizes = np.bincount((real @ centroids.T).argmax(axis=1), minlength=len(centroids))
    large = sizes >= SMALLEST
    kept = centroids[large] if large.any() else _unit(real.mean(axis=0, keepdims=True))
    first = before.next_id
    return Clusters(kept, np.arange(first, first + len(kept)), first + len(kept))


def _refine(real: Floats, centroids: Floats) -> tuple[Floats, float]:
    """Lloyd's rounds on the sphere. Returns the centroids, and the mean similarity to the nearest."""
    for _ in range(_ROUNDS):
        nearest = (real @ centroids.T).argmax(axis=1)
        # A product: np.add.at would hold the interpreter's lock all the while.
        sums = (nearest == np.arange(len(centroids))[:, None]).astype(np.float32) @ real
        moved = _unit(np.where(sums.any(axis=1, keepdims=True), sums, centroids))
        if np.allclose(moved, centroids, atol=1e-5):
            break
        centroids = moved
    return centroids, float((real @ centroids.T).max(axis=1).mean())


def _start(real: Floats, count: int, before: Floats | None, rng: np.random.Generator) -> Floats:
    """The centroids of before, then by k-means++ (Arthur & Vassilvitskii 2007)."""
    sample = real[rng.choice(len(real), min(len(real), 20_000), replace=False)]
    chosen = list(before[:count]) if before is not None and len(before) else [sample[rng.integers(len(sample))]]
    apart = 1.0 - (sample @ np.stack(chosen).T).max(axis=1)
    while len(chosen) < count:
        chance = np.maximum(apart, 1e-9).astype(np.float64)
        chosen.append(sample[rng.choice(len(sample), p=chance / chance.sum())])
        apart = np.minimum(apart, 1.0 - sample @ chosen[-1])
    return np.stack(chosen)


def match(clusters: Clusters, now: Labels, before: Labels) -> Clusters:
    """The same clusters under the ids of those they came from. ``now`` and ``before`` label the same visitors."""
    if not len(clusters.ids) or not (before >= 0).any():
        return clusters
    old = np.unique(before[before >= 0])
    shared = np.array([[np.sum((now == new) & (before == one)) for one in old] for new in clusters.ids])
    either = np.array([[np.sum((now == new) | (before == one)) for one in old] for new in clusters.ids])
    overlap = shared / np.maximum(either, 1)
    ids = clusters.ids.copy()
    while overlap.max() >= _KEPT_OVERLAP:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        ids[row] = old[column]
        overlap[row], overlap[:, column] = -1.0, -1.0
    return Clusters(clusters.centroids, ids, clusters.next_id)


def drift(now: Labels, before: Labels, shift: tuple[Labels, Labels]) -> Drift:
    """How the segments of the same visitors changed. ``shift`` labels those who came since, now and before, between the
    same borders."""
    both = (now >= 0) & (before >= 0)
    active = (shift[0] >= 0) & (shift[1] >= 0)
    net, p = shifted(shift[0][active], shift[1][active])
    return Drift(
        moved=float(np.mean(now[both] != before[both])) if both.any() else 0.0,
        agreement=adjusted_rand(now[both], before[both]) if both.any() else 1.0,
        active=int(active.sum()),
        net=net,
        p=p,
        shifted=p < _ALARM and net >= _MATTERS,
    )


def shifted(now: Labels, before: Labels) -> tuple[float, float]:
    """By how much groups grew at the cost of others (total variation of their sizes), and how likely that is when each
    is as likely to be left as to be entered: the test of marginal homogeneity (Maxwell 1970, eq. 3)."""
    names, coded = np.unique(np.concatenate([now, before]), return_inverse=True)
    flow = np.zeros((len(names), len(names)))
    np.add.at(flow, (coded[len(now) :], coded[: len(now)]), 1)
    gained = flow.sum(axis=0) - flow.sum(axis=1)
    if not gained.any():
        return 0.0, 1.0
    spread_of = np.diag(flow.sum(axis=0) + flow.sum(axis=1)) - flow - flow.T
    statistic = float(gained[1:] @ np.linalg.pinv(spread_of[1:, 1:]) @ gained[1:])
    return float(np.abs(gained).sum() / 2 / len(now)), chi_square_tail(statistic, len(names) - 1)


def chi_square_tail(statistic: float, freedom: int) -> float:
    """How likely a χ² of ``freedom`` degrees is above ``statistic`` (Abramowitz & Stegun 1964, 26.4.4 and 26.4.5)."""
    half = statistic / 2
    if freedom % 2:
        total, powers = math.erfc(math.sqrt(half)), [place + 0.5 for place in range(freedom // 2)]
    else:
        total, powers = 0.0, [float(place) for place in range(freedom // 2)]
    total += sum(math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers if half > 0)
    return min(1.0, total) if half > 0 else 1.0


def adjusted_rand(left: Labels, right: Labels) -> float:
    """The adjusted Rand index (Hubert & Arabie 1985): 1 for equal partitions, about 0 for unrelated ones."""
    _, a = np.unique(left, return_inverse=True)
    _, b = np.unique(right, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(counts: NDArray[np.float64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = rows * columns / max(len(left) * (len(left) - 1) / 2, 1)
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def describe(clusters: Clusters, labels: Labels, some: Labels, met: Sequence[Sequence[str]]) -> list[Segment]:
    """The segments, the largest first. ``met`` holds the items of ``some`` visitors (by label), as names."""
    every: Counter[str] = Counter()
    own: dict[int, Counter[str]] = {int(one): Counter() for one in clusters.ids}
    for label, items in zip(some.tolist(), met, strict=True):
        every.update(set(items))
        if label in own:
            own[label].update(set(items))
    places = spread(clusters.centroids)
    known = max(1, int((labels >= 0).sum()))
    found = []
    for place, one in enumerate(clusters.ids.tolist()):
        items = apart(own[one], every)
        size = int((labels == one).sum())
        found.append(
            Segment(
                id=one,
                names=_names(items, one),
                items=items,
                size=size,
                share=size / known,
                x=float(places[place, 0]),
                y=float(places[place, 1]),
            )
        )
    return sorted(found, key=lambda segment: (-segment.size, segment.id))


def _names(items: Sequence[str], number: int) -> dict[Language, str]:
    if not items:
        return {language: say("audience.segment_plain", language, number=number) for language in LANGUAGES}
    return {language: say("audience.segment_named", language, items=", ".join(items)) for language in LANGUAGES}


def apart(own: Mapping[str, int], every: Mapping[str, int], most: int = 3) -> list[str]:
    """The items that set a group apart: log-odds against all others, with everyone as prior, in standard errors
    (Monroe, Colaresi & Quinn 2008, eq. 22), above 1.96."""
    inside, outside = sum(own.values()), sum(every.values()) - sum(own.values())
    strength = 50.0
    whole = max(1, sum(every.values()))
    scores = {}
    for item, count in own.items():
        prior = strength * every[item] / whole
        rest = every[item] - count
        odds = np.log((count + prior) / max(inside + strength - count - prior, 1e-9))
        others = np.log((rest + prior) / max(outside + strength - rest - prior, 1e-9))
        scores[item] = float((odds - others) / np.sqrt(1 / (count + prior) + 1 / (rest + prior)))
    best = sorted(scores, key=lambda item: (-scores[item], item))
    return [item for item in best[:most] if scores[item] > 1.96]


def spread(points: Floats) -> NDArray[np.float64]:
    """A map: the first two principal components, points × 2, within ±1."""
    if len(points) < 2 or points.shape[1] < 2:
        return np.zeros((len(points), 2))
    centred = points.astype(np.float64) - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes[:2].T
    flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    most = float(np.abs(flat).max())
    return flat / most if most > 0 else flat


def lookalikes(vectors: Floats, seeds: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much each visitor is like the seeds, higher is more: Fisher's linear discriminant of seeds against all,
    with a ridge. ``seeds`` marks rows of ``vectors``."""
    rows = vectors.astype(np.float64)
    centred = rows - rows.mean(axis=0)
    spread_out = centred.T @ centred / max(1, len(rows))
    ridge = 0.1 * np.trace(spread_out) / len(spread_out) + 1e-9
    direction = np.linalg.solve(spread_out + ridge * np.eye(len(spread_out)), centred[seeds].mean(axis=0))
    scores: NDArray[np.float64] = centred @ direction
    return scores


def _unit(rows: Floats) -> Floats:
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Floats = (rows / np.maximum(sizes, 1e-12)).astype(np.float32)
    return found
