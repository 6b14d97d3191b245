"""A whole experiment at once: every variant and metric against the control, health first, one verdict.

What comes in are plain columns, as a user's own log has them; what goes out is JSON-ready.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.brief import Language
from arauto.core.errors import InputError
from arauto.core.i18n import number, percent, say
from arauto.experiments.adjust import regression_adjusted
from arauto.experiments.bandits import Posterior, best_probabilities
from arauto.experiments.comparison import Comparison, compare, lift_score, pair_terms
from arauto.experiments.health import find_bots, multiple_exposure, ratio_mismatch_at_end
from arauto.experiments.intervals import ratio_mismatch
from arauto.experiments.mixture import Prior
from arauto.experiments.multiple import discoveries, expected_loss, visitors_left
from arauto.experiments.offpolicy import Log

Floats = NDArray[np.float64]
Columns = Mapping[str, ArrayLike]

UNHEALTHY = 0.01
"""A sample-ratio p-value below this stops the verdict."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one metric. Intervals are always valid, at 95 %; ``found``: announced by the e-BH procedure."""

    metric: str
    arm: str
    control_mean: float | None
    mean: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float
    evidence: float
    found: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``sample_ratio_p`` is for one look at the end, ``sample_ratio_p_always`` for as many as one likes, and so less
    sharp; ``bots`` is the share of rows of visitors too busy to be people."""

    sample_ratio_p: float
    sample_ratio_p_always: float
    sample_ratio_problem: bool
    multiple_share: float
    multiple_problem: bool
    bots: float


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """The report of an experiment. ``chance_to_win`` and ``expected_loss`` are for a first metric of zeros and ones."""

    verdict: Literal["better", "worse", "too_early", "unhealthy"]
    metric: str
    control: str
    arm: str
    visitors: dict[str, int]
    visitors_left: int | None
    health: Health
    results: tuple[Result, ...]
    chance_to_win: dict[str, float] | None = None
    expected_loss: dict[str, float] | None = None


def analyse(
    columns: Columns,
    metrics: Sequence[str],
    *,
    control: str,
    shares: Mapping[str, float] | None = None,
    covariates: Sequence[str] = (),
    expected: float | None = None,
    lower_is_better: bool = False,
) -> Analysis:
    """Analyse rows of an experiment.

    Args:
        columns: ``arm`` (names), each metric (numbers), and if there are any: ``visitor`` (rows of one visitor are
            added up; one seen in two arms is left out and counted), the covariates, fixed before the first exposure.
        metrics: names of columns, or ``"x/y"`` for the ratio of two. The first is what decides.
        control: the arm that the others are compared with.
        shares: each arm's intended share of traffic; None: equal.
        covariates: columns to adjust for.
        expected: the relative effect the experiment was planned for.
        lower_is_better: of the first metric: cost, load time.

    Raises:
        InputError: names the column, what was wrong and the mend.
    """
    arm, table, multiple, bots = _by_visitor(columns, metrics, covariates)
    names = sorted(set(arm.tolist()))
    split = _meant(names, metrics, control, shares)
    prior = None if expected is None else Prior(expected, 0.4)
    sums = {
        (metric, name): _pair(arm, table, metric, covariates, control, name, split)
        for metric in metrics
        for name in names
        if name != control
    }
    results = _results({key: compare(pair, prior=prior) for key, pair in sums.items()})
    counts = {name: int((arm == name).sum()) for name in names}
    health = _health(counts, split, multiple, bots)
    verdict, best = _verdict(health, [one for one in results if one.metric == metrics[0]], lower_is_better)
    wins, loss = _bayes(arm, table.get(metrics[0]), names)
    return Analysis(
        verdict=verdict,
        metric=metrics[0],
        control=control,
        arm=best.arm,
        visitors=counts,
        visitors_left=_left(sums[metrics[0], best.arm], best, expected, prior) if verdict == "too_early" else None,
        health=health,
        results=results,
        chance_to_win=wins,
        expected_loss=loss,
    )


def _meant(
    names: Sequence[str], metrics: Sequence[str], control: str, shares: Mapping[str, float] | None
) -> dict[str, float]:
    """Each arm's intended share; equal ones when none are told."""
    if control not in names or len(names) < 2 or not metrics:
        raise InputError(f"{control!r} is one of {names}", field="control", mend="name the control among two or more")
    split = {name: 1.0 / len(names) for name in names} if shares is None else dict(shares)
    if set(split) != set(names) or any(share <= 0.0 for share in split.values()):
        raise InputError("do not name the arms", field="shares", mend=f"give a share above 0 for each of {names}")
    return split


