"""Ready folders for ad platforms: signed files, tables of texts as their import sheets have them, manifests."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from arauto.core.errors import ConflictError
from arauto.core.kit import Asset, Kit
from arauto.creative.kit.adcp import UNKNOWN_BASE, creative_brief, manifests
from arauto.creative.kit.provenance import SIGNED, Signer
from arauto.creative.placements import banner_places


def export_kit(
    kit: Kit, folder: Path, out: Path, kinds: Sequence[str], signer: Signer, *, base_url: str = UNKNOWN_BASE
) -> list[Path]:
    """Write the bundles ``kinds`` (see :data:`BUNDLES`) of the kit in ``folder`` into folders of ``out``; their files.

    Pictures, audio and video carry a signed C2PA manifest where they then still keep their limit of weight; each has
    its manifest as a sidecar in ``provenance/`` too, because ad servers write files anew. ``base_url`` is where the
    kit's files will be served from.

    Raises:
        ConflictError: when the kit has nothing for a bundle. EngineError: when it cannot be signed.
    """
    whole = _Bundle(kit, folder, out, signer, base_url if base_url.endswith("/") else f"{base_url}/")
    for kind in kinds:
        before = len(whole.written)
        BUNDLES[kind](whole)
        if len(whole.written) == before:
            raise ConflictError(
                f"has nothing for {kind}", field="kit", mend="make its placements, or leave this bundle out"
            )
    return whole.written


class _Bundle:
    """Where an export goes, and what it has written."""

    def __init__(self, kit: Kit, folder: Path, out: Path, signer: Signer, base_url: str) -> None:
        self.kit = kit
        self.out = out
        self.base_url = base_url
        self.written: list[Path] = []
        self._folder = folder
        self._signer = signer

    def write(self, name: str, body: bytes) -> None:
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        self.written.append(path)

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A CSV file. A cell that a spreadsheet would take for a formula is written as text."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows(
            [f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell for cell in row] for row in rows
        )
        self.write(name, b"\xef\xbb\xbf" + buffer.getvalue().encode())

    def asset(self, asset: Asset, kind: str) -> str:
        """Copy an asset into a bundle, signed where it may be; its name there."""
        body = (self._folder / asset.path).read_bytes()
        name = asset.path.rsplit("/", 1)[-1]
        if asset.media_type in SIGNED:
            signed, sidecar = self._signer.sign(body, asset)
            place = banner_places().get(asset.placement)
            if place is None or len(signed) <= place.initial * 1024:
                body = signed
            self.write(f"provenance/{asset.id}.c2pa", sidecar)
        self.write(f"{kind}/{name}", body)
        return name

    def assets(self, test: Callable[[Asset], bool]) -> list[Asset]:
        return [asset for asset in self.kit.assets if test(asset)]

    def parts(self, placement: str) -> dict[str, list[str]]:
        """The texts of a placement; empty when the kit has none."""
        found = self.assets(lambda asset: asset.medium == "text" and asset.placement == placement)
        return msgspec.json.decode(found[0].detail["parts"], type=dict[str, list[str]]) if found else {}


def _google(bundle: _Bundle) -> None:
    """Images, and the columns of Google Ads Editor for responsive search and display ads."""
    link, product = bundle.kit.message.link, bundle.kit.message.product
    for asset in bundle.assets(lambda one: _picture(one) and one.detail.get("channel") in ("display", "social")):
        bundle.asset(asset, "google-ads")
    search, display = bundle.parts("google-rsa"), bundle.parts("google-rda")
    if search:
        columns = [
            "Campaign",
            "Ad type",
            *_numbered("Headline", 15),
            *_numbered("Description", 4),
            "Path 1",
            "Path 2",
            "Final URL",
        ]
        row = [product, "Responsive search ad", *_filled(search["headline"], 15), *_filled(search["description"], 4)]
        bundle.table("google-ads/responsive-search.csv", columns, [[*row, *_filled(search["path"], 2), link]])
    if display:
        columns = [
            "Campaign",
            "Ad type",
            *_numbered("Headline", 5),
            "Long headline",
            *_numbered("Description", 5),
            "Business name",
            "Final URL",
        ]
        row = [
            product,
            "Responsive display ad",
            *_filled(display["headline"], 5),
            *_filled(display["long_headline"], 1),
        ]
        bundle.table(
            "google-ads/responsive-display.csv", columns,
            [[*row, *_filled(display["description"], 5), *_filled(display["business_name"], 1), link]],
        )  # fmt: skip


def _meta(bundle: _Bundle) -> None:
    """Pictures and videos of the social sizes, and a table with a row for each."""
    chosen = bundle.assets(
        lambda one: (_picture(one) and one.detail.get("channel") == "social") or one.media_type == "video/mp4"
    )
    texts, message = bundle.parts("meta"), bundle.kit.message
    if not chosen:
        return
    rows = []
    for place, asset in enumerate(chosen):
        name = bundle.asset(asset, "meta")
        primary, headline = texts.get("primary_text", [""]), texts.get("headline", [""])
        rows.append(
            [
                name,
                primary[place % len(primary)],
                headline[place % len(headline)],
                message.link,
                message.call_to_action,
                asset.alt,
            ]
        )
    bundle.table("meta/ads.csv", ["File", "Body", "Title", "Link", "Call to action", "Alt text"], rows)


def _html5(bundle: _Bundle) -> None:
    for asset in bundle.assets(lambda one: one.media_type == "application/zip"):
        bundle.asset(asset, "html5")


def _adcp(bundle: _Bundle) -> None:
    kit = bundle.kit
    bundle.write("adcp/creative-brief.json", _pretty(creative_brief(kit)))
    for asset_id, manifest in manifests(kit, bundle.base_url).items():
        bundle.write(f"adcp/{asset_id}.json", _pretty(manifest))


BUNDLES: dict[str, Callable[[_Bundle], None]] = {"google-ads": _google, "meta": _meta, "html5": _html5, "adcp": _adcp}
"""What can be exported, by name."""


def _picture(asset: Asset) -> bool:
    return asset.medium == "banner" and asset.media_type.startswith("image/")


def _numbered(name: str, most: int) -> list[str]:
    return [f"{name} {number}" for number in range(1, most + 1)]


def _filled(texts: Sequence[str], most: int) -> list[str]:
    return [*texts[:most], *[""] * (most - len(texts))]


def _pretty(data: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n"
