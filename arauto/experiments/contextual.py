"""Linear contextual bandits, a ridge regression for each arm: Thompson sampling and LinUCB.

Li, Chu, Langford & Schapire 2010 (LinUCB, disjoint), Agrawal & Goyal 2013 (linear Thompson sampling). The K inverse
matrices lie in one array and are kept by Sherman & Morrison's formula, so a decision is three small products.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError

Floats = NDArray[np.float64]

_DRAWS = 16
"""Posterior draws behind a decision's propensities: each is a multiple of 1/16, mixed with the floor."""
_TABLE = 1 << 16


class LinearBandit:
    """K arms, d features, reward ≈ θ_k·x.

    Args:
        arms: K.
        features: d, a constant one included if wanted.
        kind: ``thompson`` draws from the posterior N(θ̂, ``width``²·A⁻¹); ``ucb`` adds ``width`` standard errors.
        width: how much to explore, in units of the reward; 0.2 suits clicks and other rewards from 0 to 1.
        ridge: the prior's strength, in events.
        floor: the least propensity of every arm; 0 lets ``ucb`` be deterministic.
        discount: < 1 forgets, at each event of an arm, that arm's earlier ones (Russac, Vernade & Cappé 2019).
        prior: (K, d), the θ one starts from: a reward model's.
        seed: of the draws.
    """

    def __init__(
        self,
        arms: int,
        features: int,
        *,
        kind: Literal["thompson", "ucb"] = "thompson",
        width: float = 0.2,
        ridge: float = 1.0,
        floor: float = 0.0,
        discount: float = 1.0,
        prior: ArrayLike | None = None,
        seed: int = 0,
    ) -> None:
        if arms < 1 or features < 1 or ridge <= 0.0 or not 0.5 <= discount <= 1.0 or not 0.0 <= floor <= 1.0:
            raise InputError("cannot be used", field="arms", mend="give arms, features ≥ 1, ridge > 0, discount ≤ 1")
        self.theta = np.zeros((arms, features)) if prior is None else np.array(prior, np.float64)
        if self.theta.shape != (arms, features):
            raise InputError(f"has the shape {self.theta.shape}", field="prior", mend="give (arms, features)")
        # width²·A⁻¹, so that x·(width²·A⁻¹)·x is the squared width of an arm's interval.
        self._inverse = np.tile(np.eye(features) * (width * width / ridge), (arms, 1, 1))
        self._flat = self._inverse.reshape(arms * features, features)
        self._ucb = kind == "ucb"
        self._noise = width * width
        self._discount = discount
        self._floor = min(floor, 1.0 / arms)
        self._rng = np.random.default_rng(seed)
        self._normal = self._rng.standard_normal(_TABLE + _DRAWS * arms)
        self._scores = np.empty((_DRAWS, arms))
        self._mean, self._spread = np.empty(arms), np.empty(arms)
        self._products = np.empty(arms * features)
        self._rows = self._products.reshape(arms, features)
        self._tosses: list[tuple[float, int, int]] = []

    def decide(self, context: Floats) -> tuple[int, float]:
        """The arm for ``context``, (d,), and the propensity with which it was drawn."""
        mean, spread = self._mean, self._spread
        np.dot(self.theta, context, out=mean)
        np.dot(self._flat, context, out=self._products)
        np.dot(self._rows, context, out=spread)
        np.sqrt(spread, out=spread)
        toss, place, row = self._toss()
        if self._ucb:
            np.add(mean, spread, out=mean)
            winners = [int(mean.argmax())]
            best = winners[0]
        else:
            scores, arms = self._scores, mean.size
            np.multiply(self._normal[place : place + _DRAWS * arms].reshape(_DRAWS, arms), spread, out=scores)
            np.add(scores, mean, out=scores)
            winners = scores.argmax(axis=1).tolist()
            # One of the draws, each as likely: the arm is distributed exactly by the shares of the draws.
            best = winners[row]
        least = self._floor
        if toss < mean.size * least:
            best = int(toss / least)
        return best, least + (1.0 - mean.size * least) * winners.count(best) / len(winners)

    def update(self, arm: int, context: Floats, reward: float) -> None:
        """Learn one outcome, at once or late."""
        inverse, theta = self._inverse[arm], self.theta[arm]
        if self._discount < 1.0:
            inverse /= self._discount
        direction = np.dot(inverse, context)
        gain = direction / (self._noise + np.dot(context, direction))
        theta += gain * (reward - np.dot(theta, context))
        inverse -= gain[:, None] * direction

    def update_many(self, arms: ArrayLike, contexts: ArrayLike, rewards: ArrayLike) -> None:
        """Learn a batch: the same as one by one."""
        for arm, context, reward in zip(
            np.asarray(arms).tolist(), np.asarray(contexts, np.float64), np.asarray(rewards).tolist(), strict=True
        ):
            self.update(arm, context, reward)

    def _toss(self) -> tuple[float, int, int]:
        """A uniform number, a place in the table of normals and a row, from a block drawn ahead."""
        if not self._tosses:
            uniform = self._rng.random(1024).tolist()
            places = self._rng.integers(0, _TABLE, 1024).tolist()
            self._tosses = list(zip(uniform, places, self._rng.integers(0, _DRAWS, 1024).tolist(), strict=True))
        return self._tosses.pop()
