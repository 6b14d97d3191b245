"""Histograms of web vitals with a promised relative accuracy, as integers that add up.

DDSketch (Masson, Rim, Lee, 2019, "DDSketch: A fast and fully-mergeable quantile sketch with relative-error
guarantees"), with a fixed range instead of collapsing: a reading above :data:`LEAST` goes to bucket ``⌈log_γ reading⌉``
with γ = (1 + α) / (1 − α), so every value of a bucket lies within α of :func:`reading_of`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

ACCURACY = 0.02
"""α: half the relative width of a bucket."""
LEAST = 1e-4
"""Readings up to here (a layout shift of a ten-thousandth, a tenth of a microsecond) are told apart no further."""
ZERO_BUCKET = -1000

BUCKET_RATIO = (1 + ACCURACY) / (1 - ACCURACY)
"""γ: each bucket holds readings up to so many times those of the one before."""
_LOG_GAMMA = math.log(BUCKET_RATIO)


def bucket_of(reading: float) -> int:
    """The bucket of a reading.

    Raises:
        ValueError: when it is negative, infinite or not a number.
    """
    if not 0 <= reading < math.inf:
        raise ValueError(f"a reading is a number from 0 on, not {reading}")
    return ZERO_BUCKET if reading <= LEAST else math.ceil(math.log(reading) / _LOG_GAMMA)


def reading_of(bucket: int) -> float:
    """The value that stands for a bucket: at most 2 % from any reading in it."""
    return 0.0 if bucket <= ZERO_BUCKET else 2 * BUCKET_RATIO**bucket / (BUCKET_RATIO + 1)


def quantile_of(buckets: Mapping[int, int], q: float) -> float | None:
    """The ``q``-quantile (0 to 1; lower nearest rank) of a histogram, or None when it is empty."""
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
    total = sum(buckets.values())
    if total == 0:
        return None
    rank = max(1, math.ceil(q * total))
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            return reading_of(bucket)
    raise ValueError("a histogram counts nothing below zero")
