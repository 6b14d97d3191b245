"""What leaves a device is clipped, rounded and noised; what that costs is added up without any amplification by
sampling.

Each client adds discrete Gaussian noise before masking, so that the sum of those who deliver carries enough, and the
coordinator never sees less (Kairouz, Liu, Steinke: The distributed discrete Gaussian mechanism, ICML 2021). Costs are
zero-concentrated (ρ) and turned into (ε, δ) by Canonne, Kamath, Steinke (The discrete Gaussian, NeurIPS 2020,
proposition 7). Neighbouring: a client's vector replaced by zeros.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.federated.masks import Words
from arauto.federated.wire import Offer, Privacy, RefusedError

Floats = NDArray[np.float64]
Random = Callable[[int], bytes]
_TOLERANCE = 1e-9


def sensitivity(clip: float, quantum: float, dim: int) -> float:
    """The largest L2 norm, in quanta, of a vector clipped to ``clip`` and rounded (Kairouz et al., proposition 26 with
    β = e^(−1/2): rounding is repeated until it holds, at most 1 / (1 − β) ≈ 2.5 times on average)."""
    norm = clip / quantum
    usual = math.sqrt(norm**2 + dim / 4 + norm + math.sqrt(dim) / 2)
    return min(usual, norm + math.sqrt(dim))


def rho_of(noise: float, assured: int, bound: float, dim: int) -> float:
    """The zero-concentrated cost of one sum: ``assured`` noises of deviation ``noise``, sensitivity ``bound``, in
    quanta.

    Theorem 1 of Kairouz et al.; τ pays for the sum of discrete Gaussians not being one.
    """
    if noise <= 0:
        return math.inf
    k = np.arange(1, assured)
    tau = 10 * float(np.exp(-2 * math.pi**2 * noise**2 * k / (k + 1)).sum())
    share = bound / (math.sqrt(assured) * noise)
    epsilon = min(math.sqrt(share**2 + tau * dim / 2), share + tau * math.sqrt(dim))
    return epsilon**2 / 2


def epsilon_of(rho: float, delta: float) -> float:
    """The smallest ε that ρ-zCDP promises at ``delta``."""
    if rho <= 0:
        return 0.0
    if math.isinf(rho):
        return math.inf
    alpha = 1 + np.logspace(-4, 6, 20_001)
    found = alpha * rho + (math.log(1 / delta) + (alpha - 1) * np.log1p(-1 / alpha) - np.log(alpha)) / (alpha - 1)
    return max(0.0, float(found.min()))


def noise_for(epsilon: float, delta: float, cap: int, clip: float, quantum: float, dim: int, assured: int) -> Privacy:
    """The least noise a client for which ``cap`` participations cost at most ``epsilon`` at ``delta``.

    Raises:
        InputError: a number that is not positive, or noise beyond what 32 bits hold.
    """
    if min(epsilon, delta, clip, quantum) <= 0 or cap < 1 or assured < 1:
        raise InputError("must be positive", field="privacy")
    bound = sensitivity(clip, quantum, dim)
    low, high = 0.0, 1e6
    if epsilon_of(cap * rho_of(high, assured, bound, dim), delta) > epsilon:
        raise InputError("asks for more noise than 32 bits hold", field="epsilon", mend="a larger quantum, or epsilon")
    for _ in range(60):
        middle = (low + high) / 2
        if epsilon_of(cap * rho_of(middle, assured, bound, dim), delta) > epsilon:
            low = middle
        else:
            high = middle
    rho = rho_of(high, assured, bound, dim)
    return Privacy(
        clip=clip,
        noise=high,
        assured=assured,
        rho=rho,
        delta=delta,
        epsilon=epsilon_of(cap * rho, delta),
        cap=cap,
    )


def check_privacy(offer: Offer) -> None:
    """Raises :class:`RefusedError` when an offer states less cost than its noise has, or relies on absent noises."""
    privacy = offer.privacy
    if privacy.noise == 0:
        raise RefusedError("promises no privacy", field="privacy")
    if privacy.assured > offer.live:
        raise RefusedError("relies on more noises than clients", field="privacy.assured")
    bound = sensitivity(privacy.clip, offer.quantum, offer.dim)
    rho = rho_of(privacy.noise, privacy.assured, bound, offer.dim)
    if privacy.rho < rho * (1 - _TOLERANCE):
        raise RefusedError(f"states {privacy.rho:.4g}, it is {rho:.4g}", field="privacy.rho")
    if privacy.epsilon < epsilon_of(privacy.cap * rho, privacy.delta) * (1 - _TOLERANCE):
        raise RefusedError("states less than its noise costs", field="privacy.epsilon")


def clipped(update: Floats, clip: float) -> Floats:
    """``update``, scaled down to an L2 norm of at most ``clip``; what is not finite counts as zero."""
    clean = np.nan_to_num(update, nan=0.0, posinf=0.0, neginf=0.0)
    norm = float(np.linalg.norm(clean))
    return clean if norm <= clip else clean * (clip / norm)


def encode(update: Floats, offer: Offer, random: Random = secrets.token_bytes) -> Words:
    """Clip, round stochastically (without bias), add this client's noise: the words that :class:`Client` masks."""
    scaled = clipped(update, offer.privacy.clip) / offer.quantum
    floor = np.floor(scaled)
    bound = sensitivity(offer.privacy.clip, offer.quantum, offer.dim)
    while True:
        rounded = floor + (_uniform(offer.dim, random) < scaled - floor)
        if np.linalg.norm(rounded) <= bound:
            break
    words = rounded.astype(np.int64)
    if offer.privacy.noise > 0:
        words += discrete_gaussian(offer.privacy.noise, offer.dim, random)
    return words.astype(np.uint32)


