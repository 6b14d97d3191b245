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
_EVEN = 0.1
"""The share of the stake laid evenly over the grid, against surprises."""


class Prior(NamedTuple):
    """The size of effect that one hopes to see, as a share of the mean, and how vague that hope is.

    ``spread`` is the standard deviation of the logarithm of the size. The default, 10 % give or take a factor e, needs
    on average at most a quarter more visitors, for effects from 5 % to 20 %, than a fixed-horizon test of 80 % power
    that knew them in advance; a plan that names the effect it looks for (``Prior(0.1, 0.4)``) about as many.
    """

    expected: float = 0.10
    spread: float = 1.0

    def stakes(self) -> Floats:
        """The logarithms of the stakes on the grid: a log-normal bump on an even floor. They sum to 1 as shares."""
        if not (0.0 < self.expected < 100.0 and 0.0 < self.spread < 10.0):
            raise InputError(
                f"is {self.expected} with spread {self.spread}",
                field="prior",
                mend="give an expected relative effect above 0, such as 0.1, and a spread such as 1",
            )
        bump = np.exp(-0.5 * (np.log(_GRID / self.expected) / self.spread) ** 2)
        return np.asarray(np.log((1.0 - _EVEN) * bump / max(bump.sum(), 1e-300) + _EVEN / _GRID.size))


def log_evidence(score: ArrayLike, clock: ArrayLike, prior: Prior, side: Side = "two") -> Floats:
    """The logarithm of the mixture at S = ``score`` and V = ``clock`` ≥ 0, which broadcast together.

    ``side`` tells which effects are bet on: positive scores only (``greater``), negative only (``less``), or both.
    """
    s, v = np.broadcast_arrays(np.asarray(score, np.float64), np.asarray(clock, np.float64))
    stakes = prior.stakes()
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
