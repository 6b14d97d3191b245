"""Federated rounds: who took part, who dropped out, how far the model moved, what privacy was spent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.store import FederatedModel, RoundTally, TaskRow

PHASES = ("join", "shares", "masked", "unmask")


async def values(view: View) -> dict[str, Any]:
    """Tasks with their budgets, then the last rounds."""
    rows = view.runtime.store.federated
    tasks = await rows.tasks()
    return {
        "tasks": [
            {"task": task, "spent": spent(task), "moves": norms(await rows.versions(task.name))} for task in tasks
        ],
        "rounds": [{"round": one, "joined": _at(one, 0), "dropped": dropped(one)} for one in await rows.tally()],
    }


def spent(task: TaskRow) -> float:
    """ε at the task's δ of the ρ paid so far, by the conversion of the federated room where that is installed; else by
    ε = ρ + 2 √(ρ ln 1/δ) (Bun & Steinke 2016, proposition 1.3), which is never less."""
    try:
        from arauto.federated import epsilon_of
    except ImportError:
        return task.rho + 2.0 * math.sqrt(task.rho * math.log(1.0 / task.delta))
    return epsilon_of(task.rho, task.delta)


def norms(models: list[FederatedModel]) -> list[tuple[int, float]]:
    """Of each model the Euclidean length of its step from the one before."""
    weights = [np.frombuffer(model.weights, dtype="<f4").astype(np.float64) for model in models]
    return [
        (models[place].version, float(np.linalg.norm(weights[place] - weights[place - 1])))
        for place in range(1, len(models))
        if weights[place].size == weights[place - 1].size
    ]


def dropped(one: RoundTally) -> int | None:
    """How many joined and sent no update; None before updates were asked for."""
    if one.phase in ("join", "shares") or "masked" not in one.messages:
        return None
    return max(0, _at(one, 0) - one.messages["masked"])


def _at(one: RoundTally, place: int) -> int:
    return one.messages.get(PHASES[place], 0)


async def table(view: View) -> File:
    """The last rounds as a table."""
    head = ("round", "task", "phase", "joined", "shares", "masked", "unmask", "rho", "charged", "reason", "deadline_ms")
    lines = [
        [
            one.id,
            one.task,
            one.phase,
            *(_at(one, place) for place in range(4)),
            one.rho,
            one.charged,
            one.reason,
            one.deadline_ms,
        ]
        for one in await view.runtime.store.federated.tally()
    ]
    return csv_file("rounds.csv", head, lines)


SCREEN = Screen(name="federated", path=f"{OWN}/federated", values=values, every=5.0, files={"rounds.csv": table})
