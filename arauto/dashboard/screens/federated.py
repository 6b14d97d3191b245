"""Federated rounds: who took part, who dropped out, how far the model moved, what privacy was spent."""

from __future__ import annotations

from typing import Any

from arauto.core.errors import InputError
from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.loop import FederatedRound, FederatedTask, federated_tasks


async def values(view: View) -> dict[str, Any]:
    """Tasks with their budgets, then the last rounds; ``missing`` says what has to be installed first."""
    try:
        tasks = await federated_tasks(view.runtime.store)
    except InputError as error:
        return {"tasks": (), "rounds": (), "missing": error.mend}
    return {"tasks": tasks, "rounds": rounds_of(tasks), "missing": ""}


def rounds_of(tasks: tuple[FederatedTask, ...]) -> list[FederatedRound]:
    """The rounds of all tasks, the last first."""
    return sorted((one for task in tasks for one in task.rounds), key=lambda one: (one.opened_ms, one.id), reverse=True)


async def table(view: View) -> File:
    """The last rounds as a table."""
    head = ("round", "task", "phase", "clients", "lost", "live", "update_norm", "epsilon", "version", "reason")
    rounds = rounds_of(await federated_tasks(view.runtime.store))
    lines = [
        [
            *(one.id, one.task, one.phase, one.clients, sum(one.lost.values())),
            *(one.live, one.update_norm, one.epsilon, one.version, one.reason),
        ]
        for one in rounds
    ]
    return csv_file("rounds.csv", head, lines)


SCREEN = Screen(name="federated", path=f"{OWN}/federated", values=values, every=5.0, files={"rounds.csv": table})
