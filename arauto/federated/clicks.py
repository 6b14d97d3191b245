"""Click-through rate by logistic regression over hashed features, learnt where the impressions are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def gradient(weights: Floats, features: Ints, clicks: Floats, scale: Floats | None = None) -> Floats:
    """What a client sends: the gradient of the log-likelihood of its own impressions, Σ (click − chance) · x.

    ``features`` are its impressions' buckets, impressions × features (a bucket twice counts twice); with ``scale``,
    bucket j counts ``scale[j]``: rare ones may be made to count more, so that clipping does not leave them the least.
    """
    chance = chances(weights, features, scale)
    rest = np.repeat(clicks - chance, features.shape[1])
    if scale is not None:
        rest = rest * scale[features.ravel()]
    return np.bincount(features.ravel(), weights=rest, minlength=len(weights)).astype(np.float64)


def chances(weights: Floats, features: Ints, scale: Floats | None = None) -> Floats:
    """The predicted chance of a click of each row of ``features``."""
    scaled = weights if scale is None else weights * scale
    return np.asarray(1.0 / (1.0 + np.exp(-scaled[features].sum(axis=1))))


def counts(features: Ints, dim: int) -> Floats:
    """How often a client met each bucket."""
    return np.bincount(features.ravel(), minlength=dim).astype(np.float64)


def scale_of(frequency: Floats, power: float, least: float = 1e-4) -> Floats:
    """Each bucket's scale from how often an impression has it: (f + ``least``)^−``power``, bucket 0's being 1."""
    scale = (np.clip(frequency, 0.0, 1.0) + least) ** -power
    return np.asarray(scale / scale[0])
