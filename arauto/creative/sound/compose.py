"""A short piece of music for a mood: chords, bass, drums and a melody, the same for the same seed.

The piece fills a given time: whole bars at the tempo that fits best, then a last chord that rings out. It begins
sparsely, for a voice has the first word, and is full from the second phrase on.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from arauto.creative.sound.instruments import INSTRUMENTS, room
from arauto.creative.sound.samples import RATE, Sound, fade, fast_size, place, silence

Mood = Literal["bright", "calm", "driving", "warm"]


class Note(msgspec.Struct, frozen=True):
    """``at`` and ``beats`` are in beats, ``pitch`` in MIDI numbers, ``level`` from 0 to 1, ``side`` from -1 to 1."""

    instrument: str
    at: float
    beats: float
    pitch: float
    level: float
    side: float = 0.0


class _Style(msgspec.Struct, frozen=True):
    """``tempos`` is a range in beats a minute; ``progressions`` are degrees of the scale, a bar each, major at 0."""

    tempos: tuple[float, float]
    roots: tuple[int, ...]
    progressions: tuple[tuple[int, ...], ...]
    lead: str
    comp: str
    comp_steps: tuple[float, ...]
    kicks: tuple[float, ...] = ()
    claps: tuple[float, ...] = ()
    hats: tuple[float, ...] = ()
    shakers: tuple[float, ...] = ()
    minor: bool = False


_EIGHTHS = tuple(step / 2 for step in range(8))
_STYLES: dict[Mood, _Style] = {
    "bright": _Style(
        tempos=(108, 122),
        roots=(60, 62, 65),
        progressions=((0, 4, 5, 3), (0, 3, 5, 4), (3, 0, 4, 5)),
        lead="mallet",
        comp="pluck",
        comp_steps=(0, 0.75, 1.5, 2, 2.75, 3.5),
        kicks=(0, 1, 2, 3),
        claps=(1, 3),
        shakers=_EIGHTHS,
    ),
    "calm": _Style(
        tempos=(72, 84),
        roots=(57, 60, 62),
        progressions=((0, 5, 3, 4), (0, 2, 3, 3), (3, 4, 0, 5)),
        lead="keys",
        comp="keys",
        comp_steps=(0, 1, 1.5, 2.5, 3),
        shakers=(1, 3),
    ),
    "driving": _Style(
        tempos=(120, 128),
        roots=(57, 59, 62),
        progressions=((0, 5, 2, 6), (0, 2, 6, 5), (0, 3, 5, 6)),
        lead="pluck",
        comp="keys",
        comp_steps=(0, 0.5, 1.5, 2, 3, 3.5),
        kicks=(0, 1, 2, 3),
        claps=(1, 3),
        hats=(0.5, 1.5, 2.5, 3.5),
        shakers=_EIGHTHS,
        minor=True,
    ),
    "warm": _Style(
        tempos=(88, 100),
        roots=(58, 60, 63),
        progressions=((0, 5, 1, 4), (0, 4, 3, 4), (3, 4, 2, 5)),
        lead="mallet",
        comp="keys",
        comp_steps=(0, 1.5, 2, 3.5),
        kicks=(0, 2.5),
        claps=(1, 3),
        shakers=_EIGHTHS,
    ),
}
MOODS: tuple[Mood, ...] = tuple(_STYLES)

_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_TAIL = 2.2
"""Seconds in which the last chord rings."""

_LEVELS = {
    "pad": 0.13,
    "keys": 0.17,
    "mallet": 0.24,
    "pluck": 0.2,
    "bass": 0.24,
    "kick": 0.40,
    "clap": 0.26,
    "hat": 0.17,
    "shaker": 0.2,
}
_WET = {"pad": 0.35, "keys": 0.22, "mallet": 0.34, "pluck": 0.25, "clap": 0.18}


def play(mood: Mood, seconds: float, seed: int) -> Sound:
    """The piece as stereo samples, exactly ``seconds`` long, its highest sample at about -6 dBFS."""
    draw = np.random.default_rng([seed, MOODS.index(mood)])
    notes, tempo = compose(mood, seconds, seed)
    dry, wet = silence(seconds), silence(seconds)
    known: dict[tuple[str, float, float], Sound] = {}
    for note in notes:
        key = (note.instrument, note.pitch, note.beats)
        if key not in known:
            hertz = 440 * 2 ** ((note.pitch - 69) / 12)
            mono = INSTRUMENTS[note.instrument](hertz, note.beats * 60 / tempo, draw)
            known[key] = np.asarray(mono[:, None] * _LEVELS[note.instrument], np.float32)
        angle = np.pi / 4 * (1 + 0.7 * note.side)
        panned = known[key] * np.array([np.cos(angle), np.sin(angle)], np.float32) * np.float32(note.level * 1.414)
        place(dry, panned, note.at * 60 / tempo)
        place(wet, panned * np.float32(_WET.get(note.instrument, 0.0)), note.at * 60 / tempo)
    whole = np.tanh(dry + room(wet, draw))
    whole = _balanced(whole)
    return fade(np.asarray(whole * (0.5 / max(float(np.abs(whole).max()), 1e-6)), np.float32), 0.01, 0.7)


def compose(mood: Mood, seconds: float, seed: int) -> tuple[list[Note], float]:
    """The notes, and the tempo in beats a minute: whole bars, then the last chord."""
    style, draw = _STYLES[mood], np.random.default_rng([seed, 7, MOODS.index(mood)])
    tail = min(_TAIL, seconds / 3)
    bars, tempo = _fit(seconds - tail, style.tempos)
    root = int(draw.choice(style.roots))
    progression = style.progressions[int(draw.integers(len(style.progressions)))]
    motif = _motif(draw)
    notes: list[Note] = []
    for bar in range(bars):
        degree = progression[bar % 4]
        full = bar >= min(2, bars - 1)
        notes += _chords(style, root, degree, bar, full=full)
        notes += _drums(style, bar, full=full, last=bar == bars - 1, draw=draw)
        if bar % 4 != 0 or bar > 0:
            notes += _melody(style, root, degree, bar, motif if bar % 4 != 3 else _answer(motif), draw)
    return notes + _ending(style, root, bars), tempo


def _fit(seconds: float, tempos: tuple[float, float]) -> tuple[int, float]:
    """Bars of four beats that fill ``seconds`` at a tempo as near as can be to the middle of the range."""
    middle = sum(tempos) / 2
    bars = max(1, round(seconds * middle / 240))
    return bars, 240 * bars / max(seconds, 0.5)


def _scale(style: _Style, root: int, step: int) -> int:
    scale = _MINOR if style.minor else _MAJOR
    return root + 12 * (step // 7) + scale[step % 7]


def _triad(style: _Style, root: int, degree: int) -> list[int]:
    """The chord on ``degree``, voiced close to the root's octave so that the hands hardly move."""
    pitches = [_scale(style, root, degree + offset) for offset in (0, 2, 4)]
    return sorted((pitch - root + 5) % 12 + root - 5 for pitch in pitches)