def _results(compared: Mapping[tuple[str, str], Comparison]) -> tuple[Result, ...]:
    """By metric and arm, in the order given; those found are announced together (e-BH)."""
    found = discoveries([one.evidence for one in compared.values()])
    return tuple(
        Result(
            metric=metric,
            arm=name,
            control_mean=_finite(one.means[0]),
            mean=_finite(one.means[1]),
            lift=_finite(one.lift),
            lift_low=_finite(one.lift_interval.low),
            lift_high=_finite(one.lift_interval.high),
            difference=_finite(one.difference),
            difference_low=_finite(one.difference_interval.low),
            difference_high=_finite(one.difference_interval.high),
            p=one.p,
            evidence=one.evidence,
            found=bool(announced),
        )
        for ((metric, name), one), announced in zip(compared.items(), found, strict=True)
    )


def sentence(analysis: Analysis, language: Language) -> str:
    """The decision in one sentence."""
    best = next(one for one in analysis.results if one.arm == analysis.arm and one.metric == analysis.metric)
    key: str = "too_early_left" if analysis.visitors_left else analysis.verdict
    if key.startswith("too_early") and best.lift is None:
        key = "too_early_none"
    return say(
        f"experiment.{key}",
        language,
        arm=analysis.arm,
        control=analysis.control,
        metric=analysis.metric,
        left=number(analysis.visitors_left or 0, language),
        p=number(analysis.health.sample_ratio_p, language, 4),
        **lift_words(best.lift, best.lift_low, best.lift_high, language),
    )


def lift_words(lift: float | None, low: float | None, high: float | None, language: Language) -> dict[str, str]:
    """A lift (``lift``) and its interval (``between``) as they stand in a sentence. A lift is never below −100 %, so an
    interval without an upper end that begins there says nothing."""

    def told(value: float | None) -> str:
        return "–" if value is None else f"{'+' if value > 0 else ''}{percent(value, language, 1)}".replace("-", "−")

    if low is None or (high is None and low <= -1.0):
        between = say("experiment.between_none", language)
    elif high is None:
        between = say("experiment.between_least", language, low=told(low))
    else:
        between = say("experiment.between", language, low=told(low), high=told(high))
    return {"lift": told(lift), "between": between}


def log_of(columns: Columns) -> tuple[Log, tuple[str, ...]]:
    """An off-policy log from columns, and the arms' names in order.

    ``arm``, ``reward``, ``propensity`` (of the arm shown), ``target_<arm>`` (the new policy's chance of each arm), and
    if there are any: ``visitor``, ``x_<name>`` (numbers known before the decision).
    """
    for name in ("arm", "reward", "propensity"):
        _column(columns, name)
    names = tuple(sorted(name.removeprefix("target_") for name in columns if name.startswith("target_")))
    shown = np.asarray(columns["arm"]).astype(str)
    unknown = sorted(set(shown.tolist()) - set(names))
    if not names or unknown:
        raise InputError(
            "is missing", field=f"target_{(unknown or ['A'])[0]}", mend="give a target column for each arm"
        )
    context = [_numbers(columns, name) for name in sorted(columns) if name.startswith("x_")]
    log = Log.checked(
        np.searchsorted(np.array(names), shown),
        _numbers(columns, "reward"),
        _numbers(columns, "propensity"),
        np.column_stack([_numbers(columns, f"target_{name}") for name in names]),
        clusters=np.asarray(columns["visitor"]) if "visitor" in columns else None,
        context=np.column_stack(context) if context else None,
    )
    return log, names


def _by_visitor(
    columns: Columns, metrics: Sequence[str], covariates: Sequence[str]
) -> tuple[NDArray[Any], dict[str, Floats], tuple[int, int], float]:
    """Rows added up by visitor: arms, sums by column, (visitors in several arms, all), the share of rows by bots."""
    arm = _column(columns, "arm").astype(str)
    wanted = {part for metric in metrics for part in metric.split("/")} | set(covariates)
    table = {name: _numbers(columns, name) for name in sorted(wanted)}
    if "visitor" not in columns:
        return arm, table, (0, arm.size), 0.0
    _, first, place, rows = np.unique(
        _column(columns, "visitor"), return_index=True, return_inverse=True, return_counts=True
    )
    several = np.zeros(first.size, bool)
    np.logical_or.at(several, place, arm != arm[first][place])
    kept = ~several
    summed = {
        name: np.asarray(values[first] if name in covariates else np.bincount(place, weights=values), np.float64)[kept]
        for name, values in table.items()
    }
    return arm[first][kept], summed, (int(several.sum()), first.size), find_bots(rows).share


