"""A hundred thousand clients in one process: click rates over 512 buckets, everyone asked once, a tenth vanishing,
ε = 3. Seconds, memory, and what was learnt."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np

from arauto.federated import Server, Training, train
from arauto.federated.audit import auc
from arauto.federated.clicks import Floats, chances, gradient, scale_of

CLIENTS, DIM, EACH, FEATURES, HELD = 100_000, 512, 12, 5, 5_000
SECONDS = 300.0


def client(number: int, truth: Floats) -> tuple[Any, Floats]:
    """Its impressions, made anew whenever it is asked: nothing of a client is kept."""
    draw = np.random.default_rng([11, number])
    buckets = draw.integers(1, DIM, (EACH, FEATURES))
    buckets[:, 0] = 0
    return buckets, (draw.random(EACH) < chances(truth, buckets)).astype(np.float64)


def main() -> dict[str, Any]:
    draw = np.random.default_rng(0)
    truth = np.append(-2.0, draw.normal(0, 0.6, DIM - 1))
    held = [client(CLIENTS + n, truth) for n in range(HELD)]
    rows, clicks = np.concatenate([one[0] for one in held]), np.concatenate([one[1] for one in held]) > 0
    # All buckets but the bias are equally frequent here: nobody need count them.
    scale = scale_of(np.append(1.0, np.full(DIM - 1, (FEATURES - 1) / (DIM - 1))))
    plan = Training(rounds=20, clients=5_000, clip=26.0, epsilon=3.0, vanish=0.1, assured=0.85)
    began, cpu = time.perf_counter(), time.process_time()
    found = train(
        np.append(-2.0, np.zeros(DIM - 1)),
        lambda weights, n: gradient(weights, *client(n, truth), scale),
        CLIENTS,
        plan,
        server=Server(rate=0.08, momentum=0.8),
        told=lambda n, _: print("round", n, round(time.perf_counter() - began), "s", flush=True),
    )
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    learnt, ideal = (auc(chances(one, rows), clicks) for one in (found.weights * scale, truth))
    return {
        "clients": CLIENTS,
        "rounds": found.rounds,
        "in_the_sums": found.summed,
        "dim": DIM,
        "epsilon": found.epsilon,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "clients_a_cpu_second": round(CLIENTS / cpu),
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "auc": {"learnt": learnt, "the truth": ideal},
        "passed": cpu <= SECONDS and found.participations == 1 and learnt > 0.55,
    }
