"""The gallery: every asset of a kit on one page that needs no other file but the videos, with the report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment

from arauto.core import i18n
from arauto.core.kit import Asset, Finding, Kit
from arauto.creative.banner import palette_of

PAGE = "index.html"
_EMBEDDED = 2 * 1024 * 1024  # a larger file is linked


def save_gallery(kit: Kit, folder: Path, findings: Sequence[Finding]) -> Path:
    """Write ``index.html`` into the kit's folder; its path. Words of the brief are escaped, scripts are not run."""
    brand = kit.brief.brand
    text = resources.files("arauto.creative").joinpath("data", "gallery.html").read_text("utf-8")
    template = Environment(autoescape=True).from_string(text)
    here = [asset for asset in kit.assets if (folder / asset.path).is_file()]
    page = template.render(
        kit=kit,
        palette=palette_of(brand.colours if brand else (), kit.message.brand or kit.message.product),
        say=partial(_say, kit),
        findings=findings,
        errors=sum(one.severity == "error" and not one.waived_by for one in findings),
        texts=[(asset, msgspec.json.decode(asset.detail["parts"])) for asset in here if asset.medium == "text"],
        banners=[
            _shown(asset, folder)
            for asset in here
            if asset.media_type.startswith("image/") and asset.medium == "banner"
        ],
        audios=[_shown(asset, folder) for asset in here if asset.media_type.startswith("audio/")],
        videos=[_shown(asset, folder) for asset in here if asset.media_type.startswith("video/")],
    )
    path = folder / PAGE
    path.write_text(page, "utf-8")
    return path


def _say(kit: Kit, key: str, **values: object) -> str:
    return i18n.say(key, kit.language, **values)


def _shown(asset: Asset, folder: Path) -> dict[str, Any]:
    if asset.bytes > _EMBEDDED:
        data = asset.path
    else:
        data = f"data:{asset.media_type};base64,{base64.b64encode((folder / asset.path).read_bytes()).decode()}"
    return {"asset": asset, "data": data, "weight": -(-asset.bytes // 1024)}
