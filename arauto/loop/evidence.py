"""From counters to evidence: what the store counted on each side of a release, as its guardrails read it.

A guardrail's name is its metric, with anything after a dot to tell two of one metric apart: ``ctr``, ``ctr.parity``.
Every metric is a sum over decisions that were seen, in blocks of one share (a move sets the share, and each decision
carries the move it was made under), so evidence is exact whatever the shares did and however late an outcome comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.campaign import Goal
from arauto.core.errors import InputError
from arauto.core.events import MARKS, SEGMENTS
from arauto.experiments import Guardrail, Measured, Trials, pair_terms, share_mismatch
from arauto.store import BUCKET_RATIO, COUNTERS, ZERO_BUCKET, Staged

Floats = NDArray[np.float64]


class Metric(NamedTuple):
    """Σx, Σx² over decisions; for a ratio also Σy, Σy² and Σxy. Each reads the counters of a cell."""

    bad: Literal["less", "greater"]
    num: str
    num2: str
    den: str = ""
    den2: str = ""
    cross: str = ""

    @property
    def is_rate(self) -> bool:
        """Whether x is 0 or 1 for each decision."""
        return self.num == self.num2 and not self.den


METRICS: Mapping[str, Metric] = {
    "ctr": Metric("less", "clicks", "clicks"),
    "conversion": Metric("less", "purchases", "purchases"),
    "carts": Metric("less", "carts", "carts"),
    "revenue": Metric("less", "value_cents", "value_sq"),
    "rating": Metric("less", "rating_sum", "rating_sq", "ratings", "ratings", "rating_sum"),
    # An impression's price cancels out of a comparison: cost per buying decision is impressions per buying decision.
    "cpa": Metric("greater", "impressions", "impressions", "purchases", "purchases", "purchases"),
}
RATES: Mapping[str, str] = {f"{name}s": name for name in MARKS}
"""Guardrails on marks: complaints, errors, violations."""
VITALS: Mapping[str, str] = {name.lower(): name for name in ("LCP", "INP", "CLS", "FCP", "TTFB", "load")}
GOALS: Mapping[Goal, str] = {"click": "ctr", "purchase": "conversion", "rating": "rating"}
CEILINGS: Mapping[str, float] = {"complaints": 0.01, "errors": 0.01, "violations": 0.0}


def metric_of(rail: Guardrail) -> str:
    """The metric of a guardrail."""
    return rail.name.partition(".")[0]


def standard_guardrail(name: str) -> Guardrail:
    """The guardrail of that name as it is when nothing else is said.

    Raises:
        InputError: there is no such metric.
    """
    metric, _, suffix = name.partition(".")
    if metric in VITALS:
        return Guardrail(name=name, kind="quantile", bad="greater", bucket_ratio=BUCKET_RATIO)
    if metric in RATES:
        return Guardrail(name=name, kind="ceiling", bad="greater", ceiling=CEILINGS[metric])
    if metric in METRICS:
        kind: Literal["parity", "mean"] = "parity" if suffix == "parity" else "mean"
        return Guardrail(name=name, kind=kind, bad=METRICS[metric].bad, margin=0.15 if suffix == "parity" else 0.05)
    raise InputError(
        f"names no metric: {name}",
        field="guardrails",
        mend=f"name one of {', '.join([*METRICS, *RATES, *VITALS])}, and what you like after a dot",
    )


def check_rail(rail: Guardrail) -> Guardrail:
    """The guardrail, if what is counted can answer it.

    Raises:
        InputError: the metric is unknown, or is not of the guardrail's kind.
    """
    usual = standard_guardrail(rail.name)
    metric = metric_of(rail)
    kinds = {"quantile": ("quantile",), "ceiling": ("ceiling", "mean")}.get(usual.kind, ("mean", "parity"))
    if rail.kind not in kinds:
        raise InputError(
            f"{rail.name} is of kind {rail.kind}", field="guardrails", mend=f"{metric} can be {' or '.join(kinds)}"
        )
    if rail.bad != usual.bad:
        raise InputError(
            f"{rail.name} is bad when {rail.bad}", field="guardrails", mend=f"{metric} is bad when {usual.bad}"
        )
    return msgspec.structs.replace(rail, bucket_ratio=BUCKET_RATIO) if rail.kind == "quantile" else rail


class Ledger:
    """What was counted under each move of a release. ``shares`` are the change's, by the id of the move."""

    def __init__(self, shares: Mapping[int, float], staged: Staged) -> None:
        self._blocks = {move: place for place, move in enumerate(shares)}
        self.share = np.array(list(shares.values()), dtype=np.float64)
        self._staged = staged
        self._cells = {segment: np.zeros((len(COUNTERS), self.share.size, 2)) for segment in SEGMENTS}
        for row in staged.totals:
            block = self._blocks.get(row.stage >> 1)
            if block is not None:
                counters = [float(getattr(row, name)) for name in COUNTERS]
                self._cells.setdefault(row.segment, np.zeros((len(COUNTERS), self.share.size, 2)))[
                    :, block, row.stage & 1
                ] += counters
        self._all: Floats = np.sum(list(self._cells.values()), axis=0)

    @property
    def visitors(self) -> Floats:
        """(blocks, 2): decisions that were seen, control first."""
        return np.asarray(self._all[COUNTERS.index("impressions")])

    def exposures(self) -> int:
        """Of the change."""
        return int(self.visitors[:, 1].sum())

    def mismatch(self) -> float:
        """The always-valid p-value of "the decisions that were seen were dealt out by the shares"."""
        if not self.visitors.sum():
            return 1.0
        return share_mismatch(np.stack([1.0 - self.share, self.share], axis=-1), self.visitors)

    def measure(self, rail: Guardrail) -> Measured:
        """The counts of a guardrail of :func:`check_rail`."""
        metric = metric_of(rail)
        if rail.kind == "quantile":
            return Measured(share=self.share, counts=self._histogram(VITALS[metric]))
        if rail.kind == "parity":
            of = METRICS[metric]
            return Measured(
                segments={name: self._sums(of, cell) for name, cell in self._cells.items()},
                segment_trials={name: self._trials(of, cell) for name, cell in self._cells.items()}
                if of.is_rate
                else None,
            )
        if metric in METRICS:
            of = METRICS[metric]
            trials = self._trials(of, self._all) if of.is_rate else None
            return Measured(sums=self._sums(of, self._all), trials=trials)
        marks = self._marks(RATES[metric])
        if rail.kind == "ceiling":
            events, seen = int(marks[:, 1].sum()), self.exposures()
            return Measured(events=min(events, seen), exposures=seen)
        trials = Trials(self.share, self.visitors, np.minimum(marks, self.visitors))
        return Measured(sums=_add(pair_terms(self.share, self.visitors, marks, marks)), trials=trials)

    def _trials(self, metric: Metric, cell: Floats) -> Trials:
        n, k = (np.asarray(cell[COUNTERS.index(name)]) for name in ("impressions", metric.num))
        return Trials(self.share, n, np.minimum(k, n))

    def _sums(self, metric: Metric, cell: Floats) -> Floats:
        def column(name: str) -> Floats:
            return np.asarray(cell[COUNTERS.index(name)])

        n, num, num2 = column("impressions"), column(metric.num), column(metric.num2)
        if not metric.den:
            return _add(pair_terms(self.share, n, num, num2))
        return _add(
            pair_terms(
                self.share,
                n,
                num,
                num2,
                den=column(metric.den),
                den2=column(metric.den2),
                cross=column(metric.cross),
            )
        )

    def _marks(self, name: str) -> Floats:
        counts = np.zeros((self.share.size, 2))
        for row in self._staged.marks:
            block = self._blocks.get(row.stage >> 1)
            if row.name == name and block is not None:
                counts[block, row.stage & 1] += row.marks
        return counts

    def _histogram(self, metric: str) -> Floats:
        rows = [row for row in self._staged.vitals if row.metric == metric and row.stage >> 1 in self._blocks]
        buckets = sorted({bucket for row in rows for bucket in row.buckets if bucket > ZERO_BUCKET})
        low, high = (buckets[0] - 1, buckets[-1]) if buckets else (0, 0)
        counts = np.zeros((self.share.size, 2, high - low + 1))
        for row in rows:
            for bucket, readings in row.buckets.items():
                counts[self._blocks[row.stage >> 1], row.stage & 1, max(bucket, low) - low] += readings
        return counts


def default_rails(goal: Goal, has: Callable[[str], bool]) -> tuple[Guardrail, ...]:
    """The goal, load time where ``has`` says that it is measured, ceilings for complaints, errors and violations."""
    vital = next((name for name, metric in VITALS.items() if name in ("lcp", "load") and has(metric)), None)
    names: Sequence[str] = [GOALS[goal], *([vital] if vital else []), *RATES]
    return tuple(standard_guardrail(name) for name in names)


def _add(terms: Floats) -> Floats:
    return np.asarray(terms.sum(axis=0))
