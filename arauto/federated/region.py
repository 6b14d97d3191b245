"""A regional coordinator as one learner of a larger federation: weights are given to it, its own devices play a round,
and it tells what came of it: the weights after the noised sum, never a device's update."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import ConflictError
from arauto.core.settings import Settings, load_settings
from arauto.federated.rounds import model_bytes
from arauto.federated.wire import Receipt, peek
from arauto.store import Store

Floats = NDArray[np.float64]
PAUSE_S = 0.2


class Report(NamedTuple):
    """What a region tells. ``weights``: those it was given, plus the mean of ``live`` devices' noised updates;
    ``epsilon`` at ``delta``: what the round's receipt promises each device (−1: an exact sum); ``receipt``: its signed
    frame, empty for a simulated region."""

    weights: Floats
    live: int
    epsilon: float
    delta: float = 1e-6
    receipt: bytes = b""


Learn = Callable[[Floats], Report]
"""What a region does with weights."""


async def learn(store: Store, task: str, weights: Floats, *, patience_s: float = 3600.0) -> Report:
    """Give ``weights`` to ``task``'s coordinator (``arauto federated coordinator --given``) and wait for its round.

    Raises:
        ConflictError: a round of the task is open, the round failed, or nothing came in ``patience_s`` seconds.
        InputError: the task's model has another length.
        NotFoundError: there is no such task.
    """
    rows, kept = store.federated, model_bytes(weights)
    given = await rows.give(task, kept, sha256(kept).hexdigest())
    ends = time.monotonic() + patience_s
    while time.monotonic() < ends:
        made = await rows.model(task)
        if made.version > given.version:
            return await _report(store, made.weights, made.round or "")
        row = await rows.last_round(task)
        if row is not None and row.opened_ms >= given.created_ms and row.phase == "failed":
            raise ConflictError(f"the region's round failed: {row.reason}", field="round", mend="give weights again")
        await asyncio.sleep(PAUSE_S)
    raise ConflictError(f"no round ended in {patience_s:g} s", field="round", mend="is its coordinator running?")


async def until_given(store: Store, task: str) -> None:
    """The coordinator's side of :func:`learn`: return when weights wait for a round."""
    while not await store.federated.given(task):  # noqa: ASYNC110  another process gives them
        await asyncio.sleep(PAUSE_S)


async def _report(store: Store, weights: bytes, round_id: str) -> Report:
    frame = (await store.federated.round(round_id)).receipt or b""
    receipt = peek(frame, Receipt)[0]
    after = np.frombuffer(weights, "<f4").astype(np.float64)
    return Report(after, receipt.live, receipt.privacy.epsilon, receipt.privacy.delta, frame)


def region(task: str, *, settings: Settings | None = None, patience_s: float = 3600.0) -> Learn:
    """:func:`learn` of the installation whose settings are given, or found as every command finds them."""

    def once(weights: Floats) -> Report:
        async def main() -> Report:
            async with await Store.open(settings or load_settings()) as store:
                return await learn(store, task, weights, patience_s=patience_s)

        return asyncio.run(main())

    return once
