"""Loudness and true peak by ITU-R BS.1770-4 (the meter of EBU R128 and ATSC A/85), and the way to a target.

Filters are applied to the whole signal by their frequency response, which is exact for signals that begin and end in
silence: what is padded on here.
"""

from __future__ import annotations

import numpy as np

from arauto.creative.sound.samples import RATE, Signal, Sound, fast_size, gain

_BLOCK, _STEP = 0.4, 0.1
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_OVERSAMPLING = 4
SILENT = -70.0
"""What a sound without any loud block measures, in LUFS."""


def loudness(sound: Sound) -> float:
    """Integrated loudness in LUFS, gated; :data:`SILENT` when nothing passes the gate."""
    power = _block_power(sound)
    loud = power[_lufs(power) > _ABSOLUTE_GATE]
    if not len(loud):
        return SILENT
    kept = loud[_lufs(loud) > float(_lufs(loud.mean())) + _RELATIVE_GATE]
    return float(_lufs(kept.mean()))


def true_peak(sound: Sound) -> float:
    """The highest point of the waveform between the samples too, in dBTP (annex 2: four times oversampled)."""
    if not len(sound):
        return -np.inf
    return float(20 * np.log10(max(float(_peaks(sound).max()), 1e-9)))


def reach(sound: Sound, lufs: float, ceiling: float) -> Sound:
    """``sound`` brought to ``lufs``, its true peak held under ``ceiling`` dBTP by a limiter that looks ahead.

    Limiting takes loudness away, so that the gain is found in a few rounds.
    """
    level = loudness(sound)
    if level <= SILENT:
        return sound
    more, best = lufs - level, sound
    for _ in range(4):
        best = limit(sound * np.float32(gain(more)), ceiling)
        missing = lufs - loudness(best)
        if abs(missing) < 0.05:
            break
        more += missing
    return best


def limit(sound: Sound, ceiling: float) -> Sound:
    """``sound`` turned down around each point over ``ceiling`` dBTP, 5 ms before and after it, and nowhere else."""
    peaks = _peaks(sound).reshape(len(sound), -1).max(axis=1)
    highest = gain(ceiling)
    if not len(peaks) or peaks.max() <= highest:
        return sound
    wanted = np.minimum(1.0, highest / np.maximum(peaks, 1e-9))
    reach_ = round(0.005 * RATE)
    lowest = np.lib.stride_tricks.sliding_window_view(np.pad(wanted, 2 * reach_, constant_values=1.0), 2 * reach_ + 1)
    held = lowest.min(axis=1)
    window = np.hanning(2 * reach_ + 3)[1:-1]
    # A weighted mean of gains that are all low enough is low enough: the ceiling holds.
    smooth = np.convolve(held, window / window.sum(), mode="valid")
    return sound * smooth[:, None].astype(np.float32)


def _block_power(sound: Sound) -> Signal:
    """Mean square of each block of 400 ms, K-weighted, summed over the channels (left and right weigh one each)."""
    block, step = round(_BLOCK * RATE), round(_STEP * RATE)
    if len(sound) < block:
        sound = np.pad(sound, ((0, block - len(sound)), (0, 0)))
    weighted = _k_weighted(sound)
    total = np.concatenate([[0.0], np.cumsum((weighted**2).sum(axis=1))])
    starts = np.arange(0, len(sound) - block + 1, step)
    return np.asarray((total[starts + block] - total[starts]) / block)


def _lufs(power: Signal | float) -> Signal:
    return np.asarray(-0.691 + 10 * np.log10(np.maximum(power, 1e-12)))


def _k_weighted(sound: Sound) -> Signal:
    """The two filters of annex 1: a shelf of +4 dB above 2 kHz (the head) and a high-pass at 38 Hz."""
    frames = fast_size(len(sound) + RATE // 2)
    frames += frames % 2
    turn = np.exp(-1j * np.linspace(0, np.pi, frames // 2 + 1))
    response = np.ones(len(turn), complex)
    for over, under in (_shelf(), _high_pass()):
        response *= np.polyval(over[::-1], turn) / np.polyval(under[::-1], turn)
    spectrum = np.fft.rfft(sound, frames, axis=0)
    return np.asarray(np.fft.irfft(spectrum * response[:, None], frames, axis=0)[: len(sound)])


def _shelf() -> tuple[Signal, Signal]:
    """Coefficients at any rate, from the analogue filter that the standard's table at 48 kHz comes from."""
    k = np.tan(np.pi * 1681.974450955533 / RATE)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + k / q + k * k
    over = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
    return over / scale, np.array([scale, 2 * (k * k - 1), 1 - k / q + k * k]) / scale


def _high_pass() -> tuple[Signal, Signal]:
    k, q = np.tan(np.pi * 38.13547087602444 / RATE), 0.5003270373238773
    scale = 1 + k / q + k * k
    return np.array([1.0, -2.0, 1.0]), np.array([scale, 2 * (k * k - 1), 1 - k / q + k * k]) / scale


def _peaks(sound: Sound) -> Signal:
    """The magnitude of the four times oversampled signal, the louder channel of each moment."""
    pad = 512
    padded = np.pad(sound, ((pad, fast_size(len(sound) + 2 * pad) - len(sound) - pad), (0, 0)))
    frames = len(padded) * _OVERSAMPLING
    spectrum = np.fft.rfft(padded, axis=0)
    fine = np.fft.irfft(spectrum, frames, axis=0) * _OVERSAMPLING
    start = pad * _OVERSAMPLING
    return np.asarray(np.abs(fine[start : start + len(sound) * _OVERSAMPLING]).max(axis=1))