def _pair(
    arm: NDArray[Any],
    table: Mapping[str, Floats],
    metric: str,
    covariates: Sequence[str],
    control: str,
    name: str,
    shares: Mapping[str, float],
) -> Floats:
    num, _, den = metric.partition("/")
    these = (arm == control) | (arm == name)
    x = table[num][these]
    y = table[den][these] if den else np.ones(x.size)
    if covariates:
        x = regression_adjusted(x, np.column_stack([table[covariate][these] for covariate in covariates]))
    one = np.stack([arm[these] == control, arm[these] == name], axis=-1).astype(float)
    share = shares[name] / (shares[name] + shares[control])
    n, num1, num2, den1, den2, cross = (part @ one for part in (np.ones(x.size), x, x * x, y, y * y, x * y))
    terms: Floats = pair_terms([share], [n], [num1], [num2], den=[den1], den2=[den2], cross=[cross])[0]
    return terms


def _health(counts: Mapping[str, int], shares: Mapping[str, float], multiple: tuple[int, int], bots: float) -> Health:
    dealt, meant = list(counts.values()), [shares[name] for name in counts]
    p = ratio_mismatch_at_end(dealt, meant)
    share, problem = multiple_exposure(*multiple)
    return Health(
        sample_ratio_p=p,
        sample_ratio_p_always=ratio_mismatch(dealt, [part / math.fsum(meant) for part in meant]),
        sample_ratio_problem=p < UNHEALTHY,
        multiple_share=share,
        multiple_problem=problem,
        bots=bots,
    )


def _verdict(
    health: Health, results: Sequence[Result], lower_is_better: bool
) -> tuple[Literal["better", "worse", "too_early", "unhealthy"], Result]:
    """The verdict, and the variant that it is about: the best of those found, else the most evident."""
    sign = -1.0 if lower_is_better else 1.0
    better = [one for one in results if one.found and sign * (one.lift or 0.0) > 0.0]
    best = (
        max(better, key=lambda one: sign * (one.lift or 0.0)) if better else max(results, key=lambda one: one.evidence)
    )
    if health.sample_ratio_problem or health.multiple_problem:
        return "unhealthy", best
    if better:
        return "better", best
    worse = all(one.found for one in results)
    return ("worse" if worse else "too_early"), best


def _bayes(
    arm: NDArray[Any], outcome: Floats | None, names: Sequence[str]
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    if outcome is None or not np.all((outcome == 0.0) | (outcome == 1.0)):
        return None, None
    k, n = np.array([[outcome[arm == name].sum(), (arm == name).sum()] for name in names]).T
    posterior = Posterior(1.0 + k, 1.0 + n - k)
    loss = expected_loss(posterior, np.random.default_rng(0))
    wins = best_probabilities(posterior)
    return dict(zip(names, wins.tolist(), strict=True)), dict(zip(names, loss.tolist(), strict=True))


def _left(sums: Floats, best: Result, expected: float | None, prior: Prior | None) -> int | None:
    lift = expected or best.lift
    if not lift or lift <= -1.0:
        return None
    clock = float(lift_score(sums)[1])
    return visitors_left(clock, int(sums[:, 0].sum()), lift, prior=prior)


def _column(columns: Columns, name: str) -> NDArray[Any]:
    if name not in columns:
        raise InputError("is missing", field=name, mend=f"add the column {name}")
    values = np.asarray(columns[name])
    if values.ndim != 1 or values.size != np.asarray(columns["arm"]).size or not values.size:
        raise InputError("does not fit", field=name, mend="give one value a row, and at least one row")
    return values


def _numbers(columns: Columns, name: str) -> Floats:
    try:
        values = _column(columns, name).astype(np.float64)
    except (TypeError, ValueError):
        raise InputError("holds something that is no number", field=name, mend="give numbers") from None
    if not np.all(np.isfinite(values)):
        raise InputError("holds an empty or infinite value", field=name, mend="fill it or leave the row out")
    return values


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
