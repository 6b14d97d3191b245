"""A whole turn: base, demonstrations, reward, optimisation, candidate. Each stage resumes and leaves a report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.core.door import from_json
from arauto.core.errors import InputError, ModelFileError
from arauto.core.files import write_whole
from arauto.core.spread import never
from arauto.gpo.checkpoints import read_notes
from arauto.gpo.encoders import sha256_of
from arauto.gpo.gate import GateReport, require_passed
from arauto.gpo.lm import Generator, open_base, supervise, tiny_generator
from arauto.gpo.monitors import Monitor, Reading, StopRule, Verdict, diversity
from arauto.gpo.objective import Gold, Objective, Rules, best_of, violates
from arauto.gpo.ppo import CHECKPOINT, PPO, PPOPlan
from arauto.gpo.progress import Progress, silent
from arauto.gpo.reward import RewardModel
from arauto.gpo.rollouts import Apart, write
from arauto.gpo.table import Floats, Table
from arauto.gpo.writer import CUT, LanguagePolicy

_SAMPLE_BATCH = 64


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn hands to the registry and to release: ``candidate.json`` beside its base and adapter.

    ``sha256`` is of the adapter, ``parent`` of the base's weights. ``simulated`` is always true here: no person
    has seen these texts yet.
    """

    format: int = 1
    sha256: str
    parent: str
    reward_sha256: str
    data_sha256: str
    plan: PPOPlan
    seed: int
    rollouts: int
    best_iteration: int
    verdict: Verdict | None
    readings: list[Reading]
    simulated: bool = True


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Optimised against base on the same contexts, all simulated. ``lift`` is of the mean rate, exp(score)."""

    texts: int
    judged_by: str
    lift: float
    lift_low: float
    lift_high: float
    best_of_n: int
    best_of_lift: float
    violations_base: float
    violations_policy: float
    perplexity_base: float
    perplexity_policy: float
    diversity_base: float
    diversity_policy: float
    simulated: bool = True


def make_base(
    table: Table,
    folder: Path,
    *,
    weights: Path | None,
    layers: int | None = None,
    epochs: int,
    seed: int,
    progress: Progress = silent,
) -> Generator:
    """A generator that writes as the table's people did: pretrained ``weights``, or a tiny model without; supervised.

    Done before, it is read back. Texts of each test are its demonstrations, under the test's context.
    """
    if (folder / "generator.json").exists():
        return Generator.load(folder)
    corpus = [*table.text, *table.context]
    made = tiny_generator(corpus, seed=seed) if weights is None else open_base(weights, corpus, layers=layers)
    pairs = sorted(set(zip(table.context, table.text, strict=True)))
    rate = 1e-3 if weights is None else 2e-4
    supervise(made, pairs, folder / "work", epochs=epochs, seed=seed, learning_rate=rate, progress=progress)
    made.save(folder)
    return made


def contexts_of(table: Table) -> list[str]:
    """The distinct contexts, sorted; one empty context when the table has none."""
    return sorted(set(table.context)) or [""]


def optimise(
    table: Table,
    reward: RewardModel,
    gate: GateReport,
    base: Generator,
    folder: Path,
    plan: PPOPlan,
    *,
    seed: int,
    rules: Rules | None = None,
    gold: Gold | None = None,
    audited: float = 0.05,
    stop: StopRule | None = None,
    progress: Progress = silent,
    ray: str = "",
    stopped: Callable[[], bool] = never,
) -> Candidate:
    """Stage three: PPO (or RLOO, GRPO) on the reward, watched. Refuses to run while the gate is shut. ``ray`` is the
    setting ``ray_address``: where the ``parts`` of a plan's batches are written.

    Raises:
        ConflictError: the reward model did not pass its gate.
        Stopped: ``stopped()`` was true; the same call goes on from the last checkpoint.
    """
    require_passed(gate)
    contexts = contexts_of(table)
    parent = _weights_hash(base)
    policy = LanguagePolicy(base, contexts, seed=seed)
    judge = Objective(reward, rules, gold=gold, audited=audited, seed=seed)
    writer = policy if plan.parts == 1 else Apart(policy, plan.parts, ray, stopped=stopped)
    run = PPO(writer, judge, len(contexts), plan, seed=seed, monitor=Monitor(stop), work=folder / "work")
    outcome = run.run(progress, stopped=stopped)
    policy.save_adapter(folder)
    candidate = Candidate(
        sha256=sha256_of(folder / "adapter.safetensors"),
        parent=parent,
        reward_sha256=reward.sha256(),
        data_sha256=table.digest(),
        plan=plan,
        seed=seed,
        rollouts=plan.batch * len(outcome.readings),
        best_iteration=outcome.best,
        verdict=outcome.verdict,
        readings=outcome.readings,
    )
    write_whole(folder / "candidate.json", msgspec.json.format(msgspec.json.encode(candidate), indent=1))
    return candidate


def read_candidate(folder: Path) -> Candidate:
    """Raises :class:`ModelFileError` when there is none, or its adapter is not the one it names."""
    path = folder / "candidate.json"
    if not path.is_file():
        raise ModelFileError(f"{folder} holds no candidate", field="model", mend="make one: arauto gpo optimise")
    try:
        candidate = from_json(path.read_bytes(), Candidate)
    except InputError as failure:
        raise ModelFileError(f"{path} is not a candidate: {failure}", field="model", mend="optimise anew") from None
    if sha256_of(folder / "adapter.safetensors") != candidate.sha256:
        raise ModelFileError("is not the one that its candidate names", field="adapter", mend="optimise anew")
    return candidate


def readings_of(folder: Path) -> list[Reading]:
    """What was seen of a run up to now: of its candidate, or of its last checkpoint while it is under way."""
    if (folder / "candidate.json").is_file():
        return read_candidate(folder).readings
    path = folder / "work" / CHECKPOINT
    if not path.is_file():
        return []
    return from_json(read_notes(path).get("readings", "[]").encode(), list[Reading])


def write_texts(policy: LanguagePolicy, contexts: Sequence[int], *, seed: int, ray: str = "") -> list[str]:
    """One text for each context number; :data:`CUT` marks one that did not end. ``ray`` as in :func:`optimise`; the
    texts are the same."""
    starts = range(0, len(contexts), _SAMPLE_BATCH)
    written = write(policy, [(contexts[at : at + _SAMPLE_BATCH], seed + at) for at in starts], ray)
    return [text for rollout in written for text in rollout.texts]


def compare(
    policy: LanguagePolicy, contexts: int, gold: Gold, *, name: str, n: int, seed: int, choose: Gold, best: int = 4,
    rules: Rules | None = None, ray: str = "",
) -> Comparison:  # fmt: skip
    """Write ``n`` texts with base and policy, judge them by ``gold``; ``choose`` picks the best of ``best``. ``ray`` is
    where the texts are written.

    The interval is a bootstrap over contexts, paired.
    """
    rules = rules or Rules()
    rng = np.random.default_rng([seed, 3])
    chosen = rng.integers(contexts, size=n).tolist()
    optimised = write_texts(policy, chosen, seed=seed, ray=ray)
    with policy.reference():
        many = write_texts(policy, [c for c in chosen for _ in range(best)], seed=seed, ray=ray)
    plain = many[::best]
    picked = [many[i] for i in best_of(choose(_bare(many)), best)]
    rates = {k: np.exp(gold(_bare(v))) for k, v in (("policy", optimised), ("base", plain), ("best", picked))}
    draws = rng.integers(n, size=(2000, n))
    lifts = rates["policy"][draws].mean(axis=1) / rates["base"][draws].mean(axis=1) - 1.0
    return Comparison(
        texts=n,
        judged_by=name,
        lift=float(rates["policy"].mean() / rates["base"].mean() - 1.0),
        lift_low=float(np.quantile(lifts, 0.025)),
        lift_high=float(np.quantile(lifts, 0.975)),
        best_of_n=best,
        best_of_lift=float(rates["best"].mean() / rates["base"].mean() - 1.0),
        violations_base=float(np.mean([violates(t, rules) for t in plain])),
        violations_policy=float(np.mean([violates(t, rules) for t in optimised])),
        perplexity_base=perplexity(policy, plain, chosen),
        perplexity_policy=perplexity(policy, optimised, chosen),
        diversity_base=diversity(_bare(plain)),
        diversity_policy=diversity(_bare(optimised)),
    )


def perplexity(policy: LanguagePolicy, texts: Sequence[str], contexts: Sequence[int]) -> float:
    """exp of the mean loss a token under the base: has the language collapsed?"""
    total, tokens = 0.0, 0.0
    for at in range(0, len(texts), _SAMPLE_BATCH):
        rollout = policy.rollout_of(_bare(texts[at : at + _SAMPLE_BATCH]), contexts[at : at + _SAMPLE_BATCH])
        logp = policy.read_reference(rollout)
        total -= float((logp * rollout.mask).sum())
        tokens += float(rollout.mask.sum())
    return float(np.exp(total / max(tokens, 1.0)))


def _bare(texts: Sequence[str]) -> list[str]:
    return [text.removesuffix(CUT) or " " for text in texts]


def _weights_hash(base: Generator) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(base.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Any) -> bytes:
    data: bytes = tensor.detach().contiguous().numpy().tobytes()
    return data


def scores_as_gold(model: RewardModel) -> Gold:
    """A reward model as the truth of a simulation."""

    def gold(texts: Sequence[str]) -> Floats:
        return model.score(texts).mean

    return gold


def write_contexts(folder: Path, contexts: Sequence[str]) -> None:
    """Keep what a candidate was optimised on, for sampling."""
    write_whole(folder / "contexts.json", msgspec.json.encode(list(contexts)))


def read_contexts(folder: Path) -> list[str]:
    """What :func:`write_contexts` kept.

    Raises:
        ModelFileError: the folder holds no candidate.
    """
    read_candidate(folder)
    try:
        return from_json((folder / "contexts.json").read_bytes(), list[str])
    except (OSError, InputError) as failure:
        raise ModelFileError(
            f"{folder}: contexts cannot be read: {failure}", field="model", mend="optimise anew"
        ) from None


def load_policy(folder: Path, contexts: Sequence[str]) -> LanguagePolicy:
    """A candidate, ready to write."""
    candidate = read_candidate(folder)
    policy = LanguagePolicy(Generator.load(folder / "base"), contexts, seed=candidate.seed)
    policy.load_adapter(folder)
    return policy
