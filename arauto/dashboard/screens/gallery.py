"""The kit of a campaign, shown: texts, banners, audio and video, how each was made, what the checks say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from arauto.core.errors import ArautoError, EngineError, InputError, NotFoundError, TooLargeError
from arauto.core.kit import Asset, Finding, Kit, Medium
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, File, Screen, View
from arauto.dashboard.screens.texts import job_of, kit
from arauto.loop import Report, VariantNumbers, build_report, kit_folder, read_kit

MEDIA: tuple[Medium, ...] = get_args(Medium)
SHOWN = ("image/png", "image/jpeg", "image/webp", "audio/wav", "audio/mpeg", "audio/ogg", "video/mp4", "text/vtt")
"""What a page may show; anything else is a download."""
MOST_BYTES = 64 * 1024 * 1024


async def values(view: View) -> dict[str, Any]:
    """The assets by medium, each with its findings and the figures of the text it shows."""
    store = view.runtime.store
    campaign = await store.catalogue.campaign(view.id)
    found, problem = await kit_of(view)
    making = await job_of(store, await store.forms.get(view.id), "kit")
    base = {
        "heading": campaign.name,
        "campaign": campaign,
        "making": making,
        "media": MEDIA,
        "kit": None,
        "problem": problem,
    }
    if found is None:
        return base
    made, findings, _ = found
    report = await build_report(store, view.id, clock=view.runtime.clock)
    return base | {
        "kit": made,
        "tiles": {medium: _tiles(made, findings, report, medium) for medium in MEDIA},
        "whole": [one for one in findings if not one.place],
        "errors": sum(one.severity == "error" and not one.waived_by for one in findings),
        "warnings": sum(one.severity == "warn" and not one.waived_by for one in findings),
    }


async def kit_of(view: View) -> tuple[tuple[Kit, list[Finding], list[Any]] | None, ArautoError | None]:
    """The kit with its findings and waivers; or why there is none, when it cannot be read here."""
    try:
        return await asyncio.to_thread(read_kit, view.runtime.settings, view.id), None
    except (EngineError, InputError) as error:
        return None, error


def _tiles(made: Kit, findings: Sequence[Finding], report: Report, medium: Medium) -> list[dict[str, Any]]:
    tiles = [
        {
            "asset": asset,
            "shown": asset.media_type in SHOWN,
            "parts": _parts(asset),
            "findings": [one for one in findings if one.place == asset.id],
            "numbers": _numbers(asset, report),
        }
        for asset in made.assets
        if asset.medium == medium
    ]
    # What can be seen or heard comes first.
    return sorted(tiles, key=lambda tile: not (tile["shown"] or tile["parts"]))


def _parts(asset: Asset) -> dict[str, list[str]]:
    text = asset.detail.get("parts")
    return msgspec.json.decode(text, type=dict[str, list[str]]) if asset.medium == "text" and text else {}


def _numbers(asset: Asset, report: Report) -> VariantNumbers | None:
    """The figures of the campaign's text whose title this asset shows; None when it shows none, or several."""
    told = [one for one in report.variants if one.title and one.title in asset.words]
    return told[0] if len(told) == 1 and told[0].impressions else None


async def asset(view: View) -> File:
    """One file of the kit, by the id of its asset."""
    found = await asyncio.to_thread(read_kit, view.runtime.settings, view.id)
    assets = {one.id: one for one in found[0].assets} if found else {}
    one = assets.get(view.query.get("asset", ""))
    if one is None:
        raise NotFoundError("there is no such asset", field="asset", mend="look at the gallery")
    path = kit_folder(view.runtime.settings, view.id) / one.path
    if one.bytes > MOST_BYTES:
        raise TooLargeError(f"has more than {MOST_BYTES} bytes", field="asset", mend="read it from the kit's folder")
    try:
        body = await asyncio.to_thread(path.read_bytes)
    except OSError:
        raise NotFoundError("its file is gone", field="asset", mend="make the kit anew") from None
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in ".-_") else "-" for letter in path.name
    )
    shown = one.media_type in SHOWN
    return File(body, name, one.media_type if shown else "application/octet-stream", inline=shown)


async def make(deed: Deed) -> Done:
    """Have the kit made anew."""
    return await kit(deed)


SCREEN = Screen(
    name="gallery",
    path=f"{CAMPAIGN}/gallery",
    values=values,
    place="campaign",
    query=("asset",),
    files={"asset": asset},
    actions={"make": Action("editor", make)},
)
