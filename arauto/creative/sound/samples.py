"""Samples: the one shape that every part of this folder takes and gives, and plain arithmetic on it.

A sound is a ``float32`` array of shape ``(frames, channels)`` at :data:`RATE`, full scale at ±1.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE = 44_100
"""Samples a second of everything that is mixed: what the audio placements ask for."""

Sound: TypeAlias = NDArray[np.float32]
Signal: TypeAlias = NDArray[np.float64]


def silence(seconds: float, channels: int = 2) -> Sound:
    """Nothing, for a while."""
    return np.zeros((round(seconds * RATE), channels), np.float32)


def seconds(sound: Sound) -> float:
    """How long ``sound`` lasts."""
    return len(sound) / RATE


def resample(sound: Sound, rate: int) -> Sound:
    """``sound`` brought from ``rate`` to :data:`RATE` by its spectrum: exact for what both rates can hold."""
    if rate == RATE or not len(sound):
        return sound
    # Silence on both sides, so that the end does not ring into the beginning; whole steps of both rates.
    pad, common = rate // 20, math.gcd(rate, RATE)
    steps = fast_size(-(-(len(sound) + 2 * pad) // (rate // common)))
    padded = np.pad(sound, ((pad, steps * (rate // common) - len(sound) - pad), (0, 0)))
    frames = steps * (RATE // common)
    spectrum = np.fft.rfft(padded, axis=0)
    bins = frames // 2 + 1
    spectrum = spectrum[:bins] if bins <= len(spectrum) else np.pad(spectrum, ((0, bins - len(spectrum)), (0, 0)))
    whole = np.fft.irfft(spectrum, frames, axis=0) * (frames / len(padded))
    start = round(pad * RATE / rate)
    return np.asarray(whole[start : start + round(len(sound) * RATE / rate)], np.float32)


@cache
def fast_size(least: int) -> int:
    """The smallest product of twos, threes and fives from ``least`` on: other transforms are many times slower."""
    best = 1 << max(0, least - 1).bit_length()
    for fives in range(10):
        for threes in range(14):
            odd = 5**fives * 3**threes
            if odd < best:
                best = min(best, odd << max(0, (-(-least // odd) - 1).bit_length()))
    return best


def stereo(sound: Sound) -> Sound:
    """Two equal channels of a sound that has one; the first two of any other."""
    return np.repeat(sound, 2, axis=1) if sound.shape[1] == 1 else sound[:, :2]


def trim(sound: Sound, *, threshold: float = 0.004, keep: float = 0.03) -> Sound:
    """``sound`` without the silence around it; ``keep`` seconds of it stay on each side."""
    loud = np.flatnonzero(np.abs(sound).max(axis=1, initial=0.0) > threshold)
    if not len(loud):
        return sound[:0]
    margin = round(keep * RATE)
    return sound[max(0, loud[0] - margin) : loud[-1] + margin]


def fade(sound: Sound, begin: float, end: float) -> Sound:
    """``sound`` with a raised-cosine fade of ``begin`` seconds in and ``end`` seconds out."""
    faded = sound.copy()
    for frames, part in ((round(begin * RATE), slice(None)), (round(end * RATE), slice(None, None, -1))):
        frames = min(frames, len(faded))
        if frames:
            ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
            faded[part][:frames] *= ramp[:, None].astype(np.float32)
    return faded


def place(canvas: Sound, sound: Sound, at: float) -> None:
    """Add ``sound`` to ``canvas`` from ``at`` seconds on; what hangs over the end is cut."""
    start = max(0, round(at * RATE))
    piece = sound[: max(0, len(canvas) - start)]
    canvas[start : start + len(piece)] += piece


def gain(decibels: float) -> float:
    """The factor of ``decibels``."""
    return float(10 ** (decibels / 20))
