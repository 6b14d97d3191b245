"""Many rounds in one process: a population of clients, some of whom are asked in each round, and the server's step.

The words of each client are what it would send (clipped, rounded, noised); every ``check``-th round also runs through
the whole protocol, masks, drop-outs and all, and its sum must be the plain one, bit for bit. The others add the words
without masks, which cancel: that is what makes a hundred thousand clients fit on a laptop.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from arauto.core.errors import ConflictError, InputError
from arauto.core.spread import Spread, never
from arauto.federated.local import Step, new_offer, play
from arauto.federated.masks import Words
from arauto.federated.privacy import decode, encode, noise_for
from arauto.federated.server import Server
from arauto.federated.wire import Offer, Privacy

Floats = NDArray[np.float64]
Update = Callable[[Floats, int], Floats]
"""From the model and a client's number to its update."""
AT_ONCE = 250
"""Clients of a part: what a worker does at a time."""
_STEPS: tuple[Step, ...] = ("join", "shares", "masked", "unmask")


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How to train. ``clients`` are asked in each of ``rounds``, the whole population in turn, in a random order.

    ``epsilon`` (at ``delta``) is all that one client gives in all rounds it is asked in; None: exact sums. ``vanish``
    is the share of those asked who go away midway, ``assured`` the share whose noise is relied upon. ``check``: every
    how manieth round is also played with masks; 0: none.
    """

    rounds: Annotated[int, Meta(ge=1)]
    clients: Annotated[int, Meta(ge=3, le=20_000)]
    clip: Annotated[float, Meta(gt=0)] = 1.0
    steps: Annotated[int, Meta(ge=2)] = 4096
    """Quanta that ``clip`` is cut into."""
    epsilon: Annotated[float, Meta(gt=0)] | None = None
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-6
    vanish: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    assured: Annotated[float, Meta(gt=0, le=1)] = 0.9
    cool: bool = False
    """Whether the server's rate falls to nothing, linearly."""
    check: Annotated[int, Meta(ge=0)] = 0


class Trained(NamedTuple):
    """What came of it. ``participations``: how often the busiest client was asked; ``epsilon``: what it gave in all
    (−1: sums were exact), ``rho`` the same as zero-concentrated cost, which adds up over several trainings; ``checked``
    rounds ran through the masks, and every sum was the plain one."""

    weights: Floats
    rounds: int
    summed: int
    participations: int
    epsilon: float
    checked: int
    rho: float = 0.0


class _Part(NamedTuple):
    """Some clients of a round, as (place in the round, number); ``kept``: their words are wanted, not only the sum."""

    weights: Floats
    offer: Offer
    clients: list[tuple[int, int]]
    noise: tuple[int, int] | None
    kept: bool


def _summed(update: Update, part: _Part) -> tuple[Words, dict[int, Words]]:
    total, kept = np.zeros(len(part.weights), np.uint32), {}
    for place, client in part.clients:
        random = np.random.default_rng([*part.noise, client]).bytes if part.noise else secrets.token_bytes
        words = encode(update(part.weights, client), part.offer, random)
        total += words
        if part.kept:
            kept[place] = words
    return total, kept


