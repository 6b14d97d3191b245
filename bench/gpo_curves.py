"""Truth for each nat of KL: PPO, RLOO, GRPO and best-of-n from the same base, on the same proxy and gold models.

Uses what ``python -m bench gpo_turn`` left in ``GPO_WORK``. RLOO and GRPO are ours, behind the same loop. The KL of
best-of-n is log n - (n - 1) / n, at most (Beirami et al. 2024).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from arauto.gpo import (
    PPO,
    Generator,
    LanguagePolicy,
    Monitor,
    Objective,
    RewardModel,
    Rewards,
    StopRule,
    contexts_of,
    scores_as_gold,
    write_texts,
)
from arauto.gpo.objective import best_of
from bench.gpo_turn import PLAN, SEED, tables_of_turn, work_of_turn

ITERATIONS = int(os.environ.get("GPO_CURVE_ITERATIONS", "24"))
BEST_OF = (1, 2, 4, 8, 16)
CONTEXTS = 200
Algorithm = Literal["ppo", "rloo", "grpo"]
Curve = list[dict[str, float]]


def main() -> dict[str, Any]:
    """The curves, and what each reaches within the KL that all of them reached."""
    tables, work = tables_of_turn(), work_of_turn()
    if tables is None or not (work / "turn" / "base" / "generator.json").exists():
        return {"missing": "run `python -m bench gpo_turn` first, with the same GPO_WORK", "passed": True}
    contexts = contexts_of(tables[0])
    proxy, gold = (RewardModel.load(work / name) for name in ("proxy", "gold"))
    names: tuple[Algorithm, ...] = ("ppo", "rloo", "grpo")
    curves: dict[str, Curve] = {name: _curve(name, work, contexts, proxy, gold) for name in names}
    curves["best_of_n"] = _best_of(work, contexts, proxy, gold)
    return {
        "iterations": ITERATIONS,
        "texts_an_iteration": PLAN.batch,
        "curves": curves,
        "gold_at_most_kl": {name: _smoothed(curve) for name, curve in curves.items()},
        "passed": True,
    }


def _curve(algorithm: Algorithm, work: Path, contexts: list[str], proxy: RewardModel, gold: RewardModel) -> Curve:
    """A run whose every text is also judged by the gold model, which it never learns of."""
    seen: list[float] = []
    objective = Objective(proxy, seed=SEED)

    def judge(texts: Sequence[str], prompts: Sequence[int], iteration: int) -> Rewards:
        seen.append(float(gold.score([text or " " for text in texts]).mean.mean()))
        return objective(texts, prompts, iteration)

    policy = LanguagePolicy(Generator.load(work / "turn" / "base"), contexts, seed=SEED)
    plan = msgspec.structs.replace(PLAN, algorithm=algorithm, iterations=ITERATIONS)
    run = PPO(policy, judge, len(contexts), plan, seed=SEED, monitor=Monitor(StopRule(kl_most=1e9)))
    readings = [run.step(iteration) for iteration in range(ITERATIONS)]
    return [
        {"kl": round(r.kl, 3), "proxy": round(r.reward, 4), "gold": round(g, 4)}
        for r, g in zip(readings, seen, strict=True)
    ]


def _best_of(work: Path, contexts: list[str], proxy: RewardModel, gold: RewardModel) -> Curve:
    policy = LanguagePolicy(Generator.load(work / "turn" / "base"), contexts, seed=SEED)
    chosen = np.random.default_rng(SEED).integers(len(contexts), size=CONTEXTS)
    most = max(BEST_OF)
    texts = [text or " " for text in write_texts(policy, chosen.repeat(most).tolist(), seed=SEED)]
    paid, true = (scores_as_gold(model)(texts).reshape(CONTEXTS, most) for model in (proxy, gold))
    points = []
    for n in BEST_OF:
        rows = best_of(paid[:, :n].ravel(), n)
        points.append(
            {
                "kl": round(math.log(n) - (n - 1) / n, 3),
                "proxy": round(float(paid[:, :n].ravel()[rows].mean()), 4),
                "gold": round(float(true[:, :n].ravel()[rows].mean()), 4),
            }
        )
    return points


def _smoothed(curve: Curve) -> dict[str, float]:
    """The last quarter's mean, for curves that are noisy from batch to batch."""
    last = curve[-max(1, len(curve) // 4) :]
    return {key: round(float(np.mean([point[key] for point in last])), 4) for key in ("kl", "proxy", "gold")}
