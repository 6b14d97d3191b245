"""A turn of GPO in the background: reward model, gate, optimisation, samples before and after, a candidate on file."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from arauto.core.door import from_data, from_json
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.files import write_whole
from arauto.core.settings import Settings
from arauto.core.spread import Stopped
from arauto.core.tasks import end
from arauto.gpo import (
    CUT,
    Candidate,
    Comparison,
    GateReport,
    LanguagePolicy,
    PPOPlan,
    Reading,
    RewardModel,
    Table,
    Tfidf,
    check_plan,
    compare,
    contexts_of,
    evaluate_reward,
    load_policy,
    make_base,
    optimise,
    read_table,
    readings_of,
    require_passed,
    scores_as_gold,
    train_reward,
    write_contexts,
    write_texts,
)
from arauto.store import JobContext, Store

TURN_JOB = "gpo_turn"
OWN = "own"
"""The data that the campaigns themselves brought in."""
SAMPLES = 12
COMPARED = 64
PARTS = 8
TOLD_S = 1.0
_DATA = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.(parquet|csv|jsonl)\Z")
_STAGES = ("data", "reward", "gate", "base", "optimise", "compare")


class NewTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: ``data`` is :data:`OWN` or the name of a file of the folder ``feedback``."""

    data: str = OWN
    iterations: Annotated[int, Meta(ge=2, le=256)] = 16
    batch: Annotated[int, Meta(ge=8, le=512, multiple_of=4)] = 64
    epochs: Annotated[int, Meta(ge=1, le=200)] = 30
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0
    parts: Annotated[int, Meta(ge=1, le=512)] = 1
    """Parts that a batch is written in: :data:`PARTS` where there is a Ray to write them on."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A text before and after optimisation, about the same thing, with what the second reward model makes of each."""

    context: str
    before: str
    after: str
    worth_before: float
    worth_after: float


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as far as it went. ``readings`` grow while it runs; all is simulated: no person has seen these texts."""

    run: str
    asked: NewTurn
    stage: str
    gate: GateReport | None = None
    readings: list[Reading] = []
    candidate: Candidate | None = None
    comparison: Comparison | None = None
    samples: list[Sample] = []


def can_train() -> bool:
    """Whether the packages of training are installed here."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers", "polars", "safetensors"))


def feedback_files(settings: Settings) -> list[str]:
    """The tables that lie in the folder ``feedback`` of the home, by name."""
    folder = settings.home / "feedback"
    return sorted(path.name for path in folder.iterdir() if _DATA.match(path.name)) if folder.is_dir() else []


