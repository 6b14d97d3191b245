"""GPO, generative pre-trained optimisation: a generator learns from real feedback, through a reward model and PPO."""

from arauto.gpo.encoders import Encoder, SentenceEncoder, Tfidf
from arauto.gpo.episodes import EpisodePolicy, Log, earned_in_episode, fit_critic, imitate, learn_from_log, log_of
from arauto.gpo.export import export_gguf
from arauto.gpo.finetune import FineTune
from arauto.gpo.gate import LEAST_PAIRS, Gate, GateReport, evaluate_reward, require_passed
from arauto.gpo.lm import Generator
from arauto.gpo.monitors import Monitor, Reading, StopRule, Verdict
from arauto.gpo.objective import Objective, Rules
from arauto.gpo.people import (
    Demonstrations,
    Stages,
    demonstrations_of,
    learn_from_people,
    play,
    policy_for,
    read_demonstrations,
)
from arauto.gpo.ppo import PPO, Algorithm, Policy, PPOPlan, Rewards, Rollout, check_plan
from arauto.gpo.progress import Progress
from arauto.gpo.reward import RewardModel, Scores, train_reward
from arauto.gpo.table import Table, read_table, table_of
from arauto.gpo.turn import (
    Candidate,
    Comparison,
    compare,
    contexts_of,
    load_policy,
    make_base,
    optimise,
    read_candidate,
    read_contexts,
    readings_of,
    scores_as_gold,
    write_contexts,
    write_texts,
)
from arauto.gpo.weights import known_weights, weights_folder
from arauto.gpo.writer import CUT, LanguagePolicy

__all__ = [
    "CUT",
    "LEAST_PAIRS",
    "PPO",
    "Algorithm",
    "Candidate",
    "Comparison",
    "Demonstrations",
    "Encoder",
    "EpisodePolicy",
    "FineTune",
    "Gate",
    "GateReport",
    "Generator",
    "LanguagePolicy",
    "Log",
    "Monitor",
    "Objective",
    "PPOPlan",
    "Policy",
    "Progress",
    "Reading",
    "RewardModel",
    "Rewards",
    "Rollout",
    "Rules",
    "Scores",
    "SentenceEncoder",
    "Stages",
    "StopRule",
    "Table",
    "Tfidf",
    "Verdict",
    "check_plan",
    "compare",
    "contexts_of",
    "demonstrations_of",
    "earned_in_episode",
    "evaluate_reward",
    "export_gguf",
    "fit_critic",
    "imitate",
    "known_weights",
    "learn_from_log",
    "learn_from_people",
    "load_policy",
    "log_of",
    "make_base",
    "optimise",
    "play",
    "policy_for",
    "read_candidate",
    "read_contexts",
    "read_demonstrations",
    "read_table",
    "readings_of",
    "require_passed",
    "scores_as_gold",
    "table_of",
    "train_reward",
    "weights_folder",
    "write_contexts",
    "write_texts",
]
