"""Which variant, is it better, and how does it reach everyone? Allocation, always-valid inference, release.

Pure functions of counts; nothing here touches a disk, a clock or a network.
"""

from arauto.experiments.adjust import Adjusted, cuped, regression_adjusted
from arauto.experiments.allocation import (
    beta_posterior,
    chance_to_win,
    draw_arms,
    thompson_propensities,
    uniform_propensities,
)
from arauto.experiments.assignment import Slice, arm_of, held_out, place_of, slice_of
from arauto.experiments.bandits import (
    BernoulliBandit,
    Posterior,
    best_probabilities,
    effective_trials,
    floored,
    pooled_prior,
    revenue_chances,
    top_two,
)
from arauto.experiments.comparison import (
    Comparison,
    compare,
    lift_estimate,
    lift_evidence,
    lift_interval,
    lift_score,
    pair_terms,
)
from arauto.experiments.contextual import LinearBandit
from arauto.experiments.guardrails import Guardrail, Measured, Reading, read_guardrail
from arauto.experiments.health import Bots, Novelty, check_novelty, find_bots, multiple_exposure, share_mismatch
from arauto.experiments.interrupted import BeforeAfter, before_after
from arauto.experiments.intervals import (
    Interval,
    QuantileBuckets,
    mean_sequence,
    quantile_interval,
    rate_sequence,
    ratio_mismatch,
    wilson_interval,
)
from arauto.experiments.mixture import Prior, p_value
from arauto.experiments.multiple import discoveries, expected_loss, visitors_left, visitors_needed
from arauto.experiments.offpolicy import Log, OffPolicyEstimate, Overlap, evaluate_policy, overlap_of
from arauto.experiments.rollout import (
    Move,
    ReleasePlan,
    ReleaseState,
    apply_move,
    check_plan,
    manual_move,
    next_move,
    read_guardrails,
    share_of,
    state_after,
)
from arauto.experiments.sequences import (
    QuantileComparison,
    compare_quantiles,
    mean_asymptotic,
    quantile_evidence,
    ratio_asymptotic,
)
from arauto.experiments.uplift import PolicyValue, UpliftCurve, UpliftModel, fit_uplift, policy_value, uplift_curve
from arauto.experiments.warm import Trust

__all__ = [
    "Adjusted",
    "BeforeAfter",
    "BernoulliBandit",
    "Bots",
    "Comparison",
    "Guardrail",
    "Interval",
    "LinearBandit",
    "Log",
    "Measured",
    "Move",
    "Novelty",
    "OffPolicyEstimate",
    "Overlap",
    "PolicyValue",
    "Posterior",
    "Prior",
    "QuantileBuckets",
    "QuantileComparison",
    "Reading",
    "ReleasePlan",
    "ReleaseState",
    "Slice",
    "Trust",
    "UpliftCurve",
    "UpliftModel",
    "apply_move",
    "arm_of",
    "before_after",
    "best_probabilities",
    "beta_posterior",
    "chance_to_win",
    "check_novelty",
    "check_plan",
    "compare",
    "compare_quantiles",
    "cuped",
    "discoveries",
    "draw_arms",
    "effective_trials",
    "evaluate_policy",
    "expected_loss",
    "find_bots",
    "fit_uplift",
    "floored",
    "held_out",
    "lift_estimate",
    "lift_evidence",
    "lift_interval",
    "lift_score",
    "manual_move",
    "mean_asymptotic",
    "mean_sequence",
    "multiple_exposure",
    "next_move",
    "overlap_of",
    "p_value",
    "pair_terms",
    "place_of",
    "policy_value",
    "pooled_prior",
    "quantile_evidence",
    "quantile_interval",
    "rate_sequence",
    "ratio_asymptotic",
    "ratio_mismatch",
    "read_guardrail",
    "read_guardrails",
    "regression_adjusted",
    "revenue_chances",
    "share_mismatch",
    "share_of",
    "slice_of",
    "state_after",
    "thompson_propensities",
    "top_two",
    "uniform_propensities",
    "uplift_curve",
    "visitors_left",
    "visitors_needed",
    "wilson_interval",
]
