"""The release machine: looks at the evidence after commits, and moves at once when it allows or demands it.

Many processes may look at the same time; the store lets one of them make each move (:mod:`arauto.store.rollouts`). A
process that dies anywhere leaves either no move or a whole one behind, and the next look, by whoever, goes on there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from arauto.core.campaign import Allocation, Campaign, Copy
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.i18n import LANGUAGES
from arauto.experiments import (
    Guardrail,
    Move,
    Reading,
    ReleasePlan,
    ReleaseState,
    apply_move,
    check_plan,
    explain_move,
    first_move,
    manual_move,
    next_move,
    read_guardrails,
    share_of,
    state_after,
)
from arauto.loop.campaigns import add_copies
from arauto.loop.evidence import Ledger, check_rail, default_rails
from arauto.loop.policy import Ramp, changed_plan
from arauto.store import Rollout, Store

ReleaseAction = Literal["hold", "resume", "rollback"]
_TRIES = 5


class NewRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change to release: texts (``variants`` of the campaign that are not live, by name, or new ``copies``), another
    way to deal the traffic out (``allocation``, ``floor``, ``shares``), or both.

    Without ``guardrails`` it gets those of :func:`~arauto.loop.evidence.default_rails`. The rest is as in
    :class:`~arauto.experiments.ReleasePlan`.
    """

    variants: Annotated[tuple[Annotated[str, Meta(max_length=16)], ...], Meta(max_length=200)] = ()
    copies: Annotated[tuple[Copy, ...], Meta(max_length=50)] = ()
    allocation: Allocation | None = None
    floor: Annotated[float, Meta(ge=0.0001, le=0.2)] | None = None
    shares: Annotated[dict[str, Annotated[float, Meta(gt=0, le=1)]], Meta(max_length=200)] | None = None
    guardrails: Annotated[tuple[Guardrail, ...], Meta(max_length=32)] = ()
    steps: Annotated[tuple[float, ...], Meta(min_length=2, max_length=20)] = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
    alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    harm_budget: Annotated[float, Meta(gt=0, le=1)] = 0.05
    least_exposures: Annotated[int, Meta(ge=1)] = 100


