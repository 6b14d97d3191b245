"""What must not get worse while a change is released: each guardrail's evidence of harm, and of safety."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.experiments.coin import Trials, coin_evidence, early_look
from arauto.experiments.comparison import lift_estimate, lift_evidence, lift_interval
from arauto.experiments.intervals import rate_sequence
from arauto.experiments.mixture import Prior
from arauto.experiments.sequences import UNBOUNDED, compare_quantiles, quantile_evidence

Floats = NDArray[np.float64]
T = TypeVar("T")

LARGE = 0.05
"""The least share of visitors of a segment that a parity guardrail wants to be proved safe."""

HARM_SPREAD = 0.6
"""How vague a guardrail's expectation is (:class:`~arauto.experiments.Prior`): small harm may be found late."""
EARLY_STAKE = 0.5
"""The share of a rate's allowed error that its early look may spend."""

CERTAIN = 1000.0
"""Stands for infinite evidence, which JSON cannot write."""


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A metric of the change against the control.

    * ``mean``: a rate, mean or ratio (CTR, conversion, CPA, complaint rate, error rate).
    * ``quantile``: of a histogram with logarithmic buckets of ratio ``bucket_ratio`` (load time).
    * ``parity``: a ``mean`` in every segment: no segment may pay for the others.
    * ``ceiling``: a rate that may not pass ``ceiling``, whatever the control does (policy violations: 0).
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_.-]{0,63}$")]
    kind: Literal["mean", "quantile", "parity", "ceiling"] = "mean"
    bad: Literal["less", "greater"] = "less"
    """The direction of harm: less (clicks) or greater (cost, errors, milliseconds)."""
    margin: Annotated[float, Meta(gt=0, le=10)] = 0.05
    """The relative loss that need not be excluded before everyone gets the change."""
    expected: Annotated[float, Meta(gt=0, le=10)] = 0.3
    """The size of harm that is looked for first; others are found later."""
    q: Annotated[float, Meta(gt=0, lt=1)] = 0.75
    bucket_ratio: Annotated[float, Meta(gt=1, le=2)] = 1.04
    ceiling: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class Measured(NamedTuple):
    """What was counted for one guardrail, since the release began; only what its kind needs.

    ``sums`` are of :func:`~arauto.experiments.pair_terms`, control first; ``segments`` the same by segment; of a rate
    also the ``trials``, and ``segment_trials``. ``share`` and ``counts`` as in
    :func:`~arauto.experiments.compare_quantiles`; ``events`` of ``exposures`` of the change alone.
    """

    sums: Floats | None = None
    segments: Mapping[str, Floats] | None = None
    share: Floats | None = None
    counts: Floats | None = None
    events: int = 0
    exposures: int = 0
    trials: Trials | None = None
    segment_trials: Mapping[str, Trials] | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one guardrail. ``harm`` and ``safety`` are log e-values, at most :data:`CERTAIN`.

    ``harm`` speaks against "no worse than the control", ``safety`` against "worse by ``tolerance`` or more". ``change``
    is relative, or the plain rate for a ceiling; ``low`` and ``high`` bound it at all times (None: not yet, or not
    asked for). ``segment`` is the worst one of a parity guardrail.

    Of a rate, one early look is taken when there is enough to see (:func:`~arauto.experiments.early_look`): ``early``
    is its p-value (None: not yet), and ``stake`` the share of the allowed error that is left for looking at all times.
    """

    name: str
    harm: float
    safety: float
    tolerance: float
    change: float | None = None
    low: float | None = None
    high: float | None = None
    segment: str = ""
    early: float | None = None
    stake: float = 1.0


def read_guardrail(
    rail: Guardrail, measured: Measured, tolerance: float, *, bounds: bool = True, early: bool = True
) -> Reading:
    """The evidence of one guardrail.

    Args:
        rail: the guardrail.
        measured: its counts.
        tolerance: the relative loss against which safety is weighed.
        bounds: whether to find the 95 % interval too, which costs some hundred times as much and decides nothing.
        early: whether the early look is still to come.

    Raises:
        InputError: when the counts for the guardrail's kind are missing.
    """
    match rail.kind:
        case "mean":
            found = _read_mean(rail, _need(measured.sums, rail, "sums"), measured.trials, tolerance, bounds)
            if measured.trials is None:
                return found
            look = early_look(measured.trials, rail.bad) if early else None
            return msgspec.structs.replace(found, early=look, stake=1.0 - EARLY_STAKE)
        case "parity":
            return _read_parity(rail, measured, tolerance, bounds)
        case "quantile":
            share, counts = _need(measured.share, rail, "share"), _need(measured.counts, rail, "counts")
            return _read_quantile(rail, share, counts, tolerance, bounds)
        case "ceiling":
            return _read_ceiling(rail, measured, tolerance)


def _read_mean(rail: Guardrail, sums: Floats, trials: Trials | None, tolerance: float, bounds: bool) -> Reading:
    harm, safety = _weigh(rail, sums, trials, tolerance)
    low, high = lift_interval(sums) if bounds else UNBOUNDED
    change = float(lift_estimate(sums))
    return Reading(
        name=rail.name,
        harm=harm,
        safety=safety,
        tolerance=tolerance,
        change=_finite(change),
        low=_finite(low),
        high=_finite(high),
    )


def _read_parity(rail: Guardrail, measured: Measured, tolerance: float, bounds: bool) -> Reading:
    """Harm to some segment: the mean of the segments' e-values is an e-value. Safety: the least of the larger ones'.

    Which segments there are must be fixed beforehand (one without visitors yet has the e-value 1); those with less than
    a twentieth of the visitors need not be proved safe, or a handful of tablets would hold every release up.
    """
    segments = _need(measured.segments, rail, "segments")
    trials = measured.segment_trials or {}
    if not segments:
        return Reading(name=rail.name, harm=0.0, safety=CERTAIN, tolerance=tolerance)
    weighed = {name: _weigh(rail, sums, trials.get(name), tolerance) for name, sums in segments.items()}
    harms = np.array([harm for harm, _ in weighed.values()])
    worst = max(weighed, key=lambda name: weighed[name][0])
    shown = _read_mean(rail, segments[worst], trials.get(worst), tolerance, bounds)
    together = float(harms.max() + np.log(np.mean(np.exp(harms - harms.max()))))
    visitors = {name: float(sums[:, 0].sum()) for name, sums in segments.items()}
    large = [name for name in weighed if visitors[name] >= LARGE * sum(visitors.values())]
    safety = min(weighed[name][1] for name in large)
    return msgspec.structs.replace(shown, harm=together, safety=safety, segment=worst)


def _read_quantile(rail: Guardrail, share: Floats, counts: Floats, tolerance: float, bounds: bool) -> Reading:
    if np.any(counts.sum(axis=(0, 2)) == 0.0):
        return Reading(name=rail.name, harm=0.0, safety=0.0, tolerance=tolerance)
    prior = Prior(expected=min(2.0 * rail.expected, 4.0))
    sign, other = _signs(rail)
    step = math.log(rail.bucket_ratio)
    buckets = max(1, int(math.log1p(tolerance) / step)) * sign
    reading = Reading(
        name=rail.name,
        harm=quantile_evidence(share, counts, rail.q, side=rail.bad, prior=prior),
        safety=quantile_evidence(share, counts, rail.q, tolerance=buckets, side=other, prior=prior),
        tolerance=tolerance,
    )
    if not bounds:
        return reading
    shown = compare_quantiles(share, counts, rail.q)
    change, low, high = (
        None if shift is None else rail.bucket_ratio**shift - 1.0
        for shift in (shown.treatment - shown.control, shown.low, shown.high)
    )
    return msgspec.structs.replace(reading, change=change, low=low, high=high)


def _read_ceiling(rail: Guardrail, measured: Measured, tolerance: float) -> Reading:
    """The evidence of :func:`~arauto.experiments.rate_sequence` that the rate is above the ceiling.

    Nothing needs to be shown to go on: a rate that may not pass 0 can never be proved to be 0.
    """
    k, n, ceiling = measured.events, measured.exposures, rail.ceiling
    low, high = rate_sequence(k, n)
    harm = 0.0
    if n and k / n > ceiling:
        mixture = math.lgamma(k + 0.5) + math.lgamma(n - k + 0.5) - math.lgamma(n + 1.0) - math.log(math.pi)
        harm = mixture - k * math.log(ceiling) - (n - k) * math.log1p(-ceiling) if ceiling else CERTAIN
    return Reading(
        name=rail.name,
        harm=min(harm, CERTAIN),
        safety=CERTAIN,
        tolerance=tolerance,
        change=k / n if n else None,
        low=low,
        high=high,
    )


def _weigh(rail: Guardrail, sums: Floats, trials: Trials | None, tolerance: float) -> tuple[float, float]:
    """(Harm, safety). A rate's harm is bet on by the coin, exactly; other outcomes' by their sums."""
    sign, other = _signs(rail)
    null = max(sign * tolerance, -0.95)
    prior = Prior(rail.expected, HARM_SPREAD)
    harm = lift_evidence(sums, side=rail.bad, prior=prior) if trials is None else coin_evidence(trials, rail.bad, prior)
    safety = lift_evidence(sums, null, side=other, prior=Prior(expected=abs(null)))
    return min(float(harm), CERTAIN), min(float(safety), CERTAIN)


def _signs(rail: Guardrail) -> tuple[int, Literal["less", "greater"]]:
    return (-1, "greater") if rail.bad == "less" else (1, "less")


def _need(value: T | None, rail: Guardrail, name: str) -> T:
    if value is None:
        raise InputError(
            "is missing", field=f"{rail.name}.{name}", mend=f"count {name} for a guardrail of kind {rail.kind}"
        )
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
