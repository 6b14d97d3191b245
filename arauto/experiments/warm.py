"""A warm start that learns how far to trust the reward model that gave it.

Before a test, a reward model scores its K texts. Across tests, an arm's rate is taken as m·exp(b·z_k + ε): m the test's
own level, z the score standardised within the test, ε ~ N(0, τ²) what the score does not know. The slope b starts small
and is learned from every finished test by weighted regression; b and τ make the Beta priors of the next. So the prior's
strength is tuned by what came of it: a model that predicts nothing soon gives all arms the same prior, and one that is
wrong side up is not followed.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.bandits import Posterior, Prior

Floats = NDArray[np.float64]


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of a reward model's scores: the slope's posterior N(``slope``, 1/``precision``).

    The default expects a little of an untried model and forgets that within some ten tests. ``spread`` is τ, the
    standard deviation of arms' log-rates within a test: 0.2 in the headline tests of the Upworthy archive. ``rate`` is
    the typical level. Immutable and JSON-ready: keep it with the model's row in the registry.
    """

    slope: float = 0.05
    precision: Annotated[float, Meta(gt=0)] = 200.0
    spread: Annotated[float, Meta(gt=0, le=3)] = 0.2
    rate: Annotated[float, Meta(gt=0, lt=1)] = 0.02
    tests: int = 0

    def learn(self, scores: ArrayLike, successes: ArrayLike, trials: ArrayLike) -> Trust:
        """The trust after one more test, from its arms' scores and counts; the same when fewer than two were shown.

        Clicks are nearly Poisson around n·m·exp(b·z): one step of weighted regression, the level m profiled out.
        """
        z, k, n = _checked(scores, successes, trials)
        if np.count_nonzero(n) < 2 or not k.sum() > 0.0:
            return self
        mean = float(k.sum() / n.sum())
        weights = mean * n / (1.0 + mean * n * self.spread**2)
        centred = z - float(weights @ z / weights.sum())
        excess = np.divide(k, mean * n, out=np.ones_like(k), where=n > 0.0) - 1.0
        information = float((weights * centred**2).sum())
        precision = self.precision + information
        return msgspec.structs.replace(
            self,
            slope=(self.precision * self.slope + float((weights * centred * excess).sum())) / precision,
            precision=precision,
            rate=(self.rate * (self.tests + 1) + mean) / (self.tests + 2),
            tests=self.tests + 1,
        )

    def prior(self, scores: ArrayLike) -> Prior:
        """The prior of the next test's arms, for :class:`~arauto.experiments.BernoulliBandit`.

        The test's level is pooled from its own counts, from the typical one on. A negative slope counts as none: a
        model that has been wrong side up is not turned round on its own authority.
        """
        z = _standardised(scores)
        tilt = np.exp(max(self.slope, 0.0) * z)
        variance = self.spread**2 + z**2 / self.precision

        def at(successes: Floats, trials: Floats) -> Posterior:
            level = (float(successes.sum()) + 1.0) / (float((trials * tilt).sum()) + 1.0 / self.rate)
            mean = np.clip(level * tilt, 1e-6, 0.9)
            strength = np.maximum((1.0 - mean) / (mean * variance) - 1.0, 1.0 / mean)
            return Posterior(mean * strength, (1.0 - mean) * strength)

        return at


def _checked(scores: ArrayLike, successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats, Floats]:
    k, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    z = _standardised(scores)
    if z.shape != k.shape or k.shape != n.shape or np.any(k < 0.0) or np.any(k > n):
        raise InputError("do not fit", field="scores", mend="give a score, successes and trials for each arm")
    return z, k, n


def _standardised(scores: ArrayLike) -> Floats:
    """Mean 0 and standard deviation 1 within the test; all equal: all 0."""
    s = np.asarray(scores, np.float64)
    if s.ndim != 1 or not s.size or not np.all(np.isfinite(s)):
        raise InputError("are not numbers", field="scores", mend="give one finite score for each arm")
    spread = float(s.std())
    return np.asarray((s - s.mean()) / spread) if spread > 1e-12 * max(1.0, math.fabs(float(s.mean()))) else 0.0 * s
