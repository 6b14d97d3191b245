"""Which variant, and is it better? Allocation with exact propensities, and statistics that hold whenever one looks.

Pure functions of counts; nothing here touches a disk, a clock or a network.
"""

from arauto.experiments.allocation import (
    beta_posterior,
    chance_to_win,
    draw_arms,
    thompson_propensities,
    uniform_propensities,
)
from arauto.experiments.intervals import (
    Interval,
    QuantileBuckets,
    mean_sequence,
    quantile_interval,
    rate_sequence,
    ratio_mismatch,
    wilson_interval,
)

__all__ = [
    "Interval",
    "QuantileBuckets",
    "beta_posterior",
    "chance_to_win",
    "draw_arms",
    "mean_sequence",
    "quantile_interval",
    "rate_sequence",
    "ratio_mismatch",
    "thompson_propensities",
    "uniform_propensities",
    "wilson_interval",
]
