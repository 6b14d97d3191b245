"""What people see of federated learning, and how a model that devices made together goes live: through the ramp.

A task whose model has one score for each live variant of a campaign (in the order of their names) learns which to show:
:func:`release_model` turns the scores into shares of the traffic and hands them to the release machine.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from arauto.core.errors import ConflictError, InputError
from arauto.loop.release import NewRelease, Release, start_release
from arauto.store import FederatedModel, RoundRow, Store, TaskRow

Phase = Literal["join", "shares", "masked", "unmask", "done", "failed"]
LEAST_SHARE = 0.01
"""Of the traffic, that every variant keeps: what is not shown cannot be learnt about."""


class FederatedRound(msgspec.Struct, frozen=True, kw_only=True):
    """A round. ``clients`` joined; ``lost`` says how many were there no more at each later step (``shares``,
    ``masked``, ``unmask``), of steps that have ended; ``live`` are in the sum.

    ``epsilon`` is what this round alone costs a device; ``update_norm`` the L2 norm of the mean update. ``version`` is
    the model that it made, ``releases`` that model's.
    """

    id: str
    task: str
    phase: Phase
    reason: str
    opened_ms: int
    ended_ms: int | None
    deadline_ms: int
    clients: int
    lost: dict[str, int]
    live: int | None
    update_norm: float | None
    epsilon: float
    version: int | None
    releases: tuple[int, ...]


class FederatedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task: ``spent`` of ``epsilon`` at ``delta`` (by a device that took part in every round), its last model, and
    its rounds, the last first."""

    name: str
    free: bool
    epsilon: float
    delta: float
    spent: float
    version: int
    sha256: str
    rounds: tuple[FederatedRound, ...]


async def federated_tasks(store: Store) -> tuple[FederatedTask, ...]:
    """Every task with its rounds; empty where nothing is federated.

    Raises:
        InputError: there are some, and the extra is not installed here.
    """
    tasks = await store.federated.tasks()
    rounds, counts = await store.federated.rounds(), await store.federated.counts()
    found = []
    for task in tasks:
        models = await store.federated.models(task.name)
        made = {model.round: model for model in models if model.round}
        own = [row for row in rounds if row.task == task.name]
        told = [_round(row, task, made.get(row.id), counts) for row in own]
        found.append(
            FederatedTask(
                name=task.name,
                free=task.free,
                epsilon=task.epsilon,
                delta=task.delta,
                spent=_epsilon(task.rho, task.delta),
                version=models[-1].version,
                sha256=models[-1].sha256,
                rounds=tuple(sorted(told, key=lambda one: (one.opened_ms, one.id), reverse=True)),
            )
        )
    return tuple(found)


def _round(
    row: RoundRow, task: TaskRow, model: FederatedModel | None, counts: dict[tuple[str, str], int]
) -> FederatedRound:
    taken = [row.joined, row.shared, row.delivered, row.unmasked]
    lost = {
        step: before - after
        for step, before, after in zip(("shares", "masked", "unmask"), taken[:-1], taken[1:], strict=True)
        if before is not None and after is not None
    }
    return FederatedRound(
        id=row.id,
        task=row.task,
        phase=row.phase,  # type: ignore[arg-type]  # the table allows no other
        reason=row.reason,
        opened_ms=row.opened_ms,
        ended_ms=row.ended_ms,
        deadline_ms=row.deadline_ms,
        clients=row.joined if row.joined is not None else counts.get((row.id, "join"), 0),
        lost=lost,
        live=row.delivered,
        update_norm=row.update_norm,
        epsilon=_epsilon(row.rho, task.delta),
        version=model.version if model else None,
        releases=model.rollouts if model else (),
    )


def _epsilon(rho: float, delta: float) -> float:
    try:
        from arauto.federated import epsilon_of
    except ModuleNotFoundError as missing:
        raise InputError(
            f"{missing.name} is not installed", field="federated", mend="pip install 'arauto[federated]'"
        ) from None
    return epsilon_of(rho, delta)


def shares_of(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    """Shares of the traffic by softmax of ``scores``, each at least :data:`LEAST_SHARE` (or an even one, where there
    are too many for that)."""
    least = min(LEAST_SHARE, 0.5 / len(scores))
    odds = np.exp(scores - scores.max())
    mixed = least + (1.0 - least * len(scores)) * odds / odds.sum()
    return [float(one) for one in mixed / mixed.sum()]


async def release_model(
    store: Store, task: str, campaign_id: int, *, version: int | None = None, actor: str, new: NewRelease | None = None
) -> Release:
    """Release a task's model (the last, unless ``version`` says another) into a campaign: its shares reach 1 % of the
    traffic, then more, under the guardrails, or are rolled back. ``new`` may give guardrails, steps and budgets.

    Raises:
        NotFoundError: there is no such task, version or campaign.
        InputError: the model has not one score for each live variant.
        ConflictError: the model was released already; or as in :func:`~arauto.loop.release.start_release`.
    """
    model = await store.federated.model(task, version)
    if model.round is None:
        raise InputError("is the one that it began with", field="version", mend="release what a round has made")
    live = sorted(one.name for one in await store.catalogue.variants(campaign_id) if one.state == "live")
    scores = np.frombuffer(model.weights, "<f4").astype(np.float64)
    if len(scores) != len(live) or not np.isfinite(scores).all():
        raise InputError(
            f"has {len(scores)} scores; the campaign has {len(live)} live variants",
            field="task",
            mend="one finite score for each, in the order of their names",
        )
    for rollout in model.rollouts:
        if (await store.rollouts.get(rollout)).campaign_id == campaign_id:
            raise ConflictError(
                f"version {model.version} was released there already", field="version", mend="run another round"
            )
    change = msgspec.structs.replace(
        new or NewRelease(), allocation="fixed", shares=dict(zip(live, shares_of(scores), strict=True))
    )
    release = await start_release(store, campaign_id, change, actor=actor)
    await store.federated.released(task, model.version, release.id)
    return release
