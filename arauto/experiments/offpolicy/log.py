"""A log of decisions with their propensities, and how far it can speak for another policy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Log:
    """n decisions. ``arms`` are indices below K; ``target`` is (n, K): how the new policy would have chosen.

    ``clusters`` are visitor numbers: rows of one visitor stand or fall together. ``context`` is (n, d), for the reward
    model. Build it with :meth:`checked`.
    """

    arms: Ints
    rewards: Floats
    propensities: Floats
    target: Floats
    clusters: Ints
    context: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def checked(
        cls,
        arms: ArrayLike,
        rewards: ArrayLike,
        propensities: ArrayLike,
        target: ArrayLike,
        *,
        clusters: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> Log:
        """The log, its shapes and ranges checked. ``target`` may be (K,) when it is the same for every row.

        Raises:
            InputError: names the array, what was wrong and the mend.
        """
        a, r, p = np.asarray(arms), np.asarray(rewards, np.float64), np.asarray(propensities, np.float64)
        n = a.size
        if a.ndim != 1 or not n or not np.issubdtype(a.dtype, np.integer):
            raise InputError("is not a list of arm numbers", field="arms", mend="give one whole number a decision")
        t = np.asarray(target, np.float64)
        t = np.broadcast_to(t, (n, t.shape[-1])) if t.ndim == 1 else t
        if t.shape[:1] != (n,) or t.ndim != 2 or np.any(t < 0.0) or not np.allclose(t.sum(axis=1), 1.0, atol=1e-6):
            raise InputError("is not a distribution over arms", field="target", mend="give rows ≥ 0 that sum to 1")
        if a.min() < 0 or a.max() >= t.shape[1]:
            raise InputError(f"reach {int(a.max())}", field="arms", mend=f"number the arms from 0 to {t.shape[1] - 1}")
        if r.shape != (n,) or not np.all(np.isfinite(r)):
            raise InputError("does not fit", field="rewards", mend="give one finite number a decision")
        if p.shape != (n,) or not np.all((p > 0.0) & (p <= 1.0)):
            raise InputError("is not in (0, 1]", field="propensities", mend="log the probability of the arm shown")
        groups = np.arange(n) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
        x = np.zeros((n, 0)) if context is None else np.asarray(context, np.float64)
        if groups.shape != (n,) or x.shape[:1] != (n,) or x.ndim != 2 or not np.all(np.isfinite(x)):
            raise InputError("does not fit", field="context", mend="give one row of finite numbers a decision")
        return cls(a.astype(np.int64), r, p, t, groups.astype(np.int64), x)

    @property
    def weights(self) -> Floats:
        """The importance weights π_e(a|x)/π_b(a|x) of the arms shown."""
        w: Floats = self.target[np.arange(self.arms.size), self.arms] / self.propensities
        return w


@dataclass(frozen=True)
class Overlap:
    """How well the log covers the new policy.

    ``effective`` is Kish's effective sample size, in visitors: (Σw)²/Σw². ``mean_weight`` should be 1: far from it, the
    propensities or the target are wrong, or part of the target has no support. ``unsupported`` is the target's mass on
    arms that the log never shows. ``top_share`` is the weight carried by the heaviest visitor.
    """

    rows: int
    visitors: int
    rewarded: int
    effective: float
    mean_weight: float
    mean_weight_error: float
    max_weight: float
    top_share: float
    unsupported: float


def overlap_of(log: Log) -> Overlap:
    """The overlap report."""
    w = log.weights
    by_visitor = np.bincount(log.clusters, weights=w)
    total = float(by_visitor.sum())
    squares = float((by_visitor**2).sum())
    seen = np.bincount(log.arms, minlength=log.target.shape[1]) > 0
    n, visitors = log.arms.size, by_visitor.size
    rows = np.bincount(log.clusters)
    return Overlap(
        rows=n,
        visitors=visitors,
        rewarded=int(np.count_nonzero(log.rewards)),
        effective=total * total / squares if squares else 0.0,
        mean_weight=total / n,
        mean_weight_error=float(np.sqrt(((by_visitor - rows) ** 2).sum())) / n,
        max_weight=float(w.max()),
        top_share=float(by_visitor.max()) / total if total else 1.0,
        unsupported=float(log.target[:, ~seen].sum()) / n,
    )
