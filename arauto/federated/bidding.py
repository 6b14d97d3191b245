"""Regions learn a market together: their counts, through a real round, become the market that each of them bids by."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arauto.core.errors import ConflictError
from arauto.federated.bids import DIM, Auctions, Market, counts_of, market_of
from arauto.federated.local import new_offer, play
from arauto.federated.privacy import encode, noise_for
from arauto.federated.wire import Privacy

_MODEL = "00" * 32
CLIP = 2000.0
"""Under noise: the L2 norm to which a region's counts are clipped."""


def federated_market(regions: Sequence[Auctions], epsilon: float | None = None, *, delta: float = 1e-6) -> Market:
    """The market of all regions, by secure aggregation; no one sees one region's counts.

    With ``epsilon`` None the sum is exact: counts of whole auctions, protected from everyone but not from the sum
    itself. With one, a REGION's whole contribution is hidden to (ε, δ), which costs accuracy unless regions are many.

    Raises:
        InputError: fewer than 3 regions.
        ConflictError: the round failed.
    """
    key = Ed25519PrivateKey.generate()
    count = len(regions)
    privacy = Privacy(clip=CLIP)
    if epsilon is not None:
        privacy = noise_for(epsilon, delta, 1, CLIP, 1.0, DIM, max(2, count // 2))
    offer = new_offer(
        key,
        round_id=secrets.token_bytes(16),
        task="bids",
        model=_MODEL,
        dim=DIM,
        quantum=1.0,
        privacy=privacy,
        clients=count,
    )
    if epsilon is None:
        updates = [lambda _, log=log: counts_of(log) for log in regions]
    else:
        updates = [lambda offer, log=log: encode(counts_of(log).astype(np.float64), offer) for log in regions]
    found = play(offer, key, updates)
    if found.outcome is None:
        raise ConflictError(found.reason, field="round", mend="try again with the regions that answer")
    return market_of(found.outcome.total.view(np.int32).astype(np.float64))
