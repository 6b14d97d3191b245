"""Attacks on our own rounds: what an observer of updates or sums finds out, beside what ε promises.

ε and attack figures are always reported together: a high ε with a failed attack is no promise, and a low one with an
attack that succeeds is a defect.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from arauto.federated import privacy as dp
from arauto.federated import wire
from arauto.federated.client import Client
from arauto.federated.coordinator import Coordinator, public_key
from arauto.federated.local import new_offer
from arauto.federated.masks import Words
from arauto.federated.wire import Offer, Privacy, RefusedError

Floats = NDArray[np.float64]
WORDS, WIDTH, HELD = 512, 8, 12
"""The task that is attacked: an embedding of 512 words × 8; a client's texts use twelve of them."""
_CLIP, _QUANTUM = 1.0, 1 / 4096


class Finding(msgspec.Struct, frozen=True):
    """One attack. ``auc``: 0.5 is guessing. ``epsilon``: what was promised against it (−1: nothing)."""

    attack: str
    target: str
    clients: int
    epsilon: float
    auc: float | None = None
    epsilon_lower: float | None = None
    refused: int | None = None
    tried: int | None = None


class _Bytes:
    """A fast, seeded source for simulated noise. Never used by a client."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)

    def __call__(self, size: int) -> bytes:
        return self._draw.bytes(size)


def auc(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half."""
    if truth.all() or not truth.any():
        return math.nan
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positive = int(truth.sum())
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


def update_of(held: NDArray[np.int64], draw: np.random.Generator) -> Floats:
    """What training on the words ``held`` sends: rows of the embedding, and nothing elsewhere; of norm 1."""
    rows = np.zeros((WORDS, WIDTH))
    rows[held] = draw.normal(size=(len(held), WIDTH))
    return np.asarray((rows / np.linalg.norm(rows)).ravel())


