"""Checks of a film: sizes, codec and length from its headers, its sound measured, its words from the storyboard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from arauto.core.errors import EngineError
from arauto.core.kit import Asset, Finding
from arauto.creative.audio.checks import check_sound
from arauto.creative.audio.standards import media_rules
from arauto.creative.sound.ffmpeg import Probe, probe
from arauto.creative.video.frame import SHAPES
from arauto.creative.video.storyboard import Storyboard

LENGTHS = (6.0, 15.0, 30.0)
_SLACK_S = 0.1
_LAST = 6.0
"""The call to action stands within so many seconds of the end."""


def check_video(asset: Asset, folder: Path) -> list[Finding]:
    """What the rules of ``data/media.toml`` find wrong with a film in ``folder``."""
    try:
        return [*_form(asset, probe(folder / asset.path)), *_words(asset, folder), *check_sound(asset, folder)]
    except EngineError as failure:
        return [media_rules()["MEDIA-FILE"].finding("path", place=asset.id, found=failure.problem)]


def _form(asset: Asset, found: Probe) -> Iterable[Finding]:
    rules, shape = media_rules(), SHAPES.get(asset.placement)
    if min(abs(found.seconds - length) for length in LENGTHS) > _SLACK_S:
        yield rules["VIDEO-LENGTH"].finding("path", place=asset.id, found=f"{found.seconds:.1f}")
    wanted = (shape.width, shape.height) if shape else (asset.width, asset.height)
    good = (found.video, found.pixels, found.audio) == ("h264", "yuv420p", "aac") and (
        found.width,
        found.height,
    ) == wanted
    if not good or not 24 <= (found.frames_a_second or 0) <= 60:
        yield rules["VIDEO-FORM"].finding(
            "path",
            place=asset.id,
            found=f"{found.video} {found.pixels} {found.width}×{found.height} {found.frames_a_second} {found.audio}",
            wanted=f"{wanted[0]}×{wanted[1]}",
        )


def _words(asset: Asset, folder: Path) -> Iterable[Finding]:
    rules, path = media_rules(), folder / asset.detail.get("storyboard", "")
    try:
        path.resolve().relative_to(folder.resolve())
        board = msgspec.json.decode(path.read_bytes(), type=Storyboard)
    except (OSError, ValueError):
        yield rules["MEDIA-FILE"].finding("storyboard", place=asset.id, found="the storyboard is missing or broken")
        return
    names = {asset.facts.get(name, "").casefold() for name in ("brand", "product")} - {""}
    limit = rules["VIDEO-BRAND"].limit
    early = [board.name] + [words.text for scene in board.scenes for words in scene.words if words.at <= limit]
    # The name stands in the corner from the first frame of the first scene on.
    if not any(name in text.casefold() for name in names for text in early):
        yield rules["VIDEO-BRAND"].finding("storyboard", place=asset.id)
    call = asset.facts.get("call_to_action", "")
    shown = [words.text for scene in board.scenes for words in scene.words if scene.end > board.seconds - _LAST]
    if not call or call not in shown:
        yield rules["VIDEO-CALL"].finding("storyboard", place=asset.id, found=call)