class ReleaseMove(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the log, with its sentence in each language."""

    at_ms: int
    move: Move
    text: dict[str, str]


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A release as people see it. ``share`` of the traffic gets the change; ``text`` says where it stands and why.

    ``exposures`` and ``control_exposures`` count decisions that were seen. ``readings`` are the guardrails now, with
    always-valid 95 % intervals. ``sample_ratio_p`` is the always-valid p-value of the split.
    """

    id: int
    campaign_id: int
    simulated: bool
    status: str
    share: float
    variants: tuple[str, ...]
    change: Mapping[str, Any]
    plan: ReleasePlan
    exposures: int
    control_exposures: int
    sample_ratio_p: float
    readings: tuple[Reading, ...]
    text: dict[str, str]
    moves: tuple[ReleaseMove, ...]


async def start_release(store: Store, campaign_id: int, new: NewRelease, *, actor: str) -> Release:
    """Begin a release; every process serves by it as soon as it hears of it.

    Raises:
        InputError: nothing is changed, or something cannot be used.
        NotFoundError: there is no such campaign or variant.
        ConflictError: as in :meth:`arauto.store.Rollouts.start`.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    change = {
        name: value
        for name in ("allocation", "floor", "shares")
        if (value := getattr(new, name)) is not None and value != getattr(campaign.plan, name)
    }
    if not (change or new.variants or new.copies):
        raise InputError(
            "changes nothing", field="$", mend="name variants that are not live, give copies, or another allocation"
        )
    changed_plan(campaign.plan, change)
    if ramp_of(await store.rollouts.latest(campaign_id)) is not None:
        # The store sees to it; but then new texts would have been added already.
        raise ConflictError(
            "a release of this campaign is on its way", field="campaign", mend="finish it or roll it back"
        )
    plan = await _plan(store, campaign, new)
    candidates = await _candidates(store, campaign, new, actor)
    first = first_move(plan, actor)
    rollout = await store.rollouts.start(
        campaign_id, candidates, change, msgspec.to_builtins(plan), msgspec.to_builtins(first), plan.steps[0], actor
    )
    return await show_release(store, rollout)


async def _plan(store: Store, campaign: Campaign, new: NewRelease) -> ReleasePlan:
    rails = tuple(check_rail(rail) for rail in new.guardrails)
    if not rails:
        measured = {row.metric for row in await store.rollups.vitals(campaign.id)}
        rails = default_rails(campaign.plan.goal, measured.__contains__)
    return check_plan(
        ReleasePlan(
            guardrails=rails,
            steps=new.steps,
            alpha=new.alpha,
            harm_budget=new.harm_budget,
            least_exposures=new.least_exposures,
        )
    )


async def _candidates(store: Store, campaign: Campaign, new: NewRelease, actor: str) -> list[int]:
    """The ids of the variants that the change brings; new texts are staged, and shown by nothing yet."""
    added = await add_copies(store, campaign, new.copies, actor=actor, state="staged") if new.copies else []
    known = {variant.name: variant for variant in await store.catalogue.variants(campaign.id)}
    if missing := [name for name in new.variants if name not in known]:
        raise NotFoundError(f"has no variant {missing[0]!r}", field="variants", mend=f"there are {', '.join(known)}")
    same = [variant.id for variant in known.values() if variant.copy in new.copies]
    return sorted({*(known[name].id for name in new.variants), *(variant.id for variant in added), *same})


def plan_of(rollout: Rollout) -> ReleasePlan:
    """The plan that a release was begun with."""
    return msgspec.convert(rollout.plan, ReleasePlan)


def moves_of(rollout: Rollout) -> list[Move]:
    """Its moves, in order."""
    return [msgspec.convert(line.detail, Move) for line in rollout.moves]


def ramp_of(rollout: Rollout | None) -> Ramp | None:
    """How a release is to be served now; None when there is none on its way."""
    if rollout is None or rollout.moves[-1].status not in ("running", "held"):
        return None
    last = rollout.moves[-1]
    return Ramp(
        stage=2 * last.id,
        share=last.share,
        release=rollout.id,
        candidates=rollout.candidates,
        change=rollout.change,
    )


async def look(store: Store, rollout: Rollout) -> bool:
    """Read the guardrails once, and make the move that they call for. Whether there was one to make.

    When another process made a move meanwhile, that one stands and this changes nothing.
    """
    plan, state = plan_of(rollout), state_after(moves_of(rollout))
    if state.status in ("rolled_back", "done"):
        return False
    staged = await store.rollups.staged(rollout.campaign_id, 2 * rollout.moves[0].id)
    move = await asyncio.to_thread(_weigh, plan, state, _ledger(rollout, staged))
    if move.action == "stay":
        return False
    await _make(store, rollout, state, move)
    return True


def _weigh(plan: ReleasePlan, state: ReleaseState, ledger: Ledger) -> Move:
    """The next move; its readings have intervals when it is one to be written down."""
    measured = {rail.name: ledger.measure(rail) for rail in plan.guardrails}
    exposures = ledger.exposures()
    move = next_move(plan, state, read_guardrails(plan, state, measured, bounds=False), exposures)
    if move.action == "stay":
        return move
    return msgspec.structs.replace(move, readings=read_guardrails(plan, state, measured))


def _ledger(rollout: Rollout, staged: Any) -> Ledger:
    return Ledger({line.id: line.share for line in rollout.moves if 0.0 < line.share < 1.0}, staged)


async def _make(store: Store, rollout: Rollout, state: ReleaseState, move: Move) -> bool:
    after = apply_move(state, move)
    return await store.rollouts.move(
        rollout,
        after.version,
        move.action,
        after.status,
        share_of(plan_of(rollout), after),
        msgspec.to_builtins(move),
        move.actor,
    )


async def steer_release(store: Store, release_id: int, action: ReleaseAction, *, actor: str) -> Release:
    """Hold, resume or roll back a release by hand. A finished one may be rolled back, too, while it is the last one.

    Raises:
        NotFoundError: there is no such release.
        ConflictError: its state does not allow it.
    """
    for _ in range(_TRIES):
        rollout = await store.rollouts.get(release_id)
        state = state_after(moves_of(rollout))
        move = manual_move(plan_of(rollout), state, action, actor)
        if await _make(store, rollout, state, move):
            return await read_release(store, release_id)
    raise ConflictError("the release keeps moving", field="release", mend="try again")


async def latest_release(store: Store, campaign_id: int) -> Release:
    """A campaign's last release, over or not.

    Raises:
        NotFoundError: there is no such campaign, or it has had none.
    """
    await store.catalogue.campaign(campaign_id)
    rollout = await store.rollouts.latest(campaign_id)
    if rollout is None:
        raise NotFoundError("has had no release", field="campaign", mend="arauto release start")
    return await show_release(store, rollout)


async def list_releases(store: Store, campaign_id: int) -> list[Release]:
    """All releases of a campaign, oldest first. Raises :class:`NotFoundError`."""
    await store.catalogue.campaign(campaign_id)
    return [await show_release(store, rollout) for rollout in await store.rollouts.of_campaign(campaign_id)]


async def read_release(store: Store, release_id: int) -> Release:
    """Raises :class:`NotFoundError`."""
    return await show_release(store, await store.rollouts.get(release_id))


async def show_release(store: Store, rollout: Rollout) -> Release:
    """A release with its evidence as of now, also long after its end."""
    campaign = await store.catalogue.campaign(rollout.campaign_id)
    names = {variant.id: variant.name for variant in await store.catalogue.variants(campaign.id)}
    since = 2 * rollout.moves[0].id
    staged = await store.rollups.staged(campaign.id, since)
    plan, moves = plan_of(rollout), moves_of(rollout)
    state = state_after(moves)

    def read() -> tuple[tuple[Reading, ...], Move, Ledger]:
        ledger = _ledger(rollout, staged)
        readings = read_guardrails(plan, state, {rail.name: ledger.measure(rail) for rail in plan.guardrails})
        return readings, next_move(plan, state, readings, ledger.exposures()), ledger

    readings, coming, ledger = await asyncio.to_thread(read)
    # What is to come says why it waits; what is over, or about to move, is told by the last move made.
    told = coming if coming.action == "stay" and coming.cause != "over" else moves[-1]
    control, change = (int(side) for side in ledger.visitors.sum(axis=0))
    return Release(
        id=rollout.id,
        campaign_id=campaign.id,
        simulated=campaign.plan.simulated,
        status=state.status,
        share=share_of(plan, state),
        variants=tuple(names[number] for number in rollout.candidates),
        change=rollout.change,
        plan=plan,
        exposures=change,
        control_exposures=control,
        sample_ratio_p=ledger.mismatch(),
        readings=readings,
        text={language: explain_move(told, language) for language in LANGUAGES},
        moves=tuple(
            ReleaseMove(
                at_ms=line.at_ms,
                move=move,
                text={language: explain_move(move, language) for language in LANGUAGES},
            )
            for line, move in zip(rollout.moves, moves, strict=True)
        ),
    )
