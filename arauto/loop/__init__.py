"""What happens next: decide, observe, learn, release. Ties the capabilities together."""

from arauto.loop.admit import admit, read_batch, with_key
from arauto.loop.answers import AllRefused, CampaignDetail, DecideAnswer, EventsAnswer
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
from arauto.loop.decide import Decider, Policy, make_policy
from arauto.loop.doctor import Symptom, examine
from arauto.loop.remote import NoAnswerError, Remote
from arauto.loop.replay import ReplayResult, describe_replay, replay_log
from arauto.loop.report import Estimate, Report, VariantNumbers, Vital, build_report
from arauto.loop.runtime import Runtime
from arauto.loop.simulate import Sent, Simulation
from arauto.loop.trace import where

__all__ = [
    "AllRefused",
    "CampaignDetail",
    "Created",
    "DecideAnswer",
    "Decider",
    "Estimate",
    "EventsAnswer",
    "NewCampaign",
    "NoAnswerError",
    "OpenBanditLog",
    "Policy",
    "Remote",
    "ReplayResult",
    "Report",
    "Runtime",
    "Sent",
    "Simulation",
    "Symptom",
    "VariantNumbers",
    "Vital",
    "add_copies",
    "admit",
    "build_report",
    "create_campaign",
    "describe_replay",
    "examine",
    "load_open_bandit",
    "make_policy",
    "open_bandit_here",
    "open_bandit_path",
    "pull_open_bandit",
    "read_batch",
    "register_jobs",
    "replay_log",
    "where",
    "with_key",
    "write_later",
]
