"""The mix: the voice over the music, the music ducked under it, the whole at a named loudness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arauto.creative.sound.instruments import room
from arauto.creative.sound.loudness import loudness, reach
from arauto.creative.sound.samples import RATE, Signal, Sound, fast_size, gain, place, silence, stereo

VOICE_LUFS = -17.0
MUSIC_LUFS = -19.5
"""Levels before the mix is brought to its profile: only their difference matters."""
DUCK_DB = -11.5
"""How far the music goes down while somebody speaks: speech stays about 14 dB above it."""
_LOOK_AHEAD, _ATTACK, _RELEASE = 0.18, 0.09, 0.45


def mix(music: Sound, voice: Sequence[tuple[float, Sound]], lufs: float, ceiling: float, seed: int = 0) -> Sound:
    """``music`` with each ``(seconds, line)`` of ``voice`` over it, at ``lufs`` and under ``ceiling`` dBTP."""
    speech = silence(len(music) / RATE)
    for at, line in voice:
        place(speech, stereo(line), at)
    level = loudness(music)
    bed = music * np.float32(gain(MUSIC_LUFS - level)) if voice else music
    if not voice:
        return reach(bed, lufs, ceiling)
    speech = _even(speech)
    speech = speech * np.float32(gain(VOICE_LUFS - loudness(speech)))
    speech = speech + room(speech, np.random.default_rng([seed, 11]), seconds=0.5) * np.float32(0.05)
    whole = speech + bed * _ducking(speech)[:, None].astype(np.float32)
    return reach(np.asarray(whole, np.float32), lufs, ceiling)


def _ducking(speech: Sound) -> Signal:
    """The gain of the music at each sample: down before a word begins, up again slowly after the last one."""
    step = RATE // 100
    frames = np.abs(speech).max(axis=1)
    blocks = np.pad(frames, (0, -len(frames) % step)).reshape(-1, step).max(axis=1) > gain(-38)
    ahead = round(_LOOK_AHEAD * 100)
    speaking = np.convolve(blocks, np.ones(2 * ahead + 1), mode="same") > 0
    level, levels = 0.0, np.empty(len(speaking))
    rise, fall = 1 - np.exp(-0.01 / _ATTACK), 1 - np.exp(-0.01 / _RELEASE)
    for place_, active in enumerate(speaking):
        level += (1.0 - level) * rise if active else (0.0 - level) * fall
        levels[place_] = level
    smooth = np.interp(np.arange(len(frames)), np.arange(len(levels)) * step, levels)
    return np.asarray(10 ** (DUCK_DB * smooth / 20))


def _even(speech: Sound) -> Sound:
    """A gentle compressor (2:1 above -24 dBFS over 20 ms) that lets no word get lost, and no rumble below 70 Hz."""
    size = fast_size(len(speech))
    spectrum = np.fft.rfft(speech, size, axis=0)
    pitch = np.fft.rfftfreq(size, 1 / RATE)
    spectrum *= (1 / (1 + (70 / np.maximum(pitch, 1)) ** 6))[:, None]
    clear = np.fft.irfft(spectrum, size, axis=0)[: len(speech)]
    step = RATE // 50
    blocks = np.pad(clear.mean(axis=1) ** 2, (0, -len(clear) % step)).reshape(-1, step).mean(axis=1)
    window = np.hanning(7)
    power = np.convolve(blocks, window / window.sum(), mode="same")
    decibels = 10 * np.log10(np.maximum(power, 1e-9))
    reduction = -0.5 * np.maximum(decibels + 24, 0)
    smooth = np.interp(np.arange(len(clear)), (np.arange(len(reduction)) + 0.5) * step, reduction)
    return np.asarray(clear * 10 ** (smooth / 20)[:, None], np.float32)
