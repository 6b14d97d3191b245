"""Off-policy estimation: the value of a policy never shown, from a log with propensities, or a plain refusal."""

from arauto.experiments.offpolicy.evaluate import OffPolicyEstimate, abstention, evaluate_policy
from arauto.experiments.offpolicy.log import Log, Overlap, overlap_of

__all__ = ["Log", "OffPolicyEstimate", "Overlap", "abstention", "evaluate_policy", "overlap_of"]
