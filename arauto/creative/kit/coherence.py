"""Whether all assets of a kit say the same: facts equal, numbers proved, meaning alike.

Meaning is compared by the words that tell one brief from another: the beginnings of content words, without those of
the writer's own sentences. The measure is the overlap coefficient, |A∩B| / min(|A|, |B|); its least value is
calibrated on pairs of media of different briefs (bench/kit.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources

from arauto.core.brief import Message
from arauto.core.kit import Asset, Finding, Kit
from arauto.creative.banner.art import ABSTRACT, subject_of
from arauto.creative.evidence import ground_of, unproved
from arauto.creative.kit.rules import kit_rules
from arauto.creative.words import FUNCTION_WORDS, fold

LEAST = 0.3
"""The least similarity of meaning. See docs/creative.md for how it was found."""

_STEM = 5
_TOKEN = re.compile(r"[^\W_]+")
_EQUAL = ("price", "was", "discount", "deadline", "call_to_action", "brand", "product", "link", "terms")
_UNSEEN = ("link", "disclaimers")  # facts that stand behind an asset, not in its words
_STEMS_ENOUGH = 3


def check_coherence(kit: Kit) -> Iterable[Finding]:
    """What differs between the assets of ``kit`` and its message, and between its media."""
    for asset in kit.assets:
        yield from _facts(asset, kit.message)
        yield from _numbers(asset, kit)
        yield from _claims(asset, kit)
        yield from _subject(asset, kit)
    yield from _disclaimers(kit)
    yield from _meaning(kit)


def similarity(one: str, other: str) -> float:
    """How much two texts speak of the same thing, 0 to 1."""
    a, b = _telling(one), _telling(other)
    least = min(len(a), len(b))
    return len(a & b) / least if least else 0.0


def _facts(asset: Asset, message: Message) -> Iterable[Finding]:
    rules = kit_rules()
    for name, found in asset.facts.items():
        wanted = getattr(message, name, None) if name in _EQUAL else None
        if name in _EQUAL and found != wanted:
            yield rules["COH-FACT"].finding(f"facts.{name}", place=asset.id, name=name, found=found, wanted=wanted)
        elif name not in _UNSEEN and name in _EQUAL and asset.medium == "banner" and found not in asset.words:
            yield rules["COH-WORDS"].finding("words", place=asset.id, name=name, wanted=found)
    said = asset.words.casefold()
    # Beside a text the platform shows who advertises.
    named = any(name and name.casefold() in said for name in (message.brand, message.product))
    if asset.medium != "text" and not named:
        yield rules["COH-BRAND"].finding("words", place=asset.id)


def _numbers(asset: Asset, kit: Kit) -> Iterable[Finding]:
    ground = ground_of(kit.brief, kit.message)
    spoken = asset.medium in ("audio", "video")  # there numbers are written out as they are said
    for line in asset.words.splitlines() if not spoken else ():
        for number in unproved(line.replace("-" + kit.message.discount, kit.message.discount), ground, spelled=False):
            yield kit_rules()["COH-NUMBER"].finding("words", place=asset.id, found=number)


def _claims(asset: Asset, kit: Kit) -> Iterable[Finding]:
    for claim in kit.brief.claims:
        if not claim.evidence and fold(claim.text) in fold(asset.words):
            yield kit_rules()["COH-CLAIM"].finding("words", place=asset.id, found=claim.text)


def _subject(asset: Asset, kit: Kit) -> Iterable[Finding]:
    shown = asset.detail.get("picture", "own")
    wanted = subject_of(kit.brief)
    if shown not in ("own", "engine", ABSTRACT, wanted):
        yield kit_rules()["COH-PICTURE"].finding("picture", place=asset.id, found=shown, wanted=wanted)


def _disclaimers(kit: Kit) -> Iterable[Finding]:
    """Each disclaimer is shown or said at least once by each medium that is there."""
    for medium in dict.fromkeys(asset.medium for asset in kit.assets):
        shown = "\n".join(f"{a.words}\n{a.facts.get('disclaimers', '')}" for a in kit.assets if a.medium == medium)
        for text in kit.message.disclaimers:
            if fold(text.rstrip(".")) not in fold(shown):
                yield kit_rules()["COH-DISCLAIMER"].finding("words", place=medium, found=text)


def _meaning(kit: Kit) -> Iterable[Finding]:
    """Each asset against what the others say, together with the brief's own words."""
    rule = kit_rules()["COH-MEANING"]
    for asset in kit.assets:
        others = [other.words for other in kit.assets if other.medium != asset.medium]
        said = "\n".join(others or [other.words for other in kit.assets if other.id != asset.id])
        if len(_telling(asset.words)) < _STEMS_ENOUGH or not said:
            continue
        score = similarity(asset.words, said)
        if score < LEAST:
            yield rule.finding("words", place=asset.id, found=f"{score:.2f}", wanted=f"{LEAST:.2f}")


def _telling(text: str) -> frozenset[str]:
    return _stems(text) - _generic()


@lru_cache(maxsize=512)
def _stems(text: str) -> frozenset[str]:
    tokens = (token for token in _TOKEN.findall(fold(text)) if token not in FUNCTION_WORDS)
    return frozenset(token[:_STEM] for token in tokens if len(token) > 2 or token.isdigit())


@cache
def _generic() -> frozenset[str]:
    """The words of our own sentences: every kit says them."""
    data = resources.files("arauto.creative").joinpath("data")
    text = "\n".join(data.joinpath(name).read_text("utf-8") for name in ("copy.toml", "slots.toml"))
    sentences = re.findall(r'(?:text|title|plain\w*|short\w*)\s*=\s*"([^"]*)"', text)
    return _stems(re.sub(r"\{[^}]*\}", " ", "\n".join(sentences)))
