"""What a coordinator does with a round's mean update: FedAvg, with momentum (Hsu et al. 2019), FedAdam (Reddi et al.,
ICLR 2021), and cohort medians."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The optimiser on the server. ``rate`` scales the mean update, to which ``momentum`` adds that share of the steps
    before; with ``adam`` it is Adam's step, moments without bias correction and ``tau`` below the root, as the paper
    has them. FedProx is a matter of the clients: they pull
    towards the model that they were given (``mu`` of the offer's plan), and the server does the same."""

    rate: float = 1.0
    momentum: float = 0.0
    adam: bool = False
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def step(self, weights: Floats, update: Floats, state: bytes) -> tuple[Floats, bytes]:
        """The next weights and state; ``state`` is empty at first."""
        size = len(weights)
        if not self.adam:
            before = np.frombuffer(state, "<f8") if state else np.zeros(size)
            moving = self.momentum * before + update
            return weights + self.rate * moving, moving.astype("<f8").tobytes() if self.momentum else b""
        kept = np.frombuffer(state, "<f8") if state else np.concatenate((np.zeros(size), np.full(size, self.tau**2)))
        first = self.beta1 * kept[:size] + (1 - self.beta1) * update
        second = self.beta2 * kept[size:] + (1 - self.beta2) * update**2
        moved = weights + self.rate * first / (np.sqrt(second) + self.tau)
        return moved, np.concatenate((first, second)).astype("<f8").tobytes()


def median_of(means: Sequence[Floats]) -> Floats:
    """The coordinate-wise median of cohorts' means: fewer than half of the cohorts, poisoned, cannot carry it away
    (Yin et al., ICML 2018)."""
    return np.median(np.stack(means), axis=0)
