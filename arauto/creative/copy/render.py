"""The texts of a kit: every placement of ``data/placements.toml`` filled from the pool, one JSON file each."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from arauto.core.brief import Message
from arauto.core.errors import BriefError
from arauto.core.kit import Asset, KitWork, Progress, Provenance
from arauto.creative.copy.pool import Candidate, Pool, Reward
from arauto.creative.placements import text_places
from arauto.creative.words import fold

# The kinds of sentence that serve each part of a placement, the first that has any first.
_KINDS = {
    "google-rsa.headline": "headline",
    "google-rsa.description": "line",
    "google-rda.headline": "headline",
    "google-rda.long_headline": "line",
    "google-rda.description": "line",
    "meta.primary_text": "body",
    "meta.headline": "headline",
    "meta.reels_text": "line",
    "tiktok.description": "line",
    "email.subject": "subject",
    "email.preheader": "preheader",
    "push.title": "push",
    "push.body": "note",
    "landing.headline": "hero",
    "landing.subheadline": "lead",
}
_WANTED = {
    "google-rsa.headline": 8,
    "google-rsa.description": 4,
    "google-rda.headline": 5,
    "google-rda.description": 3,
    "meta.primary_text": 3,
}
_SCRIPT = (("hook", 1), ("point", 2), ("deal", 2), ("close", 1))

Parts = dict[str, list[str]]


async def render_texts(
    work: KitWork, out: Path, progress: Progress, *, engine: str = "slot", reward: Reward | None = None
) -> list[Asset]:
    """One file a placement in ``out/text``. ``engine`` names who wrote the copies of ``work``.

    Raises:
        BriefError: when a placement cannot be filled with texts that break no rule.
    """
    (out / "text").mkdir(parents=True, exist_ok=True)
    pool = Pool(work.brief, work.message, work.copies, engine, reward)
    placements = list(dict.fromkeys(place.placement for place in text_places()))
    asked = [
        name
        for name in placements
        if not work.brief.channels or name in work.brief.channels or "text" in work.brief.channels
    ]
    assets = []
    for done, placement in enumerate(asked):
        progress(placement, done / len(asked))
        assets.append(_write(work, out, placement, *texts_of(pool, placement)))
    progress("texts", 1.0)
    return assets


def texts_of(pool: Pool, placement: str) -> tuple[Parts, set[str]]:
    """The texts of one placement by its parts, and the engines that wrote them."""
    parts: Parts = {}
    engines: set[str] = set()
    for place in text_places():
        if place.placement != placement:
            continue
        if place.id == "script.line":
            found = script(pool, place.limit)
        elif place.part == "path":
            parts[place.part] = _paths(pool.message, place.limit)
            continue
        elif place.part == "business_name":
            parts[place.part] = [(pool.message.brand or pool.message.product)[: place.limit].strip()]
            continue
        else:
            wanted = min(place.most, _WANTED.get(place.id, max(place.least, 2)))
            found = pool.best(_KINDS[place.id], place.limit, wanted)
        if len(found) < place.least:
            raise BriefError(
                f"gives {len(found)} of {place.least} texts for {place.id}",
                field="brief",
                mend="add benefits, an offer or a shorter product name",
            )
        parts[place.part] = [one.text for one in found]
        engines |= {one.engine for one in found}
    return parts, engines


def script(pool: Pool, limit: int) -> list[Candidate]:
    """What is said aloud of the product: a hook, its points, the deal, the call to action, then the disclaimers."""
    said: list[Candidate] = []
    for kind, most in _SCRIPT:
        said += pool.best(kind, limit, most, apart=[one.text for one in said])
    spoken = [text if text.endswith((".", "!", "?")) else f"{text}." for text in pool.message.disclaimers]
    return said + [Candidate(text, 0.0, "brief") for text in spoken if len(text) <= limit]


def _paths(message: Message, limit: int) -> list[str]:
    """The words shown after the address: the product, and the brand, as far as they fit."""
    slugs = [
        re.sub(r"[^a-z0-9]+", "-", fold(text)).strip("-")[:limit].strip("-")
        for text in (message.product, message.brand)
    ]
    return [slug for slug in dict.fromkeys(slugs) if slug]


def _write(work: KitWork, out: Path, placement: str, parts: Parts, engines: set[str]) -> Asset:
    message = work.message
    facts = {
        name: value
        for name in ("product", "brand", "price", "was", "discount", "deadline", "call_to_action", "terms")
        if (value := getattr(message, name)) and any(value in text for texts in parts.values() for text in texts)
    }
    shown = {"link": message.link, "call_to_action": message.call_to_action}
    facts |= {name: value for name, value in shown.items() if value}
    if message.disclaimers:
        facts["disclaimers"] = "\n".join(message.disclaimers)
    data = {
        "placement": placement,
        "language": work.brief.language,
        **shown,
        "disclaimers": message.disclaimers,
        "parts": parts,
    }
    body = msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
    path = f"text/{placement}.json"
    (out / path).write_bytes(body)
    model = sorted(engines - {"slot", "brief"})
    asked = hashlib.sha256(msgspec.json.encode([work.message, work.copies])).hexdigest()
    return Asset(
        id=f"text-{placement}",
        medium="text",
        placement=placement,
        path=path,
        media_type="application/json",
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
        words="\n".join(text for part, texts in parts.items() if part != "path" for text in texts),
        facts=facts,
        made=Provenance(
            engine=model[0] if model else "slot",
            prompt_sha256=asked,
            seed=work.seed,
            source_type="trainedAlgorithmicMedia" if model else "algorithmicMedia",
        ),
        detail={"parts": msgspec.json.encode(parts).decode()},
    )
