"""Music: what plays under the voice. Each sits behind :class:`MusicEngine`.

There is no OpenAI-compatible endpoint for music, so that its occupants are our composer, the marketer's own recording,
and the scripted fake.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from arauto.creative.sound.compose import Mood, play
from arauto.creative.sound.ffmpeg import decode
from arauto.creative.sound.samples import RATE, Sound, fade, seconds


class MusicAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece to play: the same ask gives the same samples."""

    mood: Mood
    seconds: float
    seed: int = 0


class MusicEngine(Protocol):
    """What plays a piece: stereo samples, exactly as long as asked."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    async def play(self, ask: MusicAsk) -> Sound: ...


class Composer:
    """Ours: composed by rules, played by arithmetic; about 0.1 CPU-seconds a second."""

    name = "arauto"
    model = "composer"

    async def play(self, ask: MusicAsk) -> Sound:
        return await asyncio.to_thread(play, ask.mood, ask.seconds, ask.seed)


class Recording:
    """The marketer's own file, cut or repeated to length."""

    name = "recording"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.model = path.stem

    async def play(self, ask: MusicAsk) -> Sound:
        sound = await asyncio.to_thread(decode, self._path)
        frames = round(ask.seconds * RATE)
        if 0 < seconds(sound) < ask.seconds:
            sound = np.tile(sound, (-(-frames // len(sound)), 1))
        return fade(sound[:frames], 0.05, 1.2)


class ScriptedMusic:
    """The music of tests: one soft tone. ``asks`` holds what it was asked."""

    name = "scripted"
    model = "tone"

    def __init__(self) -> None:
        self.asks: list[MusicAsk] = []

    async def play(self, ask: MusicAsk) -> Sound:
        self.asks.append(ask)
        tone = 0.2 * np.sin(2 * np.pi * 220 * np.arange(round(ask.seconds * RATE)) / RATE)
        return np.repeat(tone[:, None], 2, axis=1).astype(np.float32)
