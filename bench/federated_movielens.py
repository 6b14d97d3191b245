"""Recommendations without histories: each user of MovieLens 100k sends sums over its own events, and the encoder of the
room audience is fitted on their total. NDCG@10 against the same encoder fitted on everybody's log in one place.

The fit needs two sums over events (:mod:`arauto.audience.linear`): XᵀX and XᵀY, items × items. A client counts its own
and sends the upper half of the first and all of the second in one vector, once. The first twenty clients go through the
whole protocol with drop-outs, the others add the same words without masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from arauto.audience import Interactions, Recipe, Statistics, leave_last_out
from arauto.audience.linear import histories
from arauto.audience.peers import apply, popularity
from arauto.audience.ranking import Quality, Scorer, quality, ranks
from arauto.core.errors import InputError
from arauto.federated import new_offer, noise_for, play
from arauto.federated.wire import Privacy
from bench.audience_quality import read

RECIPE = Recipe(decay=0.9, ridge=100.0, ahead=0.6, reverse=0.5)
told = msgspec.to_builtins
COHORT = 20
QUANTA = 256
"""Steps of one: a count of one event weighs so many."""
VANISH = 0.1
EPSILON = 3.0
Words = NDArray[np.uint32]


def sums_of(log: Interactions, user: int) -> tuple[Statistics, NDArray[np.int64]]:
    """What one device counts: its own events, among its own items; and which items those are."""
    mine = log.keep(log.users == user)
    own, items = np.unique(mine.items, return_inverse=True)
    alone = Interactions(
        np.zeros(len(items), np.int64), items.astype(np.int64), mine.times, log.user_names[[user]],
        log.item_names[own], np.array([0, len(items)]),
    )  # fmt: skip
    counted = Statistics(len(own), RECIPE)
    counted.count(alone)
    return counted, own


class Layout:
    """Two matrices as one vector: the upper half of XᵀX, then XᵀY."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.half = items * (items + 1) // 2
        self.dim = self.half + items * items

    def sparse(
        self, counted: Statistics, own: NDArray[np.int64], draw: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places and words of a client's vector: rounded up or down at random, without bias. Zeros stay zeros."""
        gram, cross = counted.gram.tocoo(), counted.cross.tocoo()
        upper = gram.row <= gram.col
        row, column = own[gram.row[upper]], own[gram.col[upper]]
        places = np.concatenate(
            (
                row * self.items - row * (row - 1) // 2 + column - row,
                self.half + own[cross.row] * self.items + own[cross.col],
            )
        )
        values = np.concatenate((gram.data[upper], cross.data)).astype(np.float64) * QUANTA
        low = np.floor(values)
        return places, (low + (draw.random(len(values)) < values - low)).astype(np.int64)

    def fill(self, total: NDArray[np.float64], events: int) -> Statistics:
        """The sums as the encoder's fit wants them."""
        from scipy import sparse

        found = Statistics(self.items, RECIPE)
        found.events = events
        gram = np.zeros((self.items, self.items), np.float32)
        gram[np.triu_indices(self.items)] = total[: self.half]
        found.gram = sparse.csr_matrix(gram + np.triu(gram, 1).T)
        found.cross = sparse.csr_matrix(total[self.half :].reshape(self.items, self.items).astype(np.float32))
        return found


def dense(places: NDArray[np.int64], words: NDArray[np.int64], dim: int) -> Words:
    whole = np.zeros(dim, np.int64)
    whole[places] = words
    return whole.astype(np.uint32)


def masked_cohort(layout: Layout, sent: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> dict[str, Any]:
    """The first cohort through the whole protocol; is its sum that of those who stayed?"""
    draw = np.random.default_rng(1)
    key = Ed25519PrivateKey.generate()
    offer = new_offer(
        key, round_id=bytes(16), task="encoder", model="00" * 32, dim=layout.dim, quantum=1 / QUANTA,
        privacy=Privacy(clip=1e6), clients=len(sent),
    )  # fmt: skip
    fate = {n: "masked" for n in range(len(sent)) if draw.random() < VANISH}
    began = time.process_time()
    found = play(offer, key, [partial(_words, one, layout.dim) for one in sent], fate=fate)  # type: ignore[arg-type]
    took = time.process_time() - began
    total = np.zeros(layout.dim, np.uint32)
    for n, one in enumerate(sent):
        if n not in fate:
            total += dense(*one, layout.dim)
    exact = found.outcome is not None and bool((found.outcome.total == total).all())
    return {
        "clients": len(sent), "vanished": len(fate), "neighbours": offer.neighbours, "exact": exact,
        "cpu_seconds": round(took, 1), "gone": sorted(fate),
    }  # fmt: skip


def _words(one: tuple[NDArray[np.int64], NDArray[np.int64]], dim: int, _: object) -> Words:
    return dense(*one, dim)


def main() -> dict[str, Any]:
    log = read("movielens_100k")
    if log is None:
        raise InputError("is not set", field="ARAUTO_DATA_DIR", mend="name the folder that holds movielens_100k/")
    split = leave_last_out(log)
    known, items = split.known, len(log.item_names)
    seen = histories(known, 1.0, upto=True)

    def measured(score: Scorer) -> Quality:
        return quality(ranks(score, split.users, split.test, seen), np.random.default_rng(0))

    whole = Statistics(items, RECIPE)
    whole.count(known)
    central = measured(apply(whole.solve(), known, RECIPE.decay))
    print("centralised", central.ndcg, flush=True)

    layout, draw = Layout(items), np.random.default_rng(0)
    sent = [layout.sparse(*sums_of(known, user), draw) for user in range(len(known.user_names))]
    cohort = masked_cohort(layout, sent[:COHORT])
    gone = set(cohort.pop("gone"))
    print("masked", cohort, flush=True)
    total = np.zeros(layout.dim, np.int64)
    for user, (places, words) in enumerate(sent):
        if user not in gone:
            total[places] += words
    federated = measured(apply(layout.fill(total / QUANTA, whole.events).solve(), known, RECIPE.decay))
    popular = measured(popularity(known))
    noised = _noised(layout, sent, known, whole.events, measured)
    share = federated.ndcg.value / central.ndcg.value
    return {
        "users": len(split.users), "items": items, "dim": layout.dim, "megabytes_sent": round(layout.dim * 4 / 1e6, 1),
        "ndcg_at_10": {
            "centralised": told(central.ndcg), "federated": told(federated.ndcg), "popularity": told(popular.ndcg),
            f"federated_epsilon_{EPSILON:g}_a_user": told(noised.ndcg),
        },
        "hit_rate_at_10": {"centralised": told(central.hit_rate), "federated": told(federated.hit_rate)},
        "share_of_centralised": round(share, 4),
        "masked_cohort": cohort,
        "gone_for_good": len(gone),
        "passed": share >= 0.95 and cohort["exact"],
    }  # fmt: skip


def _noised(
    layout: Layout, sent: list[Any], known: Interactions, events: int, measured: Callable[[Scorer], Quality]
) -> Quality:
    """The same sums with the noise that hides a user at ε, drawn on the total: clipped to the median user's norm. The
    square is mended before the fit: XᵀX must stay positive."""
    norms = np.array([np.linalg.norm(words) for _, words in sent]) / QUANTA
    clip = float(np.median(norms))
    privacy = noise_for(EPSILON, 1e-6, 1, clip, clip / 65_536, layout.dim, len(sent))
    clipped = np.zeros(layout.dim)
    for (places, words), norm in zip(sent, norms, strict=True):
        clipped[places] += words / QUANTA * min(1.0, clip / norm)
    deviation = privacy.noise * (clip / 65_536) * len(sent) ** 0.5
    noised = layout.fill(clipped + np.random.default_rng(2).normal(0, deviation, layout.dim), events)
    values, vectors = np.linalg.eigh(noised.gram.toarray().astype(np.float64))
    from scipy import sparse

    noised.gram = sparse.csr_matrix(((vectors * np.maximum(values, 0)) @ vectors.T).astype(np.float32))
    return measured(apply(noised.solve(), known, RECIPE.decay))