def shipped(clients: int, epsilon: float, dim: int, delta: float = 1e-6, cap: int = 1) -> Privacy:
    """The noise that ``new_offer`` is given by default: half of the clients are relied upon."""
    return dp.noise_for(epsilon, delta, cap, _CLIP, _QUANTUM, dim, max(2, clients // 2))


def _offer(key: Ed25519PrivateKey, clients: int, dim: int, privacy: Privacy) -> Offer:
    return new_offer(
        key,
        round_id=bytes(16),
        task="audit",
        model="00" * 32,
        dim=dim,
        quantum=_QUANTUM,
        privacy=privacy,
        clients=clients,
    )


def row_support(clients: int, epsilon: float | None, *, trials: int = 20, seed: int = 0) -> Finding:
    """Which words did somebody hold? Rows of a SUM of ``clients`` updates, ranked by norm; the words that nobody holds
    against those that exactly one client holds. ``epsilon`` None: an exact sum, as secure aggregation alone gives."""
    draw = np.random.default_rng(seed)
    privacy = Privacy(clip=_CLIP) if epsilon is None else shipped(clients, epsilon, WORDS * WIDTH)
    key = Ed25519PrivateKey.generate()
    offer = _offer(key, max(3, clients), WORDS * WIDTH, privacy)
    scores, truth = [], []
    for _ in range(trials):
        # The last quarter of the words is rare: each of them one client's, or nobody's.
        rare = np.arange(3 * WORDS // 4, WORDS)
        owned = draw.permutation(rare)[: len(rare) // 2]
        owner = draw.integers(0, clients, len(owned))
        total = np.zeros(WORDS * WIDTH, np.uint32)
        for client in range(clients):
            common = draw.choice(3 * WORDS // 4, HELD, replace=False)
            update = update_of(np.concatenate((common, owned[owner == client])), draw)
            total += dp.encode(update, offer, _Bytes(int(draw.integers(1 << 62))))
        rows = dp.decode(total, offer).reshape(WORDS, WIDTH)[rare]
        scores.append(np.linalg.norm(rows, axis=1))
        truth.append(np.isin(rare, owned))
    found = auc(np.concatenate(scores), np.concatenate(truth))
    return Finding("row support", "sum", clients, privacy.epsilon, auc=round(found, 4))


def row_support_single(masked: bool, *, trials: int = 100, seed: int = 0) -> Finding:
    """Which words did THIS client hold? From one update, as it leaves the device: masked, or bare to show the
    attack."""
    draw = np.random.default_rng(seed)
    key = Ed25519PrivateKey.generate()
    offer = _offer(key, 8, WORDS * WIDTH, Privacy(clip=_CLIP))
    scores, truth = [], []
    for _ in range(trials):
        held = draw.choice(WORDS, HELD, replace=False)
        words = dp.encode(update_of(held, draw), offer, _Bytes(int(draw.integers(1 << 62))))
        seen = first_masked(offer, key, words) if masked else words
        rows = seen.view(np.int32).astype(np.float64).reshape(WORDS, WIDTH)
        scores.append(np.linalg.norm(rows, axis=1))
        truth.append(np.isin(np.arange(WORDS), held))
    found = auc(np.concatenate(scores), np.concatenate(truth))
    return Finding("row support", "masked update" if masked else "bare update", 1, -1.0, auc=round(found, 4))


def first_masked(offer: Offer, key: Ed25519PrivateKey, words: Words) -> Words:
    """What the coordinator sees of the first client's ``words``, through the real protocol."""
    coordinator = Coordinator(offer, key)
    clients = [Client(coordinator.frame, public_key(key)) for _ in range(offer.least)]
    for client in clients:
        coordinator.take(client.join())
    coordinator.advance()
    for client in clients:
        coordinator.take(client.shares(coordinator.roster()))
    coordinator.advance()
    frame = clients[0].masked(coordinator.inbox(clients[0].position), words)
    return np.frombuffer(wire.peek(frame, wire.Masked)[1], "<u4").copy()


def inversion(masked: bool, *, trials: int = 100, seed: int = 0) -> Finding:
    """Gradient inversion: of a logistic model's gradient on one example, weights over bias IS the example. The AUC is
    of its set features among all."""
    draw = np.random.default_rng(seed)
    key = Ed25519PrivateKey.generate()
    offer = _offer(key, 8, 129, Privacy(clip=_CLIP))
    scores, truth = [], []
    for _ in range(trials):
        example = draw.random(128) < 0.1
        gradient = np.append(example * 1.0, 1.0) * draw.normal()
        words = dp.encode(gradient, offer, _Bytes(int(draw.integers(1 << 62))))
        seen = (first_masked(offer, key, words) if masked else words).view(np.int32).astype(np.float64)
        scores.append(np.abs(seen[:128] / (seen[128] or 1.0)))
        truth.append(example)
    found = auc(np.concatenate(scores), np.concatenate(truth))
    return Finding("gradient inversion", "masked update" if masked else "bare update", 1, -1.0, auc=round(found, 4))


def canary(clients: int, epsilon: float, *, trials: int = 400, dim: int = 64, seed: int = 0) -> Finding:
    """Membership inference by the strongest observer: it knows everyone else's update, and a canary of full norm is in
    the sum or not. AUC, and a lower bound on ε that holds with 95 % confidence (Clopper-Pearson on both error rates,
    at a threshold chosen on the other half of the trials; Jagielski et al., NeurIPS 2020)."""
    draw = np.random.default_rng(seed)
    privacy = shipped(clients, epsilon, dim)
    offer = _offer(Ed25519PrivateKey.generate(), max(3, clients), dim, privacy)
    direction = draw.normal(size=dim)
    direction /= np.linalg.norm(direction)
    scores = np.empty(2 * trials)
    truth = np.arange(2 * trials) % 2 == 1
    noise = _Bytes(seed + 1)
    for trial, there in enumerate(truth):
        total = dp.encode(direction * there, offer, noise)
        for _ in range(privacy.assured - 1):
            total += dp.discrete_gaussian(privacy.noise, dim, noise).astype(np.uint32)
        scores[trial] = dp.decode(total, offer) @ direction
    half = len(truth) // 2
    lower = epsilon_lower(scores[:half], truth[:half], scores[half:], truth[half:], privacy.delta)
    found = auc(scores, truth)
    return Finding("canary", "sum", clients, privacy.epsilon, auc=round(found, 4), epsilon_lower=round(lower, 4))


def epsilon_lower(
    choose: Floats, choose_truth: NDArray[np.bool_], test: Floats, test_truth: NDArray[np.bool_], delta: float
) -> float:
    """What ε must at least be, given the scores of an attack; 0 when it proves nothing."""
    best, cut = 0.0, math.inf
    for threshold in np.unique(choose):
        hits = (choose[choose_truth] >= threshold).mean()
        false = (choose[~choose_truth] >= threshold).mean()
        if false > 0 and hits > delta and (value := math.log((hits - delta) / false)) > best:
            best, cut = value, threshold
    hits, false = int((test[test_truth] >= cut).sum()), int((test[~test_truth] >= cut).sum())
    low = _binomial_bound(hits, int(test_truth.sum()), 0.025, upper=False)
    high = _binomial_bound(false, int((~test_truth).sum()), 0.025, upper=True)
    return max(0.0, math.log((low - delta) / high)) if low > delta and high > 0 else 0.0


def _binomial_bound(hits: int, trials: int, alpha: float, *, upper: bool) -> float:
    """A Clopper-Pearson bound, by bisection on the binomial tail."""
    if hits == (trials if upper else 0):
        return float(upper)
    k = np.arange(0, hits + 1) if upper else np.arange(hits, trials + 1)
    logs = np.array([math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in k])
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        tail = float(np.exp(logs + k * math.log(p) + (trials - k) * math.log1p(-p)).sum())
        if (tail > alpha) == upper:
            low = p
        else:
            high = p
    return (low + high) / 2


class Attempt(NamedTuple):
    """A changed message: what it was, the frame, and who must refuse it."""

    kind: str
    frame: bytes
    judge: Callable[[bytes], object]


def mutations(frame: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """One change: a bit, a byte run, a cut, an addition, a swap of halves, or another message's tail."""
    way = draw.randrange(6)
    at = draw.randrange(len(frame))
    if way == 0:
        return frame[:at] + bytes([frame[at] ^ 1 << draw.randrange(8)]) + frame[at + 1 :]
    if way == 1:
        run = draw.randbytes(min(1 + draw.randrange(32), len(frame) - at))
        return frame[:at] + run + frame[at + len(run) :]
    if way == 2:
        return frame[:at]
    if way == 3:
        return frame[:at] + draw.randbytes(1 + draw.randrange(16)) + frame[at:]
    if way == 4:
        return frame[at:] + frame[:at]
    other = draw.choice(others)
    return frame[:at] + other[at:]


def tamper(tries: int, *, clients: int = 12, seed: int = 0) -> Finding:
    """Change every message of a round in ``tries`` ways in all; the judge is the party that it was meant for, in the
    very state it was sent in. Counts refusals. Unchanged repeats (replays) and the last round's messages are among
    them."""
    draw = random.Random(seed)  # noqa: S311  an attacker's choices, not a secret
    key = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
    refused = tried = 0
    for attempt in _attempts(key, clients, draw, tries):
        tried += 1
        try:
            attempt.judge(attempt.frame)
        except RefusedError:
            refused += 1
    return Finding("tamper and replay", "every message", clients, -1.0, refused=refused, tried=tried)


def _attempts(key: Ed25519PrivateKey, clients: int, draw: random.Random, tries: int) -> Iterator[Attempt]:
    pinned = public_key(key)
    each = -(-tries * 11 // (10 * (4 * clients + 5)))  # a tenth more: some changes change nothing
    privacy = Privacy(clip=1.0)
    offers = [
        new_offer(
            key,
            round_id=draw.randbytes(16),
            task="fuzz",
            model="00" * 32,
            dim=32,
            quantum=1.0,
            privacy=privacy,
            clients=clients,
        )
        for _ in range(2)
    ]
    old: dict[str, list[bytes]] = {}
    for offer in offers:  # the first round is the past that the second is attacked with
        coordinator = Coordinator(offer, key)
        now: dict[str, list[bytes]] = {}
        many = partial(_changed, now, old, draw, each)
        yield from many("offer", coordinator.frame, lambda frame: Client(frame, pinned))
        crowd = [Client(coordinator.frame, pinned) for _ in range(clients)]
        yield from _phase(coordinator, many, "join", crowd, [client.join() for client in crowd])
        yield from many("roster", coordinator.roster(), _fresh(crowd[0], "shares"))
        yield from _phase(coordinator, many, "shares", crowd, [one.shares(coordinator.roster()) for one in crowd])
        inbox = coordinator.inbox(crowd[0].position)
        words = np.zeros(offer.dim, np.uint32)
        masked = _fresh(crowd[0], "masked")
        yield from many("inbox", inbox, partial(_with_words, masked, words))
        frames = [one.masked(coordinator.inbox(one.position), words) for one in crowd]
        yield from _phase(coordinator, many, "masked", crowd, frames)
        yield from many("ask", coordinator.ask(), _fresh(crowd[0], "unmask"))
        yield from _phase(coordinator, many, "unmask", crowd, [one.unmask(coordinator.ask()) for one in crowd])
        assert coordinator.outcome is not None  # noqa: S101  nothing above was let in
        yield from many("receipt", coordinator.outcome.receipt, crowd[0].receipt)
        old = now


def _changed(
    now: dict[str, list[bytes]],
    old: dict[str, list[bytes]],
    draw: random.Random,
    each: int,
    kind: str,
    frame: bytes,
    judge: Callable[[bytes], object],
) -> Iterator[Attempt]:
    """``each`` changes of a message, and one of the past in its place; keeps the message for later."""
    now.setdefault(kind, []).append(frame)
    if not old:
        return
    for _ in range(each):
        changed = mutations(frame, draw, old[kind])
        if changed != frame and changed not in old[kind]:
            yield Attempt(kind, changed, judge)
    if kind != "offer":  # an old offer is a whole one: refused by the ledger, not by its form
        yield Attempt(kind, draw.choice(old[kind]), judge)


def _phase(
    coordinator: Coordinator,
    many: Callable[..., Iterator[Attempt]],
    kind: str,
    crowd: list[Client],
    frames: list[bytes],
) -> Iterator[Attempt]:
    """Attack each message before it arrives, then let it in and repeat it."""
    for _, frame in zip(crowd, frames, strict=True):
        yield from many(kind, frame, coordinator.take)
        coordinator.take(frame)
        yield Attempt(kind, frame, coordinator.take)
    coordinator.advance()


def _with_words(judge: Callable[..., object], words: Words, frame: bytes) -> object:
    return judge(frame, words)


def _fresh(client: Client, method: str) -> Callable[..., object]:
    """A judge that asks the client again and again as if for the first time: a refusal ends a client's round."""
    before = copy.copy(client)
    return lambda *given: getattr(copy.copy(before), method)(*given)


def audit(
    epsilon: float = 3.0, *, tries: int = 2000, sizes: tuple[int, ...] = (16, 64), seed: int = 0
) -> list[Finding]:
    """The whole suite, at the noise that ``epsilon`` needs for one participation."""
    found = [row_support_single(masked, seed=seed) for masked in (False, True)]
    found += [inversion(masked, seed=seed) for masked in (False, True)]
    for size in sizes:
        found += [row_support(size, bound, seed=seed) for bound in (None, epsilon)]
        found.append(canary(size, epsilon, seed=seed))
    return [*found, tamper(tries, seed=seed)]
