"""``check_kit``: every rule that a kit must keep, each asset read from its file again."""

from __future__ import annotations

import hashlib
import importlib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from arauto.core.errors import EngineError
from arauto.core.kit import Asset, Finding, Kit
from arauto.creative.copy.pool import check_text
from arauto.creative.kit.check_banner import check_banner
from arauto.creative.kit.check_html5 import check_html5
from arauto.creative.kit.coherence import check_coherence
from arauto.creative.kit.policy import check_policy
from arauto.creative.kit.rules import Waiver, kit_rules, waive
from arauto.creative.placements import TextPlace, text_places
from arauto.creative.rules import rules

_OTHER_ROOMS = {"audio": "arauto.creative.audio:check_audio", "video": "arauto.creative.video:check_video"}
_MODELS = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
_BY_RULE = ("slot", "typst", "brief")
_TITLE_PARTS = ("headline", "subject", "title", "business_name")
# In a list of texts, these are not sentences of an ad: they are judged by length alone.
_NAMES = ("path", "business_name")


def check_kit(kit: Kit, folder: Path, waivers: Sequence[Waiver] = ()) -> list[Finding]:
    """Everything that the rules find wrong with ``kit``, whose files lie in ``folder``; errors first.

    Each finding has the rule's id, its severity, the asset (``place``), what was wrong, the mend and the source of the
    rule. One that a waiver covers carries its name and reason. Nothing that the maker noted is taken for granted that
    the file itself can tell.
    """
    found: list[Finding] = []
    for asset in kit.assets:
        found.extend(_file(asset, folder))
        found.extend(_made(asset))
        if (folder / asset.path).is_file():
            found.extend(_medium(asset, folder, kit))
    found.extend(_link(kit))
    found.extend(check_policy(kit))
    found.extend(check_coherence(kit))
    return sorted(
        dict.fromkeys(waive(found, waivers)), key=lambda finding: (finding.severity, finding.place, finding.rule)
    )


def _file(asset: Asset, folder: Path) -> Iterable[Finding]:
    path = folder / asset.path
    if not path.resolve().is_relative_to(folder.resolve()):
        yield kit_rules()["KIT-FILE"].finding("path", place=asset.id, found="lies outside the kit")
    elif not path.is_file():
        yield kit_rules()["KIT-FILE"].finding("path", place=asset.id, found="is missing")
    elif hashlib.sha256(path.read_bytes()).hexdigest() != asset.sha256:
        yield kit_rules()["KIT-FILE"].finding("path", place=asset.id, found="is not the one that was made")


def _made(asset: Asset) -> Iterable[Finding]:
    rule, made = kit_rules()["KIT-PROVENANCE"], asset.made
    if not made.engine:
        yield rule.finding("made.engine", place=asset.id, found="no engine")
    elif made.engine in _BY_RULE and made.source_type in _MODELS:
        yield rule.finding("made.source_type", place=asset.id, found="a model made what rules made")
    elif made.engine in ("openai", "local", "hf", "diffusers") and made.source_type not in _MODELS:
        yield rule.finding("made.source_type", place=asset.id, found="no model made what a model made")


def _medium(asset: Asset, folder: Path, kit: Kit) -> Iterable[Finding]:
    if asset.medium == "text":
        return _texts(asset, folder, kit)
    if asset.medium == "banner":
        if asset.media_type == "application/zip":
            return check_html5(asset, folder)
        return check_banner(asset, folder, kit)
    module, _, name = _OTHER_ROOMS[asset.medium].partition(":")
    try:
        found: list[Finding] = getattr(importlib.import_module(module), name)(asset, folder)
    except (ModuleNotFoundError, EngineError) as failure:
        found = [
            kit_rules()["KIT-MEDIUM"].finding(
                "kit", place=asset.id, medium=asset.medium, why="it cannot be read here", found=str(failure)
            )
        ]
    return found


def _link(kit: Kit) -> Iterable[Finding]:
    if not kit.message.link:
        yield kit_rules()["KIT-LINK"].finding("brief.link")
    elif urlsplit(kit.message.link).scheme != "https":
        yield kit_rules()["KIT-HTTPS"].finding("brief.link", found=kit.message.link)


def _texts(asset: Asset, folder: Path, kit: Kit) -> Iterable[Finding]:
    try:
        data = msgspec.json.decode((folder / asset.path).read_bytes())
        parts = msgspec.convert(data["parts"], dict[str, list[str]])
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError) as failure:
        yield kit_rules()["TEXT-FORM"].finding("path", place=asset.id, found=type(failure).__name__)
        return
    for place in text_places():
        if place.placement == asset.placement:
            yield from _part(place, parts.get(place.part, []), asset, kit)
    said = "\n".join(text for texts in parts.values() for text in texts)
    if said and asset.words and not set(asset.words.splitlines()) <= set(said.splitlines()):
        yield kit_rules()["TEXT-FORM"].finding(
            "words", place=asset.id, found="the words noted are not those of the file"
        )


def _part(place: TextPlace, texts: list[str], asset: Asset, kit: Kit) -> Iterable[Finding]:
    known, source = kit_rules(), f"{place.source}; {place.date}"
    if not place.least <= len(texts) <= place.most:
        yield known["TEXT-COUNT"].finding(
            place.part, place=asset.id, source=source, length=len(texts), least=place.least, most=place.most
        )
    seen: set[str] = set()
    for text in texts:
        if len(text) > place.limit:
            rule = known["TEXT-LENGTH" if place.severity == "error" else "TEXT-LENGTH-SOFT"]
            yield rule.finding(
                place.part, place=asset.id, source=source, length=len(text), limit=place.limit, found=text[:60]
            )
        if text.casefold() in seen:
            yield known["TEXT-UNIQUE"].finding(place.part, place=asset.id, found=text)
        seen.add(text.casefold())
        if place.placement == "tiktok" and (sign := _unwanted(text)):
            yield known["TEXT-TIKTOK"].finding(place.part, place=asset.id, found=sign)
        yield from _sentence(place, text, asset, kit)


def _sentence(place: TextPlace, text: str, asset: Asset, kit: Kit) -> Iterable[Finding]:
    """The rules of a text variant, found in one text of a placement."""
    if place.part in _NAMES or text in kit.message.disclaimers or text.rstrip(".") in kit.message.disclaimers:
        return
    kind = "headline" if place.part in _TITLE_PARTS or not text.endswith((".", "!", "?", "…")) else "line"
    for finding in check_text(text, kind, kit.brief, kit.message):
        row = rules()[finding.rule]
        yield msgspec.structs.replace(finding, place=asset.id, field=place.part, source=f"{row.source}; {row.date}")


def _unwanted(text: str) -> str:
    return next((sign for sign in text if sign in "{}#" or unicodedata.category(sign) in ("So", "Cs", "Co", "Sk")), "")