def decode(total: Words, offer: Offer) -> Floats:
    """The sum of the updates as real numbers. Right while the true sum stays within ±2³¹ quanta."""
    return total.view(np.int32).astype(np.float64) * offer.quantum


def _uniform(size: int, random: Random) -> Floats:
    """[0, 1) from 53 random bits each."""
    return np.asarray((np.frombuffer(random(8 * size), "<u8") >> np.uint64(11)) * 2.0**-53, np.float64)


class _Table(NamedTuple):
    """The cumulative distribution at 64 bits, and how far it reaches on each side (twelve deviations). ``guess`` is the
    place of the first draw with each 16 leading bits, ``sure`` whether all draws with them have that place."""

    below: NDArray[np.uint64]
    reach: int
    guess: NDArray[np.int64]
    sure: NDArray[np.bool_]


@lru_cache(maxsize=8)
def _table(noise: float) -> _Table:
    reach = math.ceil(12 * noise) + 1
    values = np.arange(-reach, reach + 1, dtype=np.float64)
    mass = np.exp(-(values**2) / (2 * noise**2))
    part = np.cumsum(mass)[:-1] / mass.sum()
    below = (np.minimum(part, 1 - 2.0**-53) * 2.0**64).astype(np.uint64)
    first = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    guess = np.searchsorted(below, first, side="right")
    last = np.searchsorted(below, first | np.uint64((1 << 48) - 1), side="right")
    return _Table(below, reach, guess, guess == last)


def discrete_gaussian(noise: float, size: int, random: Random = secrets.token_bytes) -> NDArray[np.int64]:
    """``size`` draws of the discrete Gaussian with parameter ``noise``, by its cumulative table and 64 random bits
    each.

    The table's distance from the true distribution is below 2⁻⁵⁰ a draw. A table look-up is not constant-time: an
    attacker on the device itself is outside the model.
    """
    table = _table(noise)
    drawn = np.frombuffer(random(8 * size), "<u8")
    leading = drawn >> np.uint64(48)
    found = table.guess[leading]
    unsure = np.flatnonzero(~table.sure[leading])
    found[unsure] = np.searchsorted(table.below, drawn[unsure], side="right")
    return np.asarray(found - table.reach, np.int64)


class Ledger:
    """What a device has paid, kept in a file. It refuses when one more round would break its limits.

    ``epsilon`` at ``delta`` bounds everything that this device ever gives, whatever an offer promises. A round is paid
    once, before its vector leaves the device; a device that dies in between has paid.
    """

    def __init__(self, path: Path | None, *, epsilon: float, delta: float = 1e-6) -> None:
        self._path, self._epsilon, self._delta = path, epsilon, delta
        kept = path is not None and path.exists()
        self._paid: dict[str, float] = (
            msgspec.json.decode(path.read_bytes(), type=dict[str, float]) if kept and path else {}
        )

    @property
    def spent(self) -> float:
        """ε of everything paid so far."""
        return epsilon_of(sum(self._paid.values()), self._delta)

    def check(self, offer: Offer) -> None:
        """Whether a round could be paid for, before joining it.

        Raises:
            RefusedError: the offer understates its cost, was paid before, the cap of its task is reached, or the budget
                would be spent.
        """
        check_privacy(offer)
        name = f"{offer.task}/{offer.round}"
        if name in self._paid:
            raise RefusedError("was paid for already: a round is taken part in once", field="round")
        if sum(one.rpartition("/")[0] == offer.task for one in self._paid) >= offer.privacy.cap:
            raise RefusedError(f"{offer.privacy.cap} participations are the most", field="cap")
        if epsilon_of(sum(self._paid.values()) + offer.privacy.rho, self._delta) > self._epsilon:
            raise RefusedError(f"the device's budget of ε = {self._epsilon:g} is spent", field="epsilon")

    def spend(self, offer: Offer) -> None:
        """Pay for a round, or refuse as :meth:`check` does."""
        self.check(offer)
        paid = {**self._paid, f"{offer.task}/{offer.round}": offer.privacy.rho}
        if self._path is not None:
            part = self._path.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(paid))
            part.replace(self._path)
        self._paid = paid
