"""Evidence against a null: a bet spread over many sizes of effect.

For a martingale S with a clock V such that exp(λS − λ²V/2) is a supermartingale for every λ (a *sub-Gaussian* pair:
Howard, Ramdas, McAuliffe & Sekhon 2020), the weighted mean of those processes over a grid of λ is one too. It starts at
1, so by Ville's inequality it ever reaches 1/α with probability at most α: read it whenever you like. The choice of
weights cannot break that promise; it only decides for which effects the promise is cheap. This is the discrete mixture
of Howard et al. 2021 (section 3.5); the better-known normal mixture (mixture SPRT, Robbins 1970) bets one third of its
stake on effects near zero, which no experiment of useful length could see.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError

Floats = NDArray[np.float64]
Side = Literal["two", "greater", "less"]

_GRID = np.geomspace(0.004, 4.0, 33)
"""Sizes of effect, as a share of the mean: from 0.4 % to 400 %. Neighbours differ by a quarter, less than can be told
apart by the time either is found."""
_FOUND = (1.959964 + 0.841621) ** 2
TYPICAL_VISITORS = 10_000.0
"""How many visitors a test is taken to have, when nobody says which effect it looks for."""
TYPICAL_SPREAD = 0.7
_EVEN = 0.1
"""The share of the stake laid evenly over the grid, against surprises."""


class Prior(NamedTuple):
    """The size of effect that one hopes to see, as a share of the mean, and how vague that hope is.

    ``spread`` is the standard deviation of the logarithm of the size. A plan that names the effect it looks for
    (``Prior(0.1, 0.4)``) needs on average about as many visitors as a fixed-horizon test of 80 % power that knew it in
    advance; one that names none (:func:`typical`) at most a quarter more, in tests of some ten thousand visitors.
    """

    expected: float
    spread: float = TYPICAL_SPREAD

    @staticmethod
    def sizes() -> Floats:
        """The sizes of effect that are bet on."""
        return _GRID

    def stakes(self) -> Floats:
        """The logarithms of the stakes on the grid: a log-normal bump on an even floor. They sum to 1 as shares."""
        if not (0.0 < self.expected < 100.0 and 0.0 < self.spread < 10.0):
            raise InputError(
                f"is {self.expected} with spread {self.spread}",
                field="prior",
                mend="give an expected relative effect above 0, such as 0.1, and a spread such as 1",
            )
        return _stakes(np.asarray(self.expected, np.float64), self.spread)


def typical(clock: ArrayLike, visitors: ArrayLike) -> Floats:
    """The size of effect that a test of :data:`TYPICAL_VISITORS` can see: what is hoped for when nothing was said.

    From the clock's pace, which is the same whatever the arms did: a fixed-horizon test of 5 % and 80 % power finds an
    effect δ at δ²V = (1.96 + 0.84)².
    """
    v, n = np.asarray(clock, np.float64), np.asarray(visitors, np.float64)
    pace = np.divide(v, n, out=np.zeros(np.broadcast_shapes(v.shape, n.shape)), where=(n > 0.0) & (v > 0.0))
    with np.errstate(divide="ignore"):
        found = np.sqrt(_FOUND / (pace * TYPICAL_VISITORS))
    return np.asarray(np.clip(found, _GRID[0], _GRID[-1]))


def _stakes(expected: Floats, spread: float) -> Floats:
    bump = np.exp(-0.5 * (np.log(_GRID / expected[..., None]) / spread) ** 2)
    total = np.maximum(bump.sum(axis=-1, keepdims=True), 1e-300)
    return np.asarray(np.log((1.0 - _EVEN) * bump / total + _EVEN / _GRID.size))


def log_evidence(
    score: ArrayLike, clock: ArrayLike, prior: Prior | None, side: Side = "two", *, visitors: ArrayLike = 0.0
) -> Floats:
    """The logarithm of the mixture at S = ``score`` and V = ``clock`` ≥ 0, which broadcast together.

    ``side`` tells which effects are bet on: positive scores only (``greater``), negative only (``less``), or both.
    Without a ``prior`` the bets are on the effects that are :func:`typical` of a test, which wants the ``visitors``.
    """
    s, v = np.broadcast_arrays(np.asarray(score, np.float64), np.asarray(clock, np.float64))
    stakes = _stakes(typical(v, visitors), TYPICAL_SPREAD) if prior is None else prior.stakes()
    if side == "less":
        s = -s
    elif side == "two":
        s = np.abs(s)
    exponent = stakes + _GRID * s[..., None] - 0.5 * _GRID**2 * v[..., None]
    if side == "two":
        # cosh(x) = e^x (1 + e^(−2x))/2
        exponent += np.log1p(np.exp(-2.0 * _GRID * s[..., None])) - math.log(2.0)
    top = exponent.max(axis=-1)
    total: Floats = top + np.log(np.exp(exponent - top[..., None]).sum(axis=-1))
    return total


def p_value(evidence: float) -> float:
    """The always-valid p-value of a log-evidence: with probability 1 − α it never falls to α while the null is true."""
    return math.exp(-max(0.0, evidence))
