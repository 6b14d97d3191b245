"""What happens next: decide, observe, learn, release. Ties the capabilities together."""

from arauto.loop.admit import admit, read_batch, with_key
from arauto.loop.answers import AllRefused, CampaignDetail, CandidatesAnswer, DecideAnswer, EventsAnswer
from arauto.loop.audience import Audience, Neighbours, Offers, Segments, encode_audience, open_audience, train_encoder
from arauto.loop.campaigns import (
    Created,
    NewCampaign,
    add_copies,
    change_brief,
    change_plan,
    change_text,
    create_campaign,
    findings_of,
    register_jobs,
    write_at_once,
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
from arauto.loop.edge import EdgeScreen, EdgeVersion, edge_campaigns, edge_screen
from arauto.loop.evidence import default_rails, standard_guardrail
from arauto.loop.experiment import ComparedArm, Experiment, read_experiment
from arauto.loop.federated import FederatedRound, FederatedTask, federated_tasks, release_model
from arauto.loop.kits import brief_findings, kit_folder, make_kit_later, read_kit, unwaive, waive_finding
from arauto.loop.policy import Policy, check_deal, make_policy
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
from arauto.loop.turns import NewTurn, Turn, can_train, feedback_files, read_turns, turn_later

__all__ = [
    "AllRefused",
    "Audience",
    "CampaignDetail",
    "CandidatesAnswer",
    "ComparedArm",
    "Created",
    "DecideAnswer",
    "Decider",
    "EdgeScreen",
    "EdgeVersion",
    "Estimate",
    "EventsAnswer",
    "Experiment",
    "FederatedRound",
    "FederatedTask",
    "Neighbours",
    "NewCampaign",
    "NewRelease",
    "NewTurn",
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
    "Turn",
    "VariantNumbers",
    "Vital",
    "add_copies",
    "admit",
    "archive_events",
    "brief_findings",
    "build_report",
    "can_train",
    "change_brief",
    "change_plan",
    "change_text",
    "check_deal",
    "create_campaign",
    "default_rails",
    "describe_replay",
    "edge_campaigns",
    "edge_screen",
    "encode_audience",
    "examine",
    "federated_tasks",
    "feedback_files",
    "findings_of",
    "kit_folder",
    "latest_release",
    "list_releases",
    "load_open_bandit",
    "look",
    "make_kit_later",
    "make_policy",
    "open_audience",
    "open_bandit_here",
    "open_bandit_path",
    "pull_open_bandit",
    "read_batch",
    "read_experiment",
    "read_kit",
    "read_release",
    "read_turns",
    "register_jobs",
    "release_model",
    "replay_log",
    "standard_guardrail",
    "start_release",
    "steer_release",
    "train_encoder",
    "turn_later",
    "unwaive",
    "waive_finding",
    "where",
    "with_key",
    "write_at_once",
    "write_later",
]