def _chords(style: _Style, root: int, degree: int, bar: int, *, full: bool) -> list[Note]:
    at, chord = bar * 4.0, _triad(style, root, degree)
    notes = [Note("pad", at, 4, pitch, 0.8, side) for pitch, side in zip(chord, (-0.6, 0.0, 0.6), strict=True)]
    low = _scale(style, root, degree) - 24
    low = low + 12 if low < 33 else low
    steps = ((0, 1.4), (1.5, 0.9), (2.5, 1.3)) if full else ((0, 3.4),)
    notes += [Note("bass", at + step, beats, low, 0.9) for step, beats in steps]
    for place_, step in enumerate(style.comp_steps if full else style.comp_steps[:1]):
        pitch = chord[place_ % 3] + (12 if place_ % 2 else 0)
        notes.append(Note(style.comp, at + step, 0.5, pitch, 0.75 if step % 1 else 0.95, -0.45 if place_ % 2 else 0.35))
    return notes


def _drums(style: _Style, bar: int, *, full: bool, last: bool, draw: np.random.Generator) -> list[Note]:
    if not full:
        return []
    at, notes = bar * 4.0, []
    notes += [Note("kick", at + step, 0.25, 36, 0.9) for step in style.kicks]
    notes += [Note("clap", at + step, 0.25, 39, 0.8, 0.1) for step in style.claps]
    notes += [Note("hat", at + step, 0.25, 42, float(draw.uniform(0.6, 0.9)), 0.3) for step in style.hats]
    notes += [
        Note("shaker", at + step, 0.25, 70, float(draw.uniform(0.55, 0.8)) * (1.0 if step % 1 else 0.7), -0.35)
        for step in style.shakers
    ]
    if last and style.claps:
        notes += [Note("clap", at + step, 0.25, 39, level, 0.1) for step, level in ((3.5, 0.5), (3.75, 0.65))]
    return notes


