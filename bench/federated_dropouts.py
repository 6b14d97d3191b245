"""How often a round of 1,000 fails when 30 % vanish at random steps, by k: the graph alone, without cryptography.

Clients stand in a circle in random order, each joined to k / 2 on either side: sums over neighbours are windows.

A round fails when a client's neighbours that answer at the end are fewer than t (of anyone whose secret is needed), or
when a client sees fewer than t neighbours in its inbox. t is 55 % of k, as :func:`arauto.federated.new_offer` has it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIENTS, ROUNDS = 1000, 20_000
CASES = ((50, 0.2), (50, 0.3), (66, 0.3), (80, 0.3), (100, 0.3), (100, 0.35))


def around(members: NDArray[np.bool_], neighbours: int) -> NDArray[np.int64]:
    """How many of each one's neighbours are ``members``."""
    half = neighbours // 2
    ring = np.concatenate((members[-half:], members, members[:half])).astype(np.int64)
    sums = np.concatenate(([0], np.cumsum(ring)))
    return np.asarray(sums[neighbours + 1 :] - sums[: -neighbours - 1] - members)


def fails(neighbours: int, gone: float, draw: np.random.Generator) -> bool:
    """One round. A client that sees too few neighbours leaves, which may leave others too few."""
    need = round(0.55 * neighbours)
    fate = np.where(draw.random(CLIENTS) < gone, draw.integers(0, 4, CLIENTS), 4)
    fate = fate[fate > 0]  # those who never joined are in no roster
    shared = fate > 1
    delivered = (fate > 2) & (around(shared, neighbours) >= need)
    answered = (fate > 3) & delivered
    return bool((around(answered, neighbours)[shared] < need).any())


def interval(hits: int, trials: int) -> list[float]:
    """Wilson's 95 % interval."""
    rate, z = hits / trials, 1.96
    middle, wide = rate + z * z / (2 * trials), z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2))
    return [round((middle + sign * wide) / (1 + z * z / trials), 4) for sign in (-1, 1)]


def main() -> dict[str, Any]:
    draw = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for neighbours, gone in CASES:
        failed = sum(fails(neighbours, gone, draw) for _ in range(ROUNDS))
        row = {"k": neighbours, "t": round(0.55 * neighbours), "vanish": gone, "failed": failed, "rounds": ROUNDS}
        rows.append({**row, "rate": failed / ROUNDS, "interval": interval(failed, ROUNDS)})
        print(rows[-1], flush=True)
    shipped = next(row for row in rows if row["k"] == 100 and row["vanish"] == 0.3)
    return {"clients": CLIENTS, "rows": rows, "passed": shipped["rate"] <= 0.01}
