"""What the store hands out: plain, frozen records. Times are Unix milliseconds, money is in cents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from arauto.core.campaign import Assignment, Copy, Goal, Origin
from arauto.core.events import VitalName

AppendStatus = Literal["stored", "duplicate", "erased", "refused"]
JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
NoticeKind = Literal["campaign", "totals", "erasure"]
Step = Literal["minute", "hour"]


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each row of an append.

    ``status`` is aligned with the rows. ``duplicate``: known by its id, or its decision was told of it before.
    ``erased``: its visitor was erased. ``refused``: it cannot be kept; ``problems`` says why, by its place.
    ``changed`` holds the campaigns whose totals may have changed; ``joined`` the variant, and its propensity, of rows
    that came without a decision and were given one, by place.
    """

    status: list[AppendStatus]
    changed: frozenset[int] = frozenset()
    problems: dict[int, str] = {}
    joined: dict[int, tuple[int, float | None]] = {}


class FirstKit(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign begins with: texts, each with who wrote it, and the report of their checks."""

    copies: Sequence[tuple[Copy, Origin]]
    report: Mapping[str, Any]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The counters kept by rollups. Each counts decisions that were seen (impression reported), but ``orders``.

    ``value_cents`` and ``value_sq`` are the sum and the sum of squares of each decision's value (cents, cents²);
    ``rating_sum`` and ``rating_sq`` of its rating. ``purchases`` counts decisions that bought, ``orders`` their orders.
    """

    impressions: int = 0
    views: int = 0
    clicks: int = 0
    carts: int = 0
    purchases: int = 0
    orders: int = 0
    value_cents: int = 0
    value_sq: int = 0
    ratings: int = 0
    rating_sum: int = 0
    rating_sq: int = 0


COUNTERS: tuple[str, ...] = Counts.__struct_fields__
"""The names of the counters, which are also the names of their columns."""


class ArmTotals(Counts, frozen=True, kw_only=True):
    """The counters of a variant in a segment, over the whole campaign."""

    variant_id: int
    segment: str

    @property
    def part(self) -> int:
        """Of the day: not told apart."""
        return 0


class PartTotals(Counts, frozen=True, kw_only=True):
    """The counters of a variant in a segment and a part of the day, of UTC (:data:`arauto.core.events.PARTS`)."""

    variant_id: int
    segment: str
    part: int


class SeriesPoint(Counts, frozen=True, kw_only=True):
    """The counters of a variant whose decisions were made in the minute or hour that begins at ``at_ms``."""

    at_ms: int
    variant_id: int


class VitalHistogram(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of a metric by bucket (:mod:`arauto.store.vitals`)."""

    variant_id: int
    metric: VitalName
    buckets: dict[int, int]


class Recount(msgspec.Struct, frozen=True, kw_only=True):
    """What rollups should say, recomputed from the raw events. Shapes and order as :class:`Rollups` gives them."""

    totals: list[ArmTotals]
    minutes: list[SeriesPoint]
    hours: list[SeriesPoint]
    vitals: list[VitalHistogram]
    staged: Staged


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """The propensities of a campaign's arms as of ``at_ms``, by variant id."""

    version: int
    at_ms: int
    propensities: dict[int, float]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to what."""

    id: int
    at_ms: int
    actor: str
    action: str
    target: str
    detail: Mapping[str, Any]


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model: its hash, its parent, the data it saw and how it did."""

    id: int
    name: str
    sha256: str
    parent: int | None
    data_window: Mapping[str, Any]
    metrics: Mapping[str, Any]
    created_ms: int


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a model's way to the visitors: ``share`` of the traffic it gets from then on."""

    id: int
    model_id: int
    stage: str
    share: float
    note: str
    actor: str
    created_ms: int


class RolloutMove(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a release's log: ``status`` and ``share`` are those afterwards, ``detail`` is the move itself."""

    id: int
    version: int
    at_ms: int
    actor: str
    action: str
    status: str
    share: float
    detail: Mapping[str, Any]


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A release: the variants that only the change shows, what it alters of the campaign's plan, and every move."""

    id: int
    campaign_id: int
    candidates: tuple[int, ...]
    change: Mapping[str, Any]
    plan: Mapping[str, Any]
    actor: str
    created_ms: int
    moves: tuple[RolloutMove, ...]


class StageTotals(Counts, frozen=True, kw_only=True):
    """The counters of the decisions of a stage in a segment."""

    stage: int
    segment: str


class StageVital(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of a metric in a stage, by bucket."""

    stage: int
    metric: VitalName
    buckets: dict[int, int]


class StageMark(msgspec.Struct, frozen=True, kw_only=True):
    """How many decisions of a stage told of a complaint, an error or a violation (``name``)."""

    stage: int
    name: str
    marks: int


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of decisions made while a release was on its way, in order of stage, then the other fields."""

    totals: list[StageTotals] = []
    vitals: list[StageVital] = []
    marks: list[StageMark] = []


class ArmOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's decisions that were seen, in the first or the second half (``late``) of the campaign's time.

    Σx and Σx² of the outcome, the same of x over the propensity, and the least and the greatest propensity.
    """

    variant_id: int
    late: bool
    n: int
    total: float
    squares: float
    weighted: float
    weighted_sq: float
    least: float
    most: float


class GroupOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """First decisions that were seen, of visitors in the holdout (``held``) or not: how many, Σx and Σx²."""

    held: bool
    n: int
    total: float
    squares: float


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment is judged by, as of ``at_ms``, and how long reading it took.

    ``goal``, ``assignment`` and ``holdout`` are the plan's that it was read for: under another one it tells nothing.
    """

    at_ms: int
    took_ms: int
    goal: Goal
    assignment: Assignment
    holdout: float
    bots: float
    outcomes: list[ArmOutcomes]
    groups: list[GroupOutcomes] = []


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A background job: ``done`` of ``total`` steps (0 while unknown). ``error`` is empty unless it failed."""

    id: int
    name: str
    state: JobState
    done: int = 0
    total: int = 0
    note: str = ""
    error: str = ""


class Notice(msgspec.Struct, frozen=True):
    """News from any process of this installation: a campaign, its totals, or an erasure (by its number)."""

    kind: NoticeKind
    id: int


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor agreed to on a site."""

    visitor_id: UUID
    site_id: int
    state: Literal["granted", "denied"]
    at_ms: int