def _motif(draw: np.random.Generator) -> list[tuple[float, float, int]]:
    """Beat, beats, and steps above the chord's root: a short figure that is sung again and again."""
    rhythms = ((0, 1, 1.5, 2.5), (0, 0.5, 1.5, 3), (0.5, 1.5, 2, 3), (0, 1.5, 2, 2.5))
    rhythm = rhythms[int(draw.integers(len(rhythms)))]
    steps = [int(draw.choice((0, 2, 4)))]
    for _ in rhythm[1:]:
        steps.append(int(np.clip(steps[-1] + draw.choice((-2, -1, 1, 2)), -1, 6)))
    # The first and the last note belong to the chord: it begins and ends at rest.
    steps[-1] = min((0, 2, 4), key=lambda step: abs(step - steps[-1]))
    ends = (*rhythm[1:], 4.0)
    return [(at, min(1.5, end - at), step) for at, end, step in zip(rhythm, ends, steps, strict=True)]


def _answer(motif: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """The figure turned towards its end: the last note held, a step lower."""
    return [*motif[:-1], (motif[-1][0], 1.5, max(0, motif[-1][2] - 2))]


def _melody(
    style: _Style, root: int, degree: int, bar: int, motif: list[tuple[float, float, int]], draw: np.random.Generator
) -> list[Note]:
    return [
        Note(
            style.lead,
            bar * 4.0 + at,
            beats,
            _near(_scale(style, root + 12, degree + step), root + 12),
            float(draw.uniform(0.7, 0.9)),
            0.15,
        )
        for at, beats, step in motif
    ]


def _near(pitch: int, centre: int) -> int:
    """``pitch`` brought into the octave and a half above ``centre``."""
    while pitch > centre + 14:
        pitch -= 12
    return pitch


def _ending(style: _Style, root: int, bars: int) -> list[Note]:
    at, chord = bars * 4.0, _triad(style, root, 0)
    notes = [Note("pad", at, 3, pitch, 0.9, side) for pitch, side in zip(chord, (-0.6, 0.0, 0.6), strict=True)]
    notes += [Note(style.comp, at + place_ * 0.06, 3, pitch, 0.9, 0.2) for place_, pitch in enumerate(chord)]
    notes += [Note("bass", at, 2.6, root - 24 if root - 24 >= 33 else root - 12, 0.9)]
    notes += [Note(style.lead, at + 0.12, 2, root + 12, 0.8, 0.15)]
    return notes + ([Note("kick", at, 0.25, 36, 0.8)] if style.kicks else [])


def _balanced(sound: Sound) -> Sound:
    """Without what is below 35 Hz, and tilted: the upper half of the spectrum 8 dB up, as mixes are."""
    frames = fast_size(len(sound))
    pitch = np.fft.rfftfreq(frames, 1 / RATE)
    ratio = (pitch / 1100) ** 2
    tilt = np.sqrt((1 + ratio * 10**0.8) / (1 + ratio))
    curve = tilt / (1 + (35 / np.maximum(pitch, 1)) ** 4)
    return np.asarray(
        np.fft.irfft(np.fft.rfft(sound, frames, axis=0) * curve[:, None], frames, axis=0)[: len(sound)], np.float32
    )
