"""A whole turn on the archive, on one machine: two reward models of disjoint tests, a base, PPO, and what came of it.

The proxy learns from one half of `train`'s tests, the gold model from the other; no text stands in both. The base is a
model of a few million parameters, trained on the headlines themselves. Everything is simulated: no person saw a text.
Goes on where it stopped; ``GPO_WORK`` names the folder. Two stages may run side by side::

    python -c "from bench.gpo_turn import stage; stage('gold')"
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.creative.words import guess_language
from arauto.gpo import (
    FineTune,
    Generator,
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
REWARD_EPOCHS = 2
BASE_EPOCHS = 5
PLAN = PPOPlan(
    iterations=32, batch=128, group=4, minibatch=32, epochs=2, learning_rate=2e-3, kl_start=0.03, kl_target=6.0
)
COMPARED = 600
SAMPLES = Path(__file__).parent / "results" / "gpo_samples.txt"


def main() -> dict[str, Any]:
    """The figures, and whether the promises were kept."""
    tables = tables_of_turn()
    if tables is None:
        return {"missing": "upworthy: set ARAUTO_DATA_DIR", "passed": True}
    whole, held = tables
    work = work_of_turn()
    for name in ("proxy", "gold", "base"):
        stage(name)
    proxy, gold = (RewardModel.load(work / name) for name in ("proxy", "gold"))
    gates = {name: evaluate_reward(model, held) for name, model in (("proxy", proxy), ("gold", gold))}
    truth = scores_as_gold(gold)
    base = Generator.load(work / "turn" / "base")
    with _timed("optimise"):
        candidate = optimise(
            whole, proxy, gates["proxy"], base, work / "turn", PLAN, seed=SEED, gold=truth, progress=_tell
        )
    contexts = contexts_of(held)
    write_contexts(work / "turn", contexts)
    policy = load_policy(work / "turn", contexts)
    found = compare(policy, len(contexts), truth, name="gold", n=COMPARED, seed=7, choose=scores_as_gold(proxy))
    language = _language(policy, len(contexts), whole)
    seconds = _seconds()
    return {
        "reward_epochs": REWARD_EPOCHS,
        "base_epochs": BASE_EPOCHS,
        "plan": msgspec.to_builtins(PLAN),
        "gates": {name: msgspec.to_builtins(gate.whole) for name, gate in gates.items()},
        "seconds": seconds,
        "cpu_minutes": round(sum(each["cpu"] for each in seconds.values()) / 60, 1),
        "rollouts": candidate.rollouts,
        "verdict": msgspec.to_builtins(candidate.verdict),
        "best_iteration": candidate.best_iteration,
        "readings": [
            {k: round(v, 4) for k, v in msgspec.to_builtins(r).items() if k != "audits"} for r in candidate.readings
        ],
        "comparison": msgspec.to_builtins(found),
        "language": language,
        "adapter": read_candidate(work / "turn").sha256,
        # CPU time of one thread a stage: what two cores need at most, whatever else the machine did meanwhile.
        "passed": found.lift >= 0.067 and found.lift_low > 0.0 and found.lift >= found.best_of_lift
        and found.violations_policy <= found.violations_base and candidate.rollouts >= 4000
        and sum(each["cpu"] for each in seconds.values()) <= 3600,
    }  # fmt: skip


def stage(name: str) -> None:
    """One of ``proxy``, ``gold``, ``base``, unless it is done: they need nothing of one another."""
    tables = tables_of_turn()
    if tables is None:
        return
    whole, folder = tables[0], work_of_turn() / name
    if name == "base":
        if not (work_of_turn() / "turn" / "base" / "generator.json").exists():
            with _timed(name):
                make_base(
                    whole, work_of_turn() / "turn" / "base", weights=None, epochs=BASE_EPOCHS, seed=SEED, progress=_tell
                )
    elif not (folder / "reward.json").exists():
        half = dict(zip(("proxy", "gold"), whole.split(0.5, SEED), strict=True))[name]
        home = Path(os.environ.get("ARAUTO_HOME", ".arauto"))
        encoder = SentenceEncoder(weights_folder("all-minilm-l6-v2", home))
        plan = FineTune(epochs=REWARD_EPOCHS)
        with _timed(name):
            train_reward(half, [encoder], seed=SEED, work=folder / "work", plan=plan, progress=_tell).save(folder)


def tables_of_turn() -> tuple[Table, Table] | None:
    train, dev = data_path("upworthy", "train.parquet"), data_path("upworthy", "dev.parquet")
    return None if train is None or dev is None else (read_table(train), read_table(dev))


def work_of_turn() -> Path:
    return Path(os.environ.get("GPO_WORK", ".arauto/gpo-turn"))


@contextmanager
def _timed(name: str) -> Iterator[None]:
    """Seconds of a stage, with what it took before it was cut short."""
    file = work_of_turn() / f"{name}.seconds.json"
    before = json.loads(file.read_text("utf-8")) if file.exists() else {"wall": 0.0, "cpu": 0.0}
    wall, cpu = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        took = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({k: round(v + before[k], 1) for k, v in took.items()}), "utf-8")


def _seconds() -> dict[str, dict[str, float]]:
    files = sorted(work_of_turn().glob("*.seconds.json"))
    return {file.name.partition(".")[0]: json.loads(file.read_text("utf-8")) for file in files}


def _tell(done: int, total: int, note: str) -> None:
    if done % 50 == 0 or done == total or note.startswith("reward "):
        print(f"{note} {done}/{total}", flush=True)


def _language(policy: LanguagePolicy, contexts: int, archive: Table) -> dict[str, dict[str, float]]:
    """Is it still English, in words that people wrote? And forty texts of each side, for reading."""
    chosen = np.random.default_rng(5).integers(contexts, size=400).tolist()
    after = write_texts(policy, chosen, seed=5)
    with policy.reference():
        before = write_texts(policy, chosen, seed=5)
    known = {word for text in archive.text for word in text.lower().split()}
    parts = ["Simulated: no person saw these texts.", "", "BASE", *before[:40], "", "OPTIMISED", *after[:40], ""]
    SAMPLES.write_text("\n".join(parts), "utf-8")

    def of(texts: list[str]) -> dict[str, float]:
        words = [word for text in texts for word in text.lower().split()]
        return {
            "english": float(np.mean([guess_language(text) == "en" for text in texts])),
            "known_words": float(np.mean([word in known for word in words])),
            "distinct_texts": len(set(texts)) / len(texts),
        }

    return {"base": of(before), "optimised": of(after), "archive": of(list(archive.text[:400]))}
