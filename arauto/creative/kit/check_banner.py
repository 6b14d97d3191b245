"""Checks of a banner from its own pixels: size, weight, contrast, safe zones. It trusts no number of the maker's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from arauto.core.kit import Asset, Finding, Kit
from arauto.creative.banner.colour import LARGE_CONTRAST, TEXT_CONTRAST
from arauto.creative.banner.render import Drawn
from arauto.creative.kit.rules import kit_rules
from arauto.creative.placements import banner_places

_LARGE = 24.0  # pixels from which a text counts as large (WCAG 2.2: 18 points); our display sizes are bold
_LEAST_PX = 8.0
_SMOOTHED = ((10.5, 0.68), (14.0, 0.85))  # letters that small have no pixel of the whole ink: what smoothing leaves
_PACK = np.array([1 << 16, 1 << 8, 1])
_INK_SHARE = 0.004
_WORDLESS = ("rule",)
_STORY = 0.6


def check_banner(asset: Asset, folder: Path, kit: Kit) -> Iterable[Finding]:
    """What is wrong with the image file of ``asset``."""
    rules = kit_rules()
    place = banner_places().get(asset.placement)
    try:
        with Image.open(folder / asset.path, formats=("PNG", "JPEG", "WEBP", "GIF", "BMP")) as opened:
            kind, picture = opened.format or "", opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as failure:
        yield rules["KIT-FILE"].finding("path", place=asset.id, found=f"cannot be read: {type(failure).__name__}")
        return
    wanted = "JPEG" if place is not None and place.channel == "audio" else "PNG or JPEG"
    if kind not in wanted.split(" or "):
        yield rules["BAN-FORMAT"].finding("path", place=asset.id, found=kind, wanted=wanted)
    if place is not None:
        if picture.size != place.size:
            found = f"{picture.width}×{picture.height}"
            yield rules["BAN-SIZE"].finding("path", place=asset.id, found=found, wanted=place.id)
        weight = (folder / asset.path).stat().st_size
        if weight > place.initial * 1024:
            source = f"{place.source}; {place.date}"
            yield rules["BAN-WEIGHT"].finding(
                "path", place=asset.id, source=source, found=-(-weight // 1024), most=place.initial
            )
    drawn = msgspec.json.decode(asset.detail.get("drawn", "[]"), type=list[Drawn])
    yield from _texts(asset, picture, drawn)
    yield from _shown(asset, kit, {one.role for one in drawn})


def measured_contrast(picture: Image.Image, text: Drawn) -> float:
    """The contrast of a text as it stands in the pixels: its ground is the most frequent colour of its box, and four
    pixels in a thousand have at least this contrast to it (the others are ground, or the smoothed edges of letters)."""
    edge = 2 if text.size > _LEAST_PX * 2 else 1
    left, top = max(0, int(text.x) - edge), max(0, int(text.y) - edge)
    box = (left, top, min(picture.width, int(text.x + text.w) + edge), min(picture.height, int(text.y + text.h) + edge))
    if box[2] - box[0] < 2 or box[3] - box[1] < 2:
        return 21.0
    pixels = np.asarray(picture.crop(box), np.int64)
    packed, counts = np.unique(pixels @ _PACK, return_counts=True)
    light = luminance(np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1) / 255)
    ground = light[counts.argmax()]
    found = (np.maximum(light, ground) + 0.05) / (np.minimum(light, ground) + 0.05)
    order = np.argsort(-found)
    enough = np.cumsum(counts[order]) >= _INK_SHARE * counts.sum()
    return float(found[order][enough.argmax()])


def luminance(channels: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Relative luminance (WCAG 2.2) of colours, red, green and blue from 0 to 1 in the last axis."""
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    whole: np.ndarray[Any, np.dtype[np.float64]] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return whole


def _texts(asset: Asset, picture: Image.Image, drawn: list[Drawn]) -> Iterable[Finding]:
    rules = kit_rules()
    for text in drawn:
        if text.role in _WORDLESS or (text.role == "brand" and asset.detail.get("logo")):
            continue  # a logotype has no contrast to keep (WCAG 2.2, 1.4.3)
        if not text.fit:
            yield rules["BAN-FIT"].finding("words", place=asset.id, role=text.role)
        if text.x < -1 or text.y < -1 or text.x + text.w > picture.width + 1 or text.y + text.h > picture.height + 1:
            yield rules["BAN-INSIDE"].finding("words", place=asset.id, role=text.role)
            continue
        if text.size < _LEAST_PX:
            yield rules["BAN-SMALL"].finding(
                "words", place=asset.id, role=text.role, found=f"{text.size:.1f}", wanted=_LEAST_PX
            )
        if asset.placement == "1080x1920" and not _in_safe(text, picture):
            yield rules["BAN-SAFE"].finding("words", place=asset.id, role=text.role)
        least = LARGE_CONTRAST if text.size >= _LARGE else TEXT_CONTRAST
        found = measured_contrast(picture, text)
        if found < least * next((share for size, share in _SMOOTHED if text.size < size), 1.0):
            yield rules["BAN-CONTRAST"].finding(
                "words", place=asset.id, role=text.role, found=f"{found:.1f}", wanted=f"{least:g}"
            )


def _in_safe(text: Drawn, picture: Image.Image) -> bool:
    sides = 0.06 * picture.width
    return (
        text.y >= 0.14 * picture.height
        and text.y + text.h <= 0.65 * picture.height
        and text.x >= sides
        and text.x + text.w <= picture.width - sides
    )


def _shown(asset: Asset, kit: Kit, roles: set[str]) -> Iterable[Finding]:
    rules = kit_rules()
    if not asset.alt.strip():
        yield rules["KIT-ALT"].finding("alt", place=asset.id)
    if kit.message.call_to_action not in asset.words:
        yield rules["BAN-ACTION"].finding("words", place=asset.id)
    if kit.message.brand and kit.message.brand not in asset.words and "brand" not in roles:
        yield rules["BAN-BRAND"].finding("words", place=asset.id)
    if kit.message.disclaimers and "fine" not in roles:
        yield rules["BAN-DISCLAIMER"].finding("words", place=asset.id)
