"""What happens next: decide, observe, learn, release. Ties the capabilities together."""

from arauto.loop.admit import admit, read_batch, with_key
from arauto.loop.answers import AllRefused, CampaignDetail, DecideAnswer, EventsAnswer
from arauto.loop.audience import Audience, Neighbours, Offers, Segments, open_audience, train_encoder
from arauto.loop.campaigns import (
    Created,
    NewCampaign,
    add_copies,
    create_campaign,
    register_jobs,
    write_later,
)
from arauto.loop.datasets import (
    OpenBanditLog,
    load_open_bandit,
    open_bandit_here,
    open_bandit_path,
    pull_open_bandit,
)
from arauto.loop.decide import Decider
from arauto.loop.doctor import Symptom, examine
from arauto.loop.evidence import standard_guardrail
from arauto.loop.experiment import Experiment, read_experiment
from arauto.loop.policy import Policy, make_policy
from arauto.loop.release import (
    NewRelease,
    Release,
    ReleaseAction,
    ReleaseMove,
    latest_release,
    list_releases,
    look,
    read_release,
    start_release,
    steer_release,
)
from arauto.loop.remote import NoAnswerError, Remote
from arauto.loop.replay import ReplayResult, describe_replay, replay_log
from arauto.loop.report import Estimate, Report, VariantNumbers, Vital, build_report
from arauto.loop.retention import archive_events
from arauto.loop.runtime import Runtime
from arauto.loop.simulate import Sent, Simulation
from arauto.loop.trace import where

__all__ = [
    "AllRefused",
    "Audience",
    "CampaignDetail",
    "Created",
    "DecideAnswer",
    "Decider",
    "Estimate",
    "EventsAnswer",
    "Experiment",
    "Neighbours",
    "NewCampaign",
    "NewRelease",
    "NoAnswerError",
    "Offers",
    "OpenBanditLog",
    "Policy",
    "Release",
    "ReleaseAction",
    "ReleaseMove",
    "Remote",
    "ReplayResult",
    "Report",
    "Runtime",
    "Segments",
    "Sent",
    "Simulation",
    "Symptom",
    "VariantNumbers",
    "Vital",
    "add_copies",
    "admit",
    "archive_events",
    "build_report",
    "create_campaign",
    "describe_replay",
    "examine",
    "latest_release",
    "list_releases",
    "load_open_bandit",
    "look",
    "make_policy",
    "open_audience",
    "open_bandit_here",
    "open_bandit_path",
    "pull_open_bandit",
    "read_batch",
    "read_experiment",
    "read_release",
    "register_jobs",
    "replay_log",
    "standard_guardrail",
    "start_release",
    "steer_release",
    "train_encoder",
    "where",
    "with_key",
    "write_later",
]
