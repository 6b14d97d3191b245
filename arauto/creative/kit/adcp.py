"""A kit as creative manifests of the Ad Context Protocol 3.2 (adcontextprotocol.org), with its creative brief.

One manifest an asset. Where the files will be served from is the marketer's to say (``base_url``); without it they
stand under a name that resolves nowhere (RFC 6761), so that nobody takes it for real.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arauto.core.kit import Asset, Kit
from arauto.creative.banner.render import fine_print

UNKNOWN_BASE = "https://kit.invalid/"
_KINDS = {"google-rsa": "responsive_creative", "google-rda": "responsive_creative", "meta": "native_in_feed"}
_SLOTS = {
    "headline": "headlines",
    "long_headline": "long_headlines",
    "description": "descriptions",
    "primary_text": "descriptions",
}
_SOURCES = {
    "trainedAlgorithmicMedia": "trained_algorithmic_media",
    "compositeWithTrainedAlgorithmicMedia": "composite_with_trained_algorithmic_media",
    "algorithmicMedia": "algorithmic_media",
    "composite": "composite_synthetic",
    "humanEdits": "human_edits",
    "digitalCapture": "digital_capture",
}
_OBJECTIVES = {"click": "consideration", "purchase": "conversion", "rating": "engagement"}


def creative_brief(kit: Kit) -> dict[str, Any]:
    """The kit's brief as a ``creative-brief``."""
    brief, message = kit.brief, kit.message
    data: dict[str, Any] = {
        "name": f"{message.product} {message.brand}".strip(),
        "objective": _OBJECTIVES[brief.goal],
        "tone": brief.tone,
        "audience": brief.audience,
        "messaging": {"cta": message.call_to_action, "key_messages": list(brief.benefits)},
    }
    if fine := fine_print(message):
        data["compliance"] = {"required_disclosures": [{"text": text} for text in fine]}
    return {name: value for name, value in data.items() if value}


def manifests(kit: Kit, base_url: str = UNKNOWN_BASE) -> dict[str, dict[str, Any]]:
    """A ``creative-manifest`` for each asset, by the asset's id. ``base_url`` ends in a slash."""
    return {asset.id: _manifest(asset, kit, base_url) for asset in kit.assets}


def _manifest(asset: Asset, kit: Kit, base_url: str) -> dict[str, Any]:
    kind, assets = _contents(asset, kit, base_url)
    if kit.message.link:
        assets["landing_page_url"] = {"asset_type": "url", "url": kit.message.link, "url_type": "clickthrough"}
    return {"format_kind": kind, "assets": assets, "provenance": _provenance(asset, base_url)}


def _contents(asset: Asset, kit: Kit, base_url: str) -> tuple[str, dict[str, Any]]:
    url, provenance = base_url + asset.path, _provenance(asset, base_url)
    if asset.medium == "text":
        parts: dict[str, list[str]] = msgspec.json.decode(asset.detail["parts"])
        assets = {
            _SLOTS.get(part, part): [
                {"asset_type": "text", "content": text, "language": kit.language, "provenance": provenance}
                for text in texts
            ]
            for part, texts in parts.items()
            if texts
        }
        return _KINDS.get(asset.placement, "custom"), assets
    if asset.media_type == "application/zip":
        digest = f"sha256:{asset.sha256}"
        bundle = {"asset_type": "zip", "url": url, "entry_point": "index.html", "digest": digest}
        return "html5", {"html5_bundle": {**bundle, "accessibility": {"alt_text": asset.alt}, "provenance": provenance}}
    common: dict[str, Any] = {"url": url, "file_size_bytes": asset.bytes, "provenance": provenance}
    if asset.duration_s:
        common["duration_ms"] = round(asset.duration_s * 1000)
    size = {"width": asset.width, "height": asset.height}
    if asset.media_type.startswith("video/"):
        return "video_hosted", {"video": {"asset_type": "video", **size, **common}}
    if asset.media_type.startswith("audio/"):
        return "audio_hosted", {"audio": {"asset_type": "audio", **common}}
    if asset.media_type.startswith("image/"):
        kind = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}[asset.media_type]
        return "image", {"image_main": {"asset_type": "image", **size, "format": kind, "alt_text": asset.alt, **common}}
    return "custom", {"file": {"asset_type": "url", "url": url}}


def _provenance(asset: Asset, base_url: str) -> dict[str, Any]:
    made = asset.made
    found: dict[str, Any] = {
        "digital_source_type": _SOURCES[made.source_type],
        "declared_by": {"role": "tool"},
        "human_oversight": "prompt_only",
        "c2pa": {"manifest_url": f"{base_url}provenance/{asset.id}.c2pa"},
    }
    if "rainedAlgorithmic" in made.source_type:
        tool = {"name": made.model or made.engine, "version": made.version}
        found["ai_tool"] = {name: value for name, value in tool.items() if value}
    if asset.medium == "text" or asset.media_type == "application/zip":
        del found["c2pa"]  # the format carries no manifest
    return found
