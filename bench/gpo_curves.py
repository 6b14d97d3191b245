"""Truth for each nat of KL: PPO, RLOO, GRPO and best-of-n from the same base, on the same proxy and gold models.

Uses what ``python -m bench gpo_turn`` left in ``GPO_WORK``. PPO, RLOO, GRPO and DPO are ours, behind one loop; RLOO and
GRPO also as TRL has them, in an environment of their own (bench/peers-gpo.txt). The KL of best-of-n is
log n - (n - 1) / n, at most (Beirami et al. 2024). Draws ``bench/results/gpo_curves.svg``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.gpo import (
    PPO,
    Algorithm,
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
from bench.experiments_common import peer
from bench.gpo_turn import PLAN, SEED, tables_of_turn, work_of_turn

ITERATIONS = int(os.environ.get("GPO_CURVE_ITERATIONS", "16"))
SVG = Path(__file__).parent / "results" / "gpo_curves.svg"
BEST_OF = (1, 2, 4, 8, 16)
CONTEXTS = 200
Curve = list[dict[str, float]]


def main() -> dict[str, Any]:
    """The curves, and what each reaches within the KL that all of them reached."""
    tables, work = tables_of_turn(), work_of_turn()
    if tables is None or not (work / "turn" / "base" / "generator.json").exists():
        return {"missing": "run `python -m bench gpo_turn` first, with the same GPO_WORK", "passed": True}
    contexts = contexts_of(tables[0])
    proxy, gold = (RewardModel.load(work / name) for name in ("proxy", "gold"))
    names: tuple[Algorithm, ...] = ("ppo", "rloo", "grpo", "dpo")
    with ThreadPoolExecutor(1) as beside:  # no figure here is a time
        asked = beside.submit(_trl, work, contexts)
        curves: dict[str, Curve] = {name: _curve(name, work, contexts, proxy, gold) for name in names}
        theirs = asked.result()
    curves |= {f"{name} of TRL": curve for name, curve in theirs.get("curves", {}).items()}
    runs = list(curves)
    curves["best of n"] = _best_of(work, contexts, proxy, gold)
    kl = min(max(point["kl"] for point in curves[name]) for name in runs)
    SVG.write_text(drawn(curves), "utf-8")
    return {
        "iterations": ITERATIONS,
        "texts_an_iteration": PLAN.batch,
        "curves": curves,
        "kl_that_all_reached": kl,
        "gold_there": {name: round(at_kl(curves[name], kl), 4) for name in runs},
        "trl": {key: value for key, value in theirs.items() if key != "curves"},
        "passed": "missing" not in theirs,
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


def _trl(work: Path, contexts: list[str]) -> dict[str, Any]:
    given = {name: getattr(PLAN, name) for name in ("batch", "group", "minibatch", "epochs", "learning_rate")}
    folders = {"base": work / "turn" / "base", "proxy": work / "proxy", "gold": work / "gold", "work": work / "trl"}
    given |= {name: str(folder.absolute()) for name, folder in folders.items()}
    given |= {"beta": PLAN.kl_start, "iterations": ITERATIONS, "seed": SEED, "contexts": contexts}
    return peer("peers_trl.py", ".venv-peers-gpo", {**given, "algorithms": ["rloo", "grpo"]})


def at_kl(curve: Curve, kl: float) -> float:
    """Truth at ``kl``: the curve's means of three neighbours, joined by lines."""
    rows = np.array([[point["kl"], point["gold"]] for point in curve])
    rows = np.array([rows[max(0, i - 1) : i + 2].mean(axis=0) for i in range(len(rows))])
    order = np.argsort(rows[:, 0], kind="stable")
    return float(np.interp(kl, rows[order, 0], rows[order, 1]))


def drawn(curves: dict[str, Curve]) -> str:
    """Gold score by √KL, as in Gao et al. 2023, one line a method."""
    width, height, left, top = 720, 420, 60, 20
    points = [point for curve in curves.values() for point in curve]
    most = math.sqrt(max(point["kl"] for point in points))
    low, high = min(point["gold"] for point in points), max(point["gold"] for point in points)

    def x(kl: float) -> float:
        return left + (width - left - 150) * math.sqrt(max(kl, 0.0)) / most

    def y(gold: float) -> float:
        return height - 50 - (height - 50 - top) * (gold - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        '<style>text{font-size:13px;fill:#333}path{fill:none;stroke-width:2}</style><rect width="100%" height="100%" '
        'fill="#fff"/>',
    ]
    parts += [
        f'<path d="M{left} {y(tick):.0f}H{width - 150}" stroke="#ddd" style="stroke-width:1"/>'
        f'<text x="{left - 6}" y="{y(tick) + 4:.0f}" text-anchor="end">{tick:.2f}</text>'
        for tick in np.linspace(low, high, 5)
    ]
    parts += [
        f'<text x="{x(kl):.0f}" y="{height - 30}" text-anchor="middle">{kl:g}</text>'
        for kl in (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
        if math.sqrt(kl) <= most
    ]
    parts.append(f'<text x="{left}" y="{height - 8}">nats of KL to the base (axis in √KL); upwards: gold score</text>')
    for place, (name, curve) in enumerate(curves.items()):
        hue = place * 360 // len(curves)
        line = " ".join(f"{'L' if i else 'M'}{x(p['kl']):.1f} {y(p['gold']):.1f}" for i, p in enumerate(curve))
        at = top + 14 + 20 * place
        parts.append(
            f'<path d="{line}" stroke="hsl({hue} 70% 42%)"/><path d="M{width - 140} {at - 4}h18" '
            f'stroke="hsl({hue} 70% 42%)"/><text x="{width - 116}" y="{at}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