def train(
    weights: Floats,
    update: Update,
    population: int,
    plan: Training,
    *,
    server: Server | None = None,
    seed: int = 0,
    noise: int | None = None,
    told: Callable[[int, Floats], None] = lambda *_: None,
    ray: str = "",
    stopped: Callable[[], bool] = never,
) -> Trained:
    """Train ``weights`` on ``population`` clients. ``seed`` draws who is asked and who vanishes; ``noise`` seeds what
    rounds and hides (None: the operating system does, as on devices). ``told`` hears of each round.

    ``ray`` is the setting ``ray_address``: where the clients are simulated. The sums are of whole numbers, so they are
    the same wherever that is.

    Raises:
        InputError: more clients a round than there are.
        ConflictError: a round lost too many, or a sum through the masks was not the plain one.
        Stopped: ``stopped()`` was true.
        EngineError: no Ray answers at ``ray``, or a part's workers kept dying.
    """
    if plan.clients > population:
        raise InputError(f"is more than the population of {population:,}", field="clients", mend="ask fewer a round")
    draw, optimiser, key = np.random.default_rng(seed), server or Server(), Ed25519PrivateKey.generate()
    asked = _asked(population, plan, draw)
    times = np.bincount(asked.ravel(), minlength=population)
    privacy = _privacy(plan, int(times.max()), len(weights))
    state, summed, checked = b"", 0, 0
    spread = Spread(_summed, update, ray)
    for number, some in enumerate(asked):
        offer = new_offer(
            key, round_id=secrets.token_bytes(16), task="training", model="00" * 32, dim=len(weights),
            quantum=plan.clip / plan.steps, privacy=privacy, clients=plan.clients,
            live=max(2, round(plan.assured * plan.clients)) if plan.epsilon else None,
        )  # fmt: skip
        fate = {n: _STEPS[draw.integers(4)] for n in range(len(some)) if draw.random() < plan.vanish}
        there = [n for n in range(len(some)) if fate.get(n) in (None, "unmask")]
        if len(there) < offer.live:
            raise ConflictError(f"{len(there)} delivered, {offer.live} are needed", field="vanish", mend="ask more")
        held = bool(plan.check) and number % plan.check == 0
        words: dict[int, Words] = {}
        total = np.zeros(len(weights), np.uint32)
        parts = (
            _Part(weights, offer, [(n, int(some[n])) for n in there[at : at + AT_ONCE]],
                  None if noise is None else (noise, number), held)
            for at in range(0, len(there), AT_ONCE)
        )  # fmt: skip
        for sum_of_part, kept in spread(parts, stopped=stopped):
            total += sum_of_part
            words |= kept
        if held:
            _hold(offer, key, words, fate, len(some), total)
            checked += 1
        now = replace(optimiser, rate=optimiser.rate * (1 - number / plan.rounds)) if plan.cool else optimiser
        weights, state = now.step(weights, decode(total, offer) / len(there), state)
        summed += len(there)
        told(number + 1, weights)
    most = int(times.max())
    return Trained(weights, plan.rounds, summed, most, privacy.epsilon, checked, most * privacy.rho)


def _asked(population: int, plan: Training, draw: np.random.Generator) -> NDArray[np.int64]:
    """Who is asked, rounds × clients: everyone once before anyone is asked again."""
    need = plan.rounds * plan.clients
    orders = [draw.permutation(population) for _ in range(-(-need // population))]
    found = np.concatenate(orders)[:need].reshape(plan.rounds, plan.clients)
    for row in found:  # the seam of two orders may name someone twice in one round
        kept, first = np.unique(row, return_index=True)
        again = np.setdiff1d(np.arange(len(row)), first)
        row[again] = draw.choice(np.setdiff1d(np.arange(population), kept), len(again), replace=False)
    return found


def _privacy(plan: Training, times: int, dim: int) -> Privacy:
    if plan.epsilon is None:
        return Privacy(clip=plan.clip)
    assured = max(2, round(plan.assured * plan.clients))
    return noise_for(plan.epsilon, plan.delta, times, plan.clip, plan.clip / plan.steps, dim, assured)


def _hold(
    offer: Offer, key: Ed25519PrivateKey, words: dict[int, Words], fate: dict[int, Step], size: int, total: Words
) -> None:
    """The same round through the whole protocol."""
    nothing = np.zeros(offer.dim, np.uint32)
    updates = [lambda _, n=n: words.get(n, nothing) for n in range(size)]
    found = play(offer, key, updates, fate=fate)
    if found.outcome is None:
        raise ConflictError(found.reason, field="vanish", mend="fewer may go away")
    if not (found.outcome.total == total).all():
        raise ConflictError("the masked sum is not the plain one", field="round", mend="report this as a fault")
