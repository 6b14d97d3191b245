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


def tally(features: Ints, dim: int) -> Floats:
    """What a client sends to be counted: for each bucket whether it met it, then how often, divided by eight. Bucket 0,
    the bias, is known to everyone and left out. The norm stays small, so little noise hides it."""
    often = np.bincount(features.ravel(), minlength=dim).astype(np.float64)
    often[0] = 0.0
    return np.concatenate((np.minimum(often, 1.0), often / 8))


def frequency_of(tallies: Floats, impressions: float, noise: float) -> Floats:
    """How often an impression has each bucket, of the mean of :func:`tally` over clients with so many ``impressions``.

    What a client has at all is told more surely than how often; the latter counts where it stands out by four times
    ``noise``, its standard deviation in the mean. Buckets that one client has in all of its impressions need that.
    """
    dim = len(tallies) // 2
    rare, often = tallies[:dim] / impressions, tallies[dim:] * 8 / impressions
    found = np.where(often > 4 * noise * 8 / impressions, often, rare)
    found[0] = 1.0
    return np.clip(found, 0.0, 1.0)


def scale_of(frequency: Floats, power: float = 0.5, least: float = 1e-3) -> Floats:
    """Each bucket's scale from how often an impression has it: (f + ``least``)^−``power``, bucket 0's being 1.

    At ½ all buckets move alike for the same evidence, and noise costs each as much: what clipping and a few noisy
    rounds need.
    """
    scale = (frequency + least) ** -power
    return np.asarray(scale / scale[0])
