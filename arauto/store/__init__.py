"""What happened, and what exists: the event log with its rollups, the catalogue, jobs, privacy. One PostgreSQL."""

from arauto.store.archive import Archived
from arauto.store.backup import backup, restore
from arauto.store.catalogue import Catalogue
from arauto.store.events import EventLog
from arauto.store.federated import FederatedModel, FederatedRounds, RoundRow, SiteRow, TaskRow
from arauto.store.forms import Forms
from arauto.store.health import Health
from arauto.store.jobs import JobContext, Jobs
from arauto.store.privacy import Privacy
from arauto.store.records import (
    COUNTERS,
    Appended,
    AppendStatus,
    ArmOutcomes,
    ArmTotals,
    AuditEntry,
    Consent,
    Counts,
    FirstKit,
    GroupOutcomes,
    JobState,
    JobStatus,
    ModelRow,
    Notice,
    NoticeKind,
    PartTotals,
    Recount,
    ReleaseRow,
    Rollout,
    RolloutMove,
    SeriesPoint,
    Staged,
    StageMark,
    StageTotals,
    StageVital,
    Step,
    Tally,
    VitalHistogram,
    Weights,
)
from arauto.store.rollouts import Rollouts
from arauto.store.rollups import Rollups
from arauto.store.states import Remembered, States, Told
from arauto.store.store import Store
from arauto.store.tallies import Tallies
from arauto.store.users import User, Users
from arauto.store.vitals import BUCKET_RATIO, ZERO_BUCKET, bucket_of, quantile_of, reading_of

__all__ = [
    "BUCKET_RATIO",
    "COUNTERS",
    "ZERO_BUCKET",
    "AppendStatus",
    "Appended",
    "Archived",
    "ArmOutcomes",
    "ArmTotals",
    "AuditEntry",
    "Catalogue",
    "Consent",
    "Counts",
    "EventLog",
    "FederatedModel",
    "FederatedRounds",
    "FirstKit",
    "Forms",
    "GroupOutcomes",
    "Health",
    "JobContext",
    "JobState",
    "JobStatus",
    "Jobs",
    "ModelRow",
    "Notice",
    "NoticeKind",
    "PartTotals",
    "Privacy",
    "Recount",
    "ReleaseRow",
    "Remembered",
    "Rollout",
    "RolloutMove",
    "Rollouts",
    "Rollups",
    "RoundRow",
    "SeriesPoint",
    "SiteRow",
    "StageMark",
    "StageTotals",
    "StageVital",
    "Staged",
    "States",
    "Step",
    "Store",
    "Tallies",
    "Tally",
    "TaskRow",
    "Told",
    "User",
    "Users",
    "VitalHistogram",
    "Weights",
    "backup",
    "bucket_of",
    "quantile_of",
    "reading_of",
    "restore",
]
