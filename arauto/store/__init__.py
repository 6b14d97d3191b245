"""What happened, and what exists: the event log with its rollups, the catalogue, jobs, privacy. One PostgreSQL."""

from arauto.store.backup import backup, restore
from arauto.store.catalogue import Catalogue
from arauto.store.events import EventLog
from arauto.store.health import Health
from arauto.store.jobs import JobContext, Jobs
from arauto.store.privacy import Privacy
from arauto.store.records import (
    COUNTERS,
    Appended,
    AppendStatus,
    ArmTotals,
    AuditEntry,
    Consent,
    Counts,
    FirstKit,
    JobState,
    JobStatus,
    ModelRow,
    Notice,
    NoticeKind,
    Recount,
    ReleaseRow,
    SeriesPoint,
    Step,
    VitalHistogram,
    Weights,
)
from arauto.store.rollups import Rollups
from arauto.store.store import Store
from arauto.store.vitals import bucket_of, quantile_of, reading_of

__all__ = [
    "COUNTERS",
    "AppendStatus",
    "Appended",
    "ArmTotals",
    "AuditEntry",
    "Catalogue",
    "Consent",
    "Counts",
    "EventLog",
    "FirstKit",
    "Health",
    "JobContext",
    "JobState",
    "JobStatus",
    "Jobs",
    "ModelRow",
    "Notice",
    "NoticeKind",
    "Privacy",
    "Recount",
    "ReleaseRow",
    "Rollups",
    "SeriesPoint",
    "Step",
    "Store",
    "VitalHistogram",
    "Weights",
    "backup",
    "bucket_of",
    "quantile_of",
    "reading_of",
    "restore",
]
