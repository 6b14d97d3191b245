"""The release of a change, step by step, as a pure state machine.

A state and what was measured give the next move; a state and a move give the next state. Nothing here knows the time or
a disk, so the same evidence always gives the same move, and a release is the fold of its audit log: a crash between
deciding and writing costs one look, never a step (:func:`apply_move` refuses to count a move twice).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from arauto.core.brief import Language
from arauto.core.errors import ConflictError, InputError
from arauto.core.i18n import catalogue, number, percent, say
from arauto.experiments.guardrails import Guardrail, Measured, Reading, read_guardrail

Status = Literal["running", "held", "rolled_back", "done"]
Action = Literal["start", "stay", "check", "advance", "finish", "hold", "resume", "rollback"]
Cause = Literal["cleared", "breached", "few", "unsure", "held", "over", "asked", "passed"]


class ReleasePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a release goes.

    A step is taken when every guardrail has excluded, at confidence 1 − ``alpha``, a loss so great that the next share
    of traffic would lose more than ``harm_budget`` of the whole (a loss of 20 % at 25 % of traffic is 5 %), or than its
    own margin where that is greater. The release is rolled back when the guardrails' joint evidence of harm passes
    1/``alpha``: a harmless one is with probability ≤ ``alpha``, however long and however often one looks.
    """

    guardrails: Annotated[tuple[Guardrail, ...], Meta(min_length=1, max_length=32)]
    steps: Annotated[tuple[float, ...], Meta(min_length=2, max_length=20)] = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
    alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    harm_budget: Annotated[float, Meta(gt=0, le=1)] = 0.05
    least_exposures: Annotated[int, Meta(ge=1)] = 100
    """Exposures of the change before the first step up."""


class ReleaseState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a release stands. ``version`` counts its moves; ``checked`` names guardrails that had their early look."""

    status: Status = "running"
    step: int = 0
    version: int = 0
    checked: tuple[str, ...] = ()


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What to do and why: a line of the audit log. ``version`` is the state's afterwards; a ``stay`` is not logged."""

    action: Action
    cause: Cause
    version: int
    from_share: float
    to_share: float
    exposures: int = 0
    guardrail: str = ""
    """The one that decided: breached, or the least sure."""
    threshold: float | None = None
    """The log e-value that had to be reached; at an early look the −logarithm of the p-value."""
    readings: tuple[Reading, ...] = ()
    actor: str = "arauto"


def check_plan(plan: ReleasePlan) -> ReleasePlan:
    """The rules that types cannot state: the steps rise, end at 1, and guardrails have different names."""
    steps = plan.steps
    if any(not 0.0 < share <= 1.0 for share in steps) or any(b <= a for a, b in pairwise(steps)):
        raise InputError(f"are {steps}", field="steps", mend="give rising shares above 0, such as 0.01, 0.1, 0.5, 1")
    if steps[-1] != 1.0:
        raise InputError(f"end at {steps[-1]}", field="steps", mend="end at 1, all traffic")
    names = [rail.name for rail in plan.guardrails]
    if len(set(names)) < len(names):
        raise InputError("has a name twice", field="guardrails", mend="give each guardrail a name of its own")
    return plan


def first_move(plan: ReleasePlan, actor: str) -> Move:
    """The line with which a log begins: the change gets the first step's share."""
    return Move(action="start", cause="asked", version=0, from_share=0.0, to_share=plan.steps[0], actor=actor)


def share_of(plan: ReleasePlan, state: ReleaseState) -> float:
    """The share of traffic that gets the change now."""
    return 0.0 if state.status == "rolled_back" else plan.steps[state.step]


def read_guardrails(
    plan: ReleasePlan, state: ReleaseState, measured: Mapping[str, Measured], *, bounds: bool = True
) -> tuple[Reading, ...]:
    """Read every guardrail of the plan, with the tolerance that the state's next step allows.

    ``bounds=False`` leaves out the intervals, which are for the eye: look often without, and once with when it moves.
    """
    missing = [rail.name for rail in plan.guardrails if rail.name not in measured]
    if missing:
        raise InputError("is missing", field=missing[0], mend="measure every guardrail of the plan")
    following = plan.steps[min(state.step + 1, len(plan.steps) - 1)]
    return tuple(
        read_guardrail(
            rail,
            measured[rail.name],
            max(rail.margin, plan.harm_budget / following),
            bounds=bounds,
            early=rail.name not in state.checked,
        )
        for rail in plan.guardrails
    )


