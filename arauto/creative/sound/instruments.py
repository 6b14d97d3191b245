"""Instruments made of arithmetic: each plays one note and returns mono samples at :data:`~.samples.RATE`.

``frequency`` in hertz, ``seconds`` is how long the note is held; what rings after it is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from arauto.creative.sound.samples import RATE, Signal, Sound, fast_size

Instrument = Callable[[float, float, np.random.Generator], Signal]

_TOP = 9_000.0
"""No partial above this, in hertz: it keeps the sound warm and clear of the voice's sibilants."""


def _times(seconds: float) -> Signal:
    return np.arange(max(1, round(seconds * RATE))) / RATE


def _held(seconds: float, attack: float, release: float) -> Signal:
    """Rises, stays, falls: raised cosines, so that nothing clicks."""
    times = _times(seconds + release)
    rise = np.clip(times / attack, 0, 1)
    fall = np.clip((seconds + release - times) / release, 0, 1)
    return np.asarray(np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2)


def pad(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A soft chord voice: three slightly detuned tones whose partials fall off quickly."""
    envelope = _held(seconds, min(0.35, seconds / 2), 0.7)
    times = np.arange(len(envelope)) / RATE
    sound = np.zeros(len(times))
    for detune in (-0.0022, 0.0, 0.0021):
        pitch, phase = frequency * (1 + detune), draw.uniform(0, 2 * np.pi)
        for partial in range(1, 7):
            if pitch * partial < min(_TOP, 2600):
                sound += np.sin(2 * np.pi * pitch * partial * times + phase * partial) / partial**1.55
    return np.asarray(sound * envelope * (1 + 0.06 * np.sin(2 * np.pi * 0.7 * times)) / 3)


def keys(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """An electric piano: frequency modulation whose brightness dies before the tone does."""
    del draw
    times = _times(max(seconds, 0.3) + 0.9)
    bright = np.exp(-times * 5.5) * min(2.2, 1300 / frequency)
    bell = 0.12 * np.sin(2 * np.pi * frequency * 4 * times) * np.exp(-times * 14)
    tone = np.sin(2 * np.pi * frequency * times + bright * np.sin(2 * np.pi * frequency * times))
    return np.asarray((tone + bell) * np.exp(-times * 2.4) * _held(max(seconds, 0.3) + 0.4, 0.004, 0.5)[: len(times)])


def mallet(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A marimba: the bar's first partials (1, 4, 9.2), each dying faster than the one below."""
    del seconds, draw
    times = _times(1.1)
    sound = np.sin(2 * np.pi * frequency * times) * np.exp(-times * 5)
    sound += 0.36 * np.sin(2 * np.pi * frequency * 3.98 * times) * np.exp(-times * 16)
    if frequency * 9.2 < _TOP:
        sound += 0.14 * np.sin(2 * np.pi * frequency * 9.2 * times) * np.exp(-times * 32)
    return np.asarray(sound * _held(1.0, 0.002, 0.1))


def pluck(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A nylon string: partials that start as a plucked string's do and die the faster the higher they are."""
    times = _times(max(seconds, 0.4) + 0.8)
    sound = np.zeros(len(times))
    for partial in range(1, 13):
        pitch = frequency * partial * np.sqrt(1 + 0.00012 * partial**2)
        if pitch < _TOP:
            strength = np.sin(np.pi * partial * 0.19) / partial**1.5
            sound += (
                strength * np.sin(2 * np.pi * pitch * times + draw.uniform(0, 0.4)) * np.exp(-times * (2 + partial))
            )
    return np.asarray(sound * 1.3 * _held(max(seconds, 0.4) + 0.6, 0.003, 0.2))


def bass(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A round bass: the tone, its octave and a little of its twelfth, so that small speakers hear it too."""
    del draw
    envelope = _held(seconds, 0.008, 0.09)
    times = np.arange(len(envelope)) / RATE
    tone = np.sin(2 * np.pi * frequency * times)
    tone += 0.42 * np.sin(4 * np.pi * frequency * times) * np.exp(-times * 3)
    tone += 0.16 * np.sin(6 * np.pi * frequency * times) * np.exp(-times * 6)
    return np.asarray(tone * envelope * (0.55 + 0.45 * np.exp(-times * 2.5)))


def kick(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A bass drum: a tone that falls from 130 to 48 Hz, and a soft click."""
    del frequency, seconds
    times = _times(0.32)
    phase = 2 * np.pi * (48 * times + 82 / 38 * (1 - np.exp(-38 * times)))
    click = band(draw.standard_normal(len(times)), 900, 4000) * np.exp(-times * 260) * 0.3
    return np.asarray((np.sin(phase) * np.exp(-times * 11) + click) * _held(0.24, 0.001, 0.08))


def clap(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """Hands: bursts of noise, close together, then a short tail."""
    del frequency, seconds
    times = _times(0.26)
    shape = sum(np.exp(-np.clip(times - late, 0, None) * 95) * (times >= late) for late in (0.0, 0.011, 0.023))
    return np.asarray(band(draw.standard_normal(len(times)), 700, 5200) * (shape + np.exp(-times * 22) * 0.5) * 0.4)


def hat(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A closed hi-hat, kept dark."""
    del frequency
    times = _times(max(0.05, min(seconds, 0.18)))
    return np.asarray(band(draw.standard_normal(len(times)), 5200, 11000) * np.exp(-times * 62) * 0.5)


def shaker(frequency: float, seconds: float, draw: np.random.Generator) -> Signal:
    """A shaker: noise that swells and stops."""
    del frequency, seconds
    times = _times(0.11)
    return np.asarray(band(draw.standard_normal(len(times)), 3800, 9500) * np.sin(np.pi * times / 0.11) ** 3 * 0.35)


def band(noise: Signal, low: float, high: float) -> Signal:
    """``noise`` between two frequencies, with soft edges."""
    size = fast_size(len(noise))
    spectrum = np.fft.rfft(noise, size)
    pitch = np.fft.rfftfreq(size, 1 / RATE)
    spectrum *= 1 / (1 + (low / np.maximum(pitch, 1)) ** 6) / (1 + (pitch / high) ** 6)
    return np.asarray(np.fft.irfft(spectrum, size)[: len(noise)])


def room(dry: Sound, draw: np.random.Generator, *, seconds: float = 1.3) -> Sound:
    """The reverberation of ``dry`` in a small hall: decaying noise, different left and right, without its lows."""
    times = np.arange(round(seconds * RATE)) / RATE
    answers = [
        band(draw.standard_normal(len(times)), 260, 5000) * np.exp(-times * 4.6) * np.clip(times / 0.012, 0, 1)
        for _ in range(2)
    ]
    frames = len(dry) + len(times)
    size = 1 << (frames - 1).bit_length()
    wet = [
        np.fft.irfft(np.fft.rfft(dry[:, side], size) * np.fft.rfft(answers[side], size), size)[: len(dry)]
        for side in range(2)
    ]
    norm = float(np.sqrt((answers[0] ** 2).sum()))
    return np.asarray(np.stack(wet, axis=1) / norm, np.float32)


INSTRUMENTS: dict[str, Instrument] = {
    "pad": pad,
    "keys": keys,
    "mallet": mallet,
    "pluck": pluck,
    "bass": bass,
    "kick": kick,
    "clap": clap,
    "hat": hat,
    "shaker": shaker,
}
