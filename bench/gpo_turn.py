"""A whole turn on the archive, on one machine: two reward models of disjoint tests, a base, PPO, and what came of it.

The proxy learns from one half of `train`'s tests, the gold model from the other; no text stands in both. The base is a
model of a few million parameters, trained on the headlines themselves. Everything is simulated: no person saw a text.
Goes on where it stopped; ``GPO_WORK`` names the folder.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.gpo import (
    FineTune,
    LanguagePolicy,
    PPOPlan,
    RewardModel,
    SentenceEncoder,
    Table,
    compare,
    contexts_of,
    evaluate_reward,
    load_policy,
    make_base,
    optimise,
    read_candidate,
    read_table,
    scores_as_gold,
    train_reward,
    weights_folder,
    write_contexts,
    write_texts,
)
from bench.experiments_common import data_path

SEED = 0
REWARD_EPOCHS = int(os.environ.get("GPO_REWARD_EPOCHS", "2"))
"""Of fine-tuning; 0: heads on the frozen encoder."""
BASE_EPOCHS = int(os.environ.get("GPO_BASE_EPOCHS", "5"))
PLAN = PPOPlan(
    iterations=32, batch=128, group=4, minibatch=32, epochs=2, learning_rate=5e-4, kl_start=0.01, kl_target=12.0
)
SAMPLES = Path(__file__).parent / "results" / "gpo_samples.txt"


def main() -> dict[str, Any]:
    """The figures, and whether the promises were kept."""
    train, dev = data_path("upworthy", "train.parquet"), data_path("upworthy", "dev.parquet")
    if train is None or dev is None:
        return {"missing": "upworthy: set ARAUTO_DATA_DIR", "passed": True}
    work = Path(os.environ.get("GPO_WORK", ".arauto/gpo-turn"))
    seconds: dict[str, float] = {}
    whole, held = read_table(train), read_table(dev)
    halves = dict(zip(("proxy", "gold"), whole.split(0.5, SEED), strict=True))
    models = {name: _reward(name, half, work, seconds) for name, half in halves.items()}
    gates = {name: evaluate_reward(model, held) for name, model in models.items()}
    started = time.process_time()
    base = make_base(whole, work / "turn" / "base", weights=None, epochs=BASE_EPOCHS, seed=SEED)
    seconds["base"] = time.process_time() - started
    started = time.process_time()
    gold = scores_as_gold(models["gold"])
    candidate = optimise(whole, models["proxy"], gates["proxy"], base, work / "turn", PLAN, seed=SEED, gold=gold)
    seconds["optimise"] = time.process_time() - started
    contexts = contexts_of(held)
    write_contexts(work / "turn", contexts)
    policy = load_policy(work / "turn", contexts)
    found = compare(policy, len(contexts), gold, name="gold", n=400, seed=7, choose=scores_as_gold(models["proxy"]))
    _samples(policy, len(contexts))
    return {
        "reward_epochs": REWARD_EPOCHS,
        "base_epochs": BASE_EPOCHS,
        "gates": {name: msgspec.to_builtins(gate.whole) for name, gate in gates.items()},
        "cpu_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "rollouts": candidate.rollouts,
        "verdict": msgspec.to_builtins(candidate.verdict),
        "best_iteration": candidate.best_iteration,
        "readings": [
            {k: round(v, 4) for k, v in msgspec.to_builtins(r).items() if k != "audits"} for r in candidate.readings
        ],
        "comparison": msgspec.to_builtins(found),
        "adapter": read_candidate(work / "turn").sha256,
        "passed": found.lift >= 0.067 and found.lift_low > 0.0 and found.lift >= found.best_of_lift
        and found.violations_policy <= found.violations_base,
    }  # fmt: skip


def _reward(name: str, table: Table, work: Path, seconds: dict[str, float]) -> RewardModel:
    folder = work / name
    if not (folder / "reward.json").exists():
        started = time.process_time()
        encoder = SentenceEncoder(weights_folder("all-minilm-l6-v2", Path(os.environ.get("ARAUTO_HOME", ".arauto"))))
        plan = FineTune(epochs=REWARD_EPOCHS) if REWARD_EPOCHS else None
        train_reward(table, [encoder], seed=SEED, work=folder / "work", plan=plan).save(folder)
        seconds[name] = time.process_time() - started
    return RewardModel.load(folder)


def _samples(policy: LanguagePolicy, contexts: int) -> None:
    """Forty texts of each side, for reading."""
    chosen = np.random.default_rng(5).integers(contexts, size=40).tolist()
    after = write_texts(policy, chosen, seed=5)
    with policy.reference():
        before = write_texts(policy, chosen, seed=5)
    parts = ["Simulated: no person saw these texts.", "", "BASE", *before, "", "OPTIMISED", *after, ""]
    SAMPLES.write_text("\n".join(parts), "utf-8")
