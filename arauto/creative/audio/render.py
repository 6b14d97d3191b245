"""From a brief's message to a spot: script, voice, music, mix, files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import wave
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from arauto.core.brief import Language
from arauto.core.kit import Asset, KitWork, Progress, Provenance
from arauto.core.settings import Settings, load_settings
from arauto.creative.audio.captions import cues_of, vtt
from arauto.creative.audio.mix import mix
from arauto.creative.audio.saying import said
from arauto.creative.audio.script import Line, mood_of, shorten, write_script
from arauto.creative.audio.standards import Profile, profile
from arauto.creative.engines.choose import choose_voice
from arauto.creative.engines.music import Composer, MusicAsk, MusicEngine
from arauto.creative.engines.voice import VoiceEngine
from arauto.creative.models import ModelStore
from arauto.creative.sound.ffmpeg import BIT_EXACT, decode, raw, raw_input, run
from arauto.creative.sound.loudness import reach, true_peak
from arauto.creative.sound.samples import RATE, Sound, seconds

LENGTHS = (15.0, 30.0)
_FASTEST = 1.3
LEAD_IN, GAP, LEAD_OUT = 0.7, 0.32, 1.3
"""Seconds before the first word, between lines, and after the last."""
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "wav": ("audio/wav", ()),
    "mp3": ("audio/mpeg", ("-c:a", "libmp3lame", "-b:a", "192k", "-f", "mp3")),
    "opus": (
        "audio/ogg",
        ("-c:a", "libopus", "-b:a", "192k", "-vbr", "constrained", "-f", "ogg", "-serial_offset", "1"),
    ),
}
_CODEC_HEADROOM = 0.8
"""Lossy codecs overshoot: the ceiling is held this much lower, in dB."""
_LOWER = (0.0, 0.8, 1.8, 3.0)
"""And this much more, one after the other, where a file that was made is found too high."""


class Spoken(msgspec.Struct, frozen=True):
    """A line with its sound (None when nobody speaks) and where it begins, in seconds."""

    line: Line
    sound: Sound | None
    at: float
    until: float


async def render_audio(
    work: KitWork,
    out: Path,
    progress: Progress,
    *,
    voice: VoiceEngine | Literal["auto"] | None = "auto",
    music: MusicEngine | None = None,
    loudness: str = "adcp",
    lengths: Sequence[float] = LENGTHS,
) -> list[Asset]:
    """One spot as WAV, MP3 and Opus below ``out``/audio, with captions and transcript beside them.

    ``voice`` auto: the one that the settings mean. None: music alone, with the words in the captions; the assets say so
    (``detail["voice"]``). ``loudness`` names a profile of ``data/media.toml``. It lasts the first of ``lengths`` (in
    seconds) that holds what must be said.

    Raises:
        EngineError: the voice, the music or the encoder failed.
        SettingError: there is no such profile.
    """
    target, player = profile(loudness), music or Composer()
    voice = settled_voice(voice)
    progress("script", 0.0)
    spoken, length = await speak(work, voice, lengths, legal=True, progress=progress)
    progress("music", 0.6)
    bed = await player.play(MusicAsk(mood=mood_of(work), seconds=length, seed=work.seed))
    progress("mix", 0.7)
    sound = await asyncio.to_thread(mixed, spoken, bed, target, work.seed)
    folder = out / "audio"
    folder.mkdir(parents=True, exist_ok=True)
    cues = cues_of([(item.line.text, item.at, item.until) for item in spoken])
    captions = folder / "spot.vtt"
    captions.write_text(vtt(cues, work.message.language), "utf-8")
    (folder / "spot.txt").write_text(transcript(spoken), "utf-8")
    assets = []
    for place, kind in enumerate(FORMATS):
        progress(f"spot.{kind}", 0.8 + 0.2 * place / len(FORMATS))
        path = folder / f"spot.{kind}"
        data = await asyncio.to_thread(_written, sound, kind, path, target)
        detail = detail_of(spoken, voice, player, target) | {"captions": "audio/spot.vtt"}
        assets.append(_asset(work, kind, data, length, spoken, detail, voice))
    progress("spot", 1.0)
    return assets


def settled_voice(voice: VoiceEngine | Literal["auto"] | None) -> VoiceEngine | None:
    """``voice``, or the one of the settings: one for the whole process, so that it is loaded once."""
    return _voice_of(load_settings()) if voice == "auto" else voice


@lru_cache(maxsize=1)
def _voice_of(settings: Settings) -> VoiceEngine | None:
    return choose_voice(settings, ModelStore(settings))


async def speak(
    work: KitWork, voice: VoiceEngine | None, lengths: Sequence[float], *, legal: bool, progress: Progress
) -> tuple[list[Spoken], float]:
    """The lines said, and the first of ``lengths`` that holds them.

    In the last one optional lines give way, then the voice hurries. What still does not fit makes it longer, which the
    checks then tell.
    """
    speaker = _Speaker(voice, work.message.language, progress)
    spoken: list[Spoken] = []
    for length in lengths:
        lines, pace, last = write_script(work, length, legal=legal).lines, 1.0, length == lengths[-1]
        while True:
            spoken = await speaker.lay_out(lines, pace)
            if spoken[-1].until + LEAD_OUT <= length:
                return _spread(spoken, length), length
            fewer = shorten(lines, work.message)
            if fewer == lines and last and pace < _FASTEST:
                pace = min(_FASTEST, pace + 0.1)
            # A shorter spot may say less, but it says who, what and for how much in full.
            elif fewer == lines or (not last and len(fewer) == len(lines)):
                break
            lines = fewer
    return spoken, float(max(lengths[-1], np.ceil(spoken[-1].until + LEAD_OUT)))


class _Speaker:
    """Says lines, each once at a pace, and puts them one after the other."""

    def __init__(self, voice: VoiceEngine | None, language: Language, progress: Progress) -> None:
        self._voice, self._language, self._progress = voice, language, progress
        self._known: dict[tuple[str, float], Sound] = {}

    async def lay_out(self, lines: Sequence[Line], pace: float) -> list[Spoken]:
        at, spoken = LEAD_IN, []
        for place, line in enumerate(lines):
            self._progress(line.text, 0.05 + 0.5 * place / len(lines))
            sound = await self._sound(line.text, pace)
            lasts = seconds(sound) if sound is not None else reading_time(line.text) / pace
            spoken.append(Spoken(line, sound, at, at + lasts))
            at += lasts + GAP / pace
        return spoken

    async def _sound(self, text: str, pace: float) -> Sound | None:
        if self._voice is None:
            return None
        if (text, pace) not in self._known:
            self._known[text, pace] = await self._voice.say(said(text, self._language), self._language, pace)
        return self._known[text, pace]


def reading_time(text: str) -> float:
    """Seconds in which a line is read at leisure: 15 characters a second, at least 1.2."""
    return max(1.2, len(text) / 15)


def _spread(spoken: list[Spoken], length: float) -> list[Spoken]:
    """The same lines, the time left over shared among the pauses, each at most a second longer."""
    if not spoken:
        return spoken
    more = min(1.0, (length - LEAD_OUT - spoken[-1].until) / (len(spoken) + 1))
    return [
        Spoken(item.line, item.sound, item.at + more * place, item.until + more * place)
        for place, item in enumerate(spoken)
    ]


def mixed(spoken: Sequence[Spoken], bed: Sound, target: Profile, seed: int) -> Sound:
    """The finished sound at its profile."""
    voices = [(item.at, item.sound) for item in spoken if item.sound is not None]
    return mix(bed, voices, target.lufs, target.peak - _CODEC_HEADROOM, seed)


def within_peak(sound: Sound, target: Profile, write: Callable[[Sound], Sound]) -> None:
    """``write`` a sound so that its true peak keeps the profile as a player hears it.

    ``write`` encodes what it is given and gives back what is heard of it; it is called anew, with a lower ceiling,
    until the codec no longer overshoots.
    """
    for lower in _LOWER:
        held = reach(sound, target.lufs, target.peak - _CODEC_HEADROOM - lower) if lower else sound
        if true_peak(write(held)) <= target.peak:
            return


def _written(sound: Sound, kind: str, path: Path, target: Profile) -> bytes:
    def write(held: Sound) -> Sound:
        path.write_bytes(encode(held, kind))
        return decode(path)

    if FORMATS[kind][1]:
        within_peak(sound, target, write)
    else:  # no codec, no overshoot
        path.write_bytes(encode(sound, kind))
    return path.read_bytes()


def encode(sound: Sound, kind: str) -> bytes:
    """``sound`` as the bytes of a file."""
    if kind == "wav":
        return wav(sound)
    return run([*raw_input(sound.shape[1]), *BIT_EXACT, *FORMATS[kind][1], "pipe:1"], raw(sound))


def wav(sound: Sound) -> bytes:
    """``sound`` as a 16-bit WAV file, with the same triangular dither every time."""
    draw = np.random.default_rng(1)
    dither = draw.random(sound.shape) - draw.random(sound.shape)
    whole = np.clip(np.round(sound * 32767.0 + dither), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())
    return buffer.getvalue()


def transcript(spoken: Sequence[Spoken]) -> str:
    """All words, a line each."""
    return "".join(f"{item.line.text}\n" for item in spoken)


def facts_of(spoken: Sequence[Spoken]) -> dict[str, str]:
    """The facts that the lines state, by field of the Message."""
    facts: dict[str, str] = {}
    for item in spoken:
        facts |= item.line.facts
    return facts


def detail_of(
    spoken: Sequence[Spoken], voice: VoiceEngine | None, player: MusicEngine, target: Profile
) -> dict[str, str]:
    """What only a sound has, as text: the checks read it."""
    return {
        "voice": f"{voice.name} {voice.model}" if voice else "",
        "script": "\n".join(item.line.text for item in spoken),
        "music": f"{player.name} {player.model}",
        "loudness": target.name,
    }


def made_by(work: KitWork, voice: VoiceEngine | None, spoken: Sequence[Spoken], *, film: bool = False) -> Provenance:
    """How it was made. Only a neural voice is trained media: music and formant voice are rules.

    Of a film whose pictures a model drew, that model is named; the voice stands in its detail.
    """
    if film and work.drawn_by:
        return work.drawn_by
    trained = voice is not None and voice.name not in ("espeak-ng", "scripted")
    text = "\n".join(item.line.text for item in spoken)
    return Provenance(
        engine=voice.name if voice else "arauto",
        model=voice.model if voice else "composer",
        prompt_sha256=hashlib.sha256(text.encode()).hexdigest(),
        seed=work.seed,
        source_type="compositeWithTrainedAlgorithmicMedia" if trained else "composite" if film else "algorithmicMedia",
    )


def _asset(
    work: KitWork,
    kind: str,
    data: bytes,
    length: float,
    spoken: Sequence[Spoken],
    detail: dict[str, str],
    voice: VoiceEngine | None,
) -> Asset:
    return Asset(
        id=f"audio-spot-{kind}",
        medium="audio",
        placement="spot",
        variant=kind,
        path=f"audio/spot.{kind}",
        media_type=FORMATS[kind][0],
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        duration_s=length,
        words=transcript(spoken).strip(),
        facts=facts_of(spoken),
        made=made_by(work, voice, spoken),
        alt=transcript(spoken).strip(),
        detail=detail,
    )
