"""Checks of a sound: all is measured in the file itself; nothing but the script is taken from what the maker noted."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from arauto.core.errors import EngineError
from arauto.core.kit import Asset, Finding
from arauto.creative.audio.captions import read_vtt
from arauto.creative.audio.saying import word_count
from arauto.creative.audio.standards import media_rules, profiles
from arauto.creative.sound.ffmpeg import Probe, decode, probe
from arauto.creative.sound.loudness import loudness, true_peak

_RATES = {"opus": 48_000}
_SLACK_S = 0.12
"""What codecs add at the ends."""
_SLACK_KBITS = 6


def check_audio(asset: Asset, folder: Path) -> list[Finding]:
    """What the rules of ``data/media.toml`` find wrong with a spot in ``folder``."""
    try:
        found = probe(folder / asset.path)
        return [*_form(asset, found), *_words(asset, found), *check_sound(asset, folder)]
    except EngineError as failure:
        return [media_rules()["MEDIA-FILE"].finding("path", place=asset.id, found=failure.problem)]


def check_sound(asset: Asset, folder: Path) -> Iterable[Finding]:
    """The rules that a spot and a film share: loudness, peak, what is said, captions.

    Raises:
        EngineError: the file has no sound.
    """
    rules, target = media_rules(), profiles().get(asset.detail.get("loudness", ""), profiles()["adcp"])
    sound = decode(folder / asset.path)
    level, peak = loudness(sound), true_peak(sound)
    if abs(level - target.lufs) > target.tolerance:
        yield rules["SOUND-LOUDNESS"].finding(
            "path",
            place=asset.id,
            found=f"{level:.1f}",
            profile=target.name,
            wanted=f"{target.lufs:g} ± {target.tolerance:g}",
        )
    if peak > target.peak:
        yield rules["SOUND-PEAK"].finding(
            "path", place=asset.id, found=f"{peak:.1f}", profile=target.name, wanted=f"{target.peak:g} at most"
        )
    script, voice = asset.detail.get("script", ""), asset.detail.get("voice", "")
    call = asset.facts.get("call_to_action", "")
    if not call or call.casefold() not in script.casefold():
        yield rules["SOUND-CALL"].finding("script", place=asset.id, found=call)
    if not voice:
        yield rules["SOUND-MUTE"].finding("voice", place=asset.id)
    elif voice.startswith("espeak"):
        yield rules["SOUND-ROBOT"].finding("voice", place=asset.id)
    yield from _captions(asset, folder, len(sound) / 44_100)


def _captions(asset: Asset, folder: Path, lasts: float) -> Iterable[Finding]:
    rule, name = media_rules()["SOUND-CAPTIONS"], asset.detail.get("captions", "")
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        yield rule.finding("captions", place=asset.id, found="there are none")
        return
    cues = read_vtt(path.read_text("utf-8", "replace"))
    shown, said = " ".join(cue.text for cue in cues).split(), asset.detail.get("script", "").split()
    if shown != said:
        place = next(
            (n for n, pair in enumerate(zip(shown, said, strict=False)) if pair[0] != pair[1]),
            min(len(shown), len(said)),
        )
        yield rule.finding("captions", place=asset.id, found=f"from {' '.join(said[place : place + 4])!r} on")
    if cues and (cues[-1].end > lasts + _SLACK_S or any(one.end > two.start + 0.01 for one, two in pairwise(cues))):
        yield rule.finding("captions", place=asset.id, found="the times overlap or run past the end")


def _form(asset: Asset, found: Probe) -> Iterable[Finding]:
    rules, kind = media_rules(), found.audio or "no sound"
    if found.seconds > rules["AUDIO-LENGTH"].limit + _SLACK_S:
        yield rules["AUDIO-LENGTH"].finding("path", place=asset.id, found=f"{found.seconds:.1f}")
    lossy = not kind.startswith("pcm")
    form = rules["AUDIO-FORM"]
    thin = (found.bitrate or 0) < form.limit - _SLACK_KBITS
    if found.rate != _RATES.get(kind, 44_100) or found.channels != 2 or thin:
        yield form.finding(
            "path", place=asset.id, found=f"{kind} {found.rate} Hz, {found.channels} channels, {found.bitrate} kbit/s"
        )
    weight = rules["AUDIO-WEIGHT"]
    if lossy and asset.bytes > weight.limit:
        yield weight.finding("path", place=asset.id, found=asset.bytes)


def _words(asset: Asset, found: Probe) -> Iterable[Finding]:
    rule, count = media_rules()["AUDIO-WORDS"], word_count(asset.detail.get("script", ""))
    # A long disclaimer is said faster than its limit only in a longer spot.
    if count > rule.limit * max(found.seconds, 15) / 30 + 1:
        yield rule.finding("script", place=asset.id, found=count)