def next_move(plan: ReleasePlan, state: ReleaseState, readings: Sequence[Reading], exposures: int) -> Move:
    """The next move. ``exposures`` are those of the change since the release began."""
    if state.status in ("rolled_back", "done"):
        return _move(plan, state, "stay", "over", exposures, readings)
    harmful = math.log(len(plan.guardrails) / plan.alpha)
    worst = max(readings, key=lambda reading: reading.harm + math.log(reading.stake))
    limit = harmful - math.log(worst.stake)
    if worst.harm >= limit:
        return _move(plan, state, "rollback", "breached", exposures, readings, worst.name, limit)
    due = next((one for one in readings if one.early is not None and one.name not in state.checked), None)
    if due is not None and due.early is not None and due.stake < 1.0:
        # One look, at the first moment there is enough to see; it stands in the log, so that it stays the only one.
        limit = harmful - math.log1p(-due.stake)
        found = due.early <= math.exp(-limit)
        if found:
            return _move(plan, state, "rollback", "breached", exposures, readings, due.name, limit)
        return _move(plan, state, "check", "passed", exposures, readings, due.name, limit)
    if state.status == "held":
        return _move(plan, state, "stay", "held", exposures, readings)
    if exposures < plan.least_exposures:
        return _move(plan, state, "stay", "few", exposures, readings)
    safe = -math.log(plan.alpha)
    unsure = min(readings, key=lambda reading: reading.safety)
    if unsure.safety < safe:
        return _move(plan, state, "stay", "unsure", exposures, readings, unsure.name, safe)
    last = state.step + 1 >= len(plan.steps) - 1
    return _move(plan, state, "finish" if last else "advance", "cleared", exposures, readings, unsure.name, safe)


def manual_move(
    plan: ReleasePlan, state: ReleaseState, action: Literal["hold", "resume", "rollback"], actor: str
) -> Move:
    """A person's move. A finished release may still be rolled back.

    Raises:
        ConflictError: when the state does not allow it.
    """
    legal = {
        "hold": state.status == "running",
        "resume": state.status == "held",
        "rollback": state.status != "rolled_back",
    }
    if not legal[action]:
        raise ConflictError(f"the release is {state.status}", field="action", mend="look at its state first")
    return msgspec.structs.replace(_move(plan, state, action, "asked", 0, ()), actor=actor)


def apply_move(state: ReleaseState, move: Move) -> ReleaseState:
    """The state after a move. A move already counted changes nothing, however often it comes.

    Raises:
        ConflictError: when a move between the two is missing.
    """
    if move.version <= state.version:
        return state
    if move.version != state.version + 1:
        raise ConflictError(f"follows version {move.version - 1}, not {state.version}", field="move", mend="read again")
    status: Mapping[Action, Status] = {
        "check": state.status,
        "advance": "running",
        "finish": "done",
        "hold": "held",
        "resume": "running",
        "rollback": "rolled_back",
    }
    onward = move.action in ("advance", "finish")
    return ReleaseState(
        status=status[move.action],
        step=state.step + 1 if onward else state.step,
        version=move.version,
        checked=(*state.checked, move.guardrail) if move.action == "check" else state.checked,
    )


def state_after(moves: Iterable[Move]) -> ReleaseState:
    """The state that an audit log ends in."""
    state = ReleaseState()
    for move in moves:
        state = apply_move(state, move)
    return state


def explain_move(move: Move, language: Language) -> str:
    """The move in one sentence, with the numbers that decided it."""
    key = f"{move.action}_{move.cause}" if move.action in ("stay", "rollback") else move.action
    reading = next((one for one in move.readings if one.name == move.guardrail), None)
    bounds = (None, None, None) if reading is None else (reading.change, reading.low, reading.high)
    change, low, high = ("–" if value is None else percent(value, language, 1).replace("-", "−") for value in bounds)
    words = catalogue(language)
    return say(
        f"release.{key}",
        language,
        from_share=percent(move.from_share, language, 0),
        to_share=percent(move.to_share, language, 0),
        exposures=number(move.exposures, language),
        guardrail=words.get(f"dashboard.rail_{move.guardrail}", move.guardrail),
        actor=words.get(f"dashboard.who_{move.actor}", move.actor.removeprefix("user:")),
        change=change,
        low=low,
        high=high,
    )


def _move(
    plan: ReleasePlan,
    state: ReleaseState,
    action: Action,
    cause: Cause,
    exposures: int,
    readings: Sequence[Reading],
    guardrail: str = "",
    threshold: float | None = None,
) -> Move:
    here = share_of(plan, state)
    onward = {"advance": plan.steps[min(state.step + 1, len(plan.steps) - 1)], "finish": 1.0, "rollback": 0.0}
    return Move(
        action=action,
        cause=cause,
        version=state.version + (action != "stay"),
        from_share=here,
        to_share=onward.get(action, here),
        exposures=exposures,
        guardrail=guardrail,
        threshold=threshold,
        readings=tuple(readings),
    )
