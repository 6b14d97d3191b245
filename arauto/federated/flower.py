"""Flower (flwr.ai, Apache-2.0): a region of ours as one of its clients, and our aggregation as one of its strategies.

A region reports what its coordinator made of its devices: the weights after their noised sum, so that any of Flower's
strategies takes it for one client with that many examples. Flower's own secure aggregation is neither needed nor used:
up to 1.42 its masks come from 32-bit seeds (flwrlabs/flower#7522). Runs in an environment of Flower's, for its upper
bounds on packages are below what the rest of Arauto is tested with: ``pip install 'arauto[flower]'``.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.federated import wire
from arauto.federated.region import Learn, Report
from arauto.federated.rounds import model_bytes
from arauto.federated.server import Server, median_of

Floats = NDArray[np.float64]
ARRAYS, METRICS, PROOF = "arrays", "metrics", "proof"


def region_app(learn: Learn) -> Any:
    """A Flower ``ClientApp`` that trains by ``learn``: :func:`arauto.federated.region`, or a simulation.

    Its reply has the weights after the region's round under ``arrays``, as they were shaped; under ``metrics`` how many
    devices are in the sum (``num-examples``) and what it cost each (``epsilon`` at ``delta``); under ``proof`` the
    signed receipt.
    """
    app = _need("flwr.clientapp").ClientApp()
    flower = _need("flwr.app")

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Any, context: Any) -> Any:  # noqa: ARG001  Flower calls it with both
        records = list(message.content.array_records.values())
        if len(records) != 1:
            raise InputError(f"has {len(records)} models", field="message", mend="send one ArrayRecord")
        told = learn(flat(records[0]))
        content = flower.RecordDict(
            {
                ARRAYS: shaped(told.weights, records[0]),
                METRICS: flower.MetricRecord({"num-examples": told.live, "epsilon": told.epsilon, "delta": told.delta}),
                PROOF: flower.ConfigRecord({"receipt": told.receipt}),
            }
        )
        return flower.Message(content, reply_to=message)

    return app


def regions(
    server: Server | None = None, *, median: bool = False, keys: Collection[str] = (), epsilon: float | None = None,
    **options: Any,
) -> Any:  # fmt: skip
    """A Flower strategy over regions: the mean of all devices' updates (with ``median`` the coordinate-wise median of
    the regions' means), taken by our ``server``: FedAvg, momentum or FedAdam. ``options`` are those of Flower's FedAvg.

    With ``keys``, the regions' coordinators' public keys in hexadecimal, a reply counts only with a receipt that one of
    them signed for the very weights that were sent, once. A receipt says how many devices a region summed and at what
    ε; that the reply is that sum is the region's word. With ``epsilon``, a region that promised its devices less
    privacy is left out.
    """
    strategies, flower, optimiser = _need("flwr.serverapp.strategy"), _need("flwr.app"), server or Server()

    class Regions(strategies.FedAvg):  # type: ignore[misc,name-defined]
        """See :func:`regions`."""

        def __init__(self) -> None:
            super().__init__(**{"fraction_evaluate": 0.0, "arrayrecord_key": ARRAYS, **options})
            self._state = b""

        def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
            self._arrays = arrays
            return super().configure_train(server_round, arrays, config, grid)

        def aggregate_train(self, server_round: int, replies: Iterable[Any]) -> Any:  # noqa: ARG002
            before = flat(self._arrays)
            told = [_read(reply, len(before)) for reply in replies if not reply.has_error()]
            good = [one for one in told if one is not None and _trusted(one, before, keys, epsilon)]
            kept = list({one.receipt or place: one for place, one in enumerate(good)}.values())  # a receipt counts once
            if not kept:
                return None, None
            live = sum(one.live for one in kept)
            changes = [one.weights - before for one in kept]
            mean = median_of(changes) if median else np.average(changes, axis=0, weights=[one.live for one in kept])
            after, self._state = optimiser.step(before, mean, self._state)
            metrics = {"num-examples": live, "regions": len(kept), "epsilon": max(one.epsilon for one in kept)}
            return shaped(after, self._arrays), flower.MetricRecord(metrics)

    return Regions()


def flat(record: Any) -> Floats:
    """The numbers of an ArrayRecord, one after the other."""
    return np.concatenate([one.numpy().ravel() for one in record.values()]).astype(np.float64)


def shaped(weights: Floats, like: Any) -> Any:
    """``weights`` as an ArrayRecord of the names, shapes and types of ``like``."""
    flower, made, at = _need("flwr.app"), {}, 0
    for name, one in like.items():
        old = one.numpy()
        made[name] = flower.Array(weights[at : at + old.size].reshape(old.shape).astype(old.dtype))
        at += old.size
    return flower.ArrayRecord(made)


def _read(reply: Any, size: int) -> Report | None:
    """What a region told; None when it is not of the form, or not of that size."""
    try:
        content = reply.content
        numbers, proof = content[METRICS], content.get(PROOF, {})
        weights = flat(content[ARRAYS])
        told = Report(
            weights, int(numbers["num-examples"]), float(numbers["epsilon"]), float(numbers["delta"]),
            bytes(proof.get("receipt", b"")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None
    return told if told.live > 0 and len(weights) == size and bool(np.isfinite(weights).all()) else None


def _trusted(told: Report, before: Floats, keys: Collection[str], epsilon: float | None) -> bool:
    if epsilon is not None and not 0 <= told.epsilon <= epsilon:
        return False
    return not keys or any(_signed(told, before, bytes.fromhex(key)) for key in keys)


def _signed(told: Report, before: Floats, key: bytes) -> bool:
    try:
        receipt = wire.unseal(told.receipt, wire.Receipt, key)[0]
    except wire.RefusedError:
        return False
    promised = (receipt.live, receipt.privacy.epsilon, receipt.privacy.delta)
    return (
        promised == (told.live, told.epsilon, told.delta)
        and receipt.model == sha256(model_bytes(before)).hexdigest()
    )  # fmt: skip


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise InputError("flwr is not installed", field="flower", mend="pip install 'arauto[flower]'") from None