async def turn_later(store: Store, settings: Settings, campaign_id: int, new: NewTurn, *, actor: str) -> int:
    """Begin a turn in the background. Returns the job's id.

    Raises:
        NotFoundError: there is no such campaign or file.
        InputError: the plan cannot be used.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    checked = from_data(msgspec.to_builtins(new), NewTurn)
    if settings.ray_address:
        checked = msgspec.structs.replace(checked, parts=PARTS)
    check_plan(_plan(checked))
    if checked.data != OWN and checked.data not in feedback_files(settings):
        raise NotFoundError(f"there is no table {checked.data!r}", field="data", mend="put it into the folder feedback")
    job = await store.jobs.defer(
        TURN_JOB, {"campaign": campaign.id, "turn": msgspec.to_builtins(checked), "actor": actor}
    )
    await store.forms.keep(campaign.id, "gpo", {"job": str(job)})
    return job


def read_turns(settings: Settings, campaign_id: int) -> list[Turn]:
    """The turns of a campaign, the newest first."""
    folder = settings.home / "gpo" / str(campaign_id)
    runs = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return [_read(path) for path in sorted(runs, key=lambda path: -int(path.name)) if (path / "turn.json").is_file()]


def _read(folder: Path) -> Turn:
    turn = from_json((folder / "turn.json").read_bytes(), Turn)
    return turn if turn.readings else msgspec.structs.replace(turn, readings=readings_of(folder / "candidate"))


async def run_turn_job(store: Store, settings: Settings, context: JobContext, args: dict[str, Any]) -> None:
    """The job. Interrupted, it goes on where it stopped: each stage keeps what it made."""
    asked = from_data(args["turn"], NewTurn)
    folder = settings.home / "gpo" / str(args["campaign"]) / str(context.id)
    table = await _table(store, settings, asked)
    now: dict[str, Any] = {"at": 0.0, "note": _STAGES[0]}
    ticker, stop = asyncio.create_task(_tell(context, now)), threading.Event()
    try:
        turn = await asyncio.to_thread(_turn, table, asked, folder, now, settings.ray_address, stop)
    finally:
        stop.set()  # cancelled, or the worker ends: a thread hears of it from nobody else
        await end(ticker)
    await context.progress(1000, 1000)
    if turn.candidate is not None:
        made = turn.candidate
        window = {"data_sha256": made.data_sha256, "reward_sha256": made.reward_sha256}
        last = made.readings[made.best_iteration]
        metrics = {"reward": last.reward, "kl": last.kl, "rollouts": made.rollouts, "simulated": True}
        await store.catalogue.add_model("gpo-ppo", made.sha256, data_window=window, metrics=metrics)
    await store.catalogue.audit(args["actor"], "gpo.turn", f"campaign:{args['campaign']}", {"job": context.id})


async def _tell(context: JobContext, now: dict[str, Any]) -> None:
    while True:
        await context.progress(min(999, round(1000 * now["at"])), 1000, now["note"])
        await asyncio.sleep(TOLD_S)


async def _table(store: Store, settings: Settings, asked: NewTurn) -> Table:
    if asked.data != OWN:
        return await asyncio.to_thread(read_table, settings.home / "feedback" / asked.data)
    rows = []
    for campaign in await store.catalogue.campaigns():
        seen: dict[int, list[int]] = {}
        for total in await store.rollups.totals(campaign.id):
            counts = seen.setdefault(total.variant_id, [0, 0])
            counts[0] += total.impressions
            counts[1] += min(total.clicks, total.impressions)
        arms = [
            (one.copy.title, *seen[one.id]) for one in await store.catalogue.variants(campaign.id) if one.id in seen
        ]
        if len(arms) > 1:
            rows += [(campaign.slug, text, shown, clicks, campaign.name) for text, shown, clicks in arms]
    if not rows:
        raise ConflictError(
            "no campaign has shown two texts yet", field="data", mend="let campaigns run, or put a table into feedback"
        )
    polars = importlib.import_module("polars")
    frame = polars.DataFrame(rows, schema=["test_id", "text", "impressions", "clicks", "context"], orient="row")
    from arauto.gpo import table_of

    return table_of(frame)


def _turn(table: Table, asked: NewTurn, folder: Path, now: dict[str, Any], ray: str, stop: threading.Event) -> Turn:
    """Every stage; ``turn.json`` after each says how far it is."""
    turn = Turn(run=folder.name, asked=asked, stage="reward")

    def go_on(*_: Any) -> None:
        if stop.is_set():
            raise Stopped

    def keep(stage: str, **values: Any) -> Turn:
        go_on()
        made = msgspec.structs.replace(turn, stage=stage, **values)
        write_whole(folder / "turn.json", msgspec.json.encode(made))
        now["note"], now["at"] = stage, _STAGES.index(stage) / len(_STAGES) if stage in _STAGES else 1.0
        return made

    folder.mkdir(parents=True, exist_ok=True)
    turn = keep("reward")
    learnt, other = table.split(0.6, asked.seed)
    reward = train_reward(learnt, [Tfidf.fit(learnt.text)], seed=asked.seed, work=folder / "reward", progress=go_on)
    gold = train_reward(other, [Tfidf.fit(other.text)], seed=asked.seed + 1, work=folder / "gold", progress=go_on)
    turn = keep("gate")
    gate = evaluate_reward(reward, other)
    turn = keep("base" if gate.passed else "shut", gate=gate)
    require_passed(gate)
    base = make_base(
        table, folder / "candidate" / "base", weights=None, epochs=asked.epochs, seed=asked.seed, progress=go_on
    )
    turn = keep("optimise")
    candidate = optimise(
        table, reward, gate, base, folder / "candidate", _plan(asked), seed=asked.seed, gold=scores_as_gold(gold),
        progress=_share(now), ray=ray, stopped=stop.is_set,
    )  # fmt: skip
    turn = keep("compare", candidate=candidate, readings=candidate.readings)
    contexts = contexts_of(table)
    write_contexts(folder / "candidate", contexts)
    policy = load_policy(folder / "candidate", contexts)
    judge = scores_as_gold(gold)
    comparison = compare(
        policy, len(contexts), judge, name=gold.sha256(), n=COMPARED, seed=asked.seed + 1, choose=judge, ray=ray
    )
    return keep("done", comparison=comparison, samples=_samples(policy, contexts, gold, asked.seed))


def _share(now: dict[str, Any]) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, note: str) -> None:
        at = _STAGES.index("optimise")
        now["at"], now["note"] = (at + done / max(total, 1)) / len(_STAGES), f"optimise: {note}"

    return progress


def _samples(policy: LanguagePolicy, contexts: list[str], gold: RewardModel, seed: int) -> list[Sample]:
    """The same contexts and seeds, before and after."""
    chosen = [number % len(contexts) for number in range(SAMPLES)]
    after = [text.removesuffix(CUT) for text in write_texts(policy, chosen, seed=seed + 2)]
    with policy.reference():
        before = [text.removesuffix(CUT) for text in write_texts(policy, chosen, seed=seed + 2)]
    worth = gold.score([text or " " for text in (*before, *after)]).mean.tolist()
    half = len(before)
    return [
        Sample(
            context=contexts[number],
            before=before[place],
            after=after[place],
            worth_before=worth[place],
            worth_after=worth[half + place],
        )
        for place, number in enumerate(chosen)
    ]


def _plan(asked: NewTurn) -> PPOPlan:
    if asked.batch % 4:
        raise InputError("is no multiple of 4", field="batch", mend="give 8, 16, 32 …")
    return PPOPlan(iterations=asked.iterations, batch=asked.batch, parts=asked.parts, keep_every=1)
