"""The gate between reward model and optimisation: does it score texts as people did?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from arauto.core.errors import ConflictError
from arauto.gpo.pairs import Pairs, pairs_of
from arauto.gpo.reward import RewardModel, Scores, expected_clicks
from arauto.gpo.table import Floats, Table

_DRAWS = 1000
_BINS = 10
LEAST_PAIRS = 50
"""With fewer, nobody can tell a good reward model from a lucky one."""


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its 95 % cluster-bootstrap interval: whole tests are drawn."""

    value: float
    low: float
    high: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of all pairs, of a segment or of a language. ``significant`` is of pairs with |z| > 1.96."""

    name: str
    pairs: int
    significant_pairs: int
    accuracy: Estimate
    significant_accuracy: Estimate
    correlation: Estimate
    calibration_error: float


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a reward model must reach before anything is optimised on it."""

    accuracy: float = 0.54
    significant_accuracy: float = 0.58
    calibration_error: float = 0.05


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a reward model did on tests it never saw. ``reasons`` say in words why it did not pass; ``short`` names the
    same for programs: ``pairs``, ``accuracy``, ``chance``, ``clear``, ``calibration``."""

    passed: bool
    reasons: list[str]
    gate: Gate
    whole: Part
    parts: list[Part]
    data_sha256: str
    texts_per_second: float = 0.0
    short: list[str] = []


def evaluate_reward(model: RewardModel, table: Table, gate: Gate | None = None, *, seed: int = 0) -> GateReport:
    """Score ``table`` and compare with the counts, in all, by segment and by language."""
    return judge(model, table, model.score(table.text), gate or Gate(), seed=seed)


def judge(model: RewardModel, table: Table, scores: Scores, gate: Gate, *, seed: int = 0) -> GateReport:
    """The report for scores already made. Intervals are over tests; ``seed`` draws the bootstrap."""
    pairs = pairs_of(table)
    whole = _part("all", model, table, scores, pairs, seed)
    parts = []
    for kind, labels in (("segment", table.segment), ("language", table.language)):
        names = sorted(set(labels))
        for name in names if len(names) > 1 else []:
            chosen = np.array([labels[i] == name for i in pairs.first], dtype=bool)
            parts.append(_part(f"{kind} {name or '-'}", model, table, scores, _take(pairs, chosen), seed))
    reasons = _reasons(whole, gate)
    return GateReport(
        passed=not reasons,
        reasons=[*reasons.values()],
        gate=gate,
        whole=whole,
        parts=parts,
        data_sha256=table.digest(),
        short=[*reasons],
    )


def require_passed(report: GateReport) -> None:
    """Raises :class:`ConflictError` with the reasons when the gate is shut."""
    if not report.passed:
        raise ConflictError(
            "the reward model did not pass its gate: " + "; ".join(report.reasons),
            field="reward",
            mend="gather more tests, use a stronger encoder, or set the gate lower and say why",
        )


def calibration_error(predicted: Floats, happened: Floats, bins: int = _BINS) -> float:
    """Expected calibration error over bins of equal size: mean |predicted - happened| (Naeini et al. 2015)."""
    order = np.argsort(predicted, kind="stable")
    gaps = [
        abs(float(predicted[part].mean() - happened[part].mean())) * part.size
        for part in np.array_split(order, bins)
        if part.size
    ]
    return sum(gaps) / max(predicted.size, 1)


def _part(name: str, model: RewardModel, table: Table, scores: Scores, pairs: Pairs, seed: int) -> Part:
    difference = scores.mean[pairs.first] - scores.mean[pairs.second]
    right = np.where(difference == 0.0, 0.5, (difference * pairs.z > 0.0).astype(np.float64))
    sure = pairs.significant
    clicks = [expected_clicks(table, rows, pairs) for rows in (pairs.first, pairs.second)]
    # Each pair is turned so that the model's favourite comes first: else the two halves would hide one another.
    favourite = model.better(np.abs(difference), *clicks)
    gap = np.log(table.rate[pairs.first] + 1e-6) - np.log(table.rate[pairs.second] + 1e-6)
    return Part(
        name=name,
        pairs=int(pairs.z.size),
        significant_pairs=int(sure.sum()),
        accuracy=_mean(right, pairs.cluster, seed),
        significant_accuracy=_mean(right[sure], pairs.cluster[sure], seed),
        correlation=_correlation(difference, gap, pairs.cluster, seed),
        calibration_error=calibration_error(favourite, right),
    )


def _mean(values: Floats, cluster: Sequence[int] | np.ndarray, seed: int) -> Estimate:
    if not values.size:
        return Estimate(0.5, 0.0, 1.0)
    names, of = np.unique(cluster, return_inverse=True)
    draws = _draws(names.size, seed)
    sums, counts = np.bincount(of, values), np.bincount(of)
    means = (draws @ sums) / np.maximum(draws @ counts, 1e-12)
    return Estimate(float(values.mean()), *(float(q) for q in np.quantile(means, (0.025, 0.975))))


def _correlation(x: Floats, y: Floats, cluster: np.ndarray, seed: int) -> Estimate:
    """Correlation of score and log-rate differences, both signed the same way, so about zero and not the mean."""
    if x.size < 2 or not x.any() or not y.any():
        return Estimate(0.0, -1.0, 1.0)
    names, of = np.unique(cluster, return_inverse=True)
    draws = _draws(names.size, seed)
    xy, xx, yy = (draws @ np.bincount(of, values) for values in (x * y, x * x, y * y))
    each = xy / np.sqrt(np.maximum(xx * yy, 1e-300))
    value = float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
    return Estimate(value, *(float(q) for q in np.quantile(each, (0.025, 0.975))))


def _draws(clusters: int, seed: int) -> Floats:
    """How often each cluster is drawn, (draws, clusters)."""
    rng = np.random.default_rng(seed)
    draws: Floats = rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=_DRAWS).astype(np.float64)
    return draws


def _take(pairs: Pairs, chosen: np.ndarray) -> Pairs:
    return Pairs(pairs.first[chosen], pairs.second[chosen], pairs.z[chosen], pairs.cluster[chosen])


def _reasons(whole: Part, gate: Gate) -> dict[str, str]:
    """What is missing, by a name for programs."""
    right, clear = whole.accuracy, whole.significant_accuracy
    checks = (
        (
            whole.pairs < LEAST_PAIRS,
            "pairs",
            f"only {whole.pairs} pairs to judge by; {LEAST_PAIRS} are needed",
        ),
        (
            right.value < gate.accuracy,
            "accuracy",
            f"it picks the better of two in {right.value:.1%} of pairs; {gate.accuracy:.1%} are needed",
        ),
        (right.low <= 0.5, "chance", f"chance is not excluded: the interval starts at {right.low:.1%}"),
        (
            clear.value < gate.significant_accuracy,
            "clear",
            f"of the clear pairs it picks {clear.value:.1%}; {gate.significant_accuracy:.1%} are needed",
        ),
        (
            whole.calibration_error > gate.calibration_error,
            "calibration",
            f"its calibration error is {whole.calibration_error:.3f}; at most {gate.calibration_error:.3f}",
        ),
    )
    return {name: reason for missing, name, reason in checks if missing}
