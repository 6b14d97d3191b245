"""Readers that know nothing of the maker: what a kit's files are, by Pillow, FFmpeg's meter, PyAV and ``zipfile``.

Only the limits come from the data files of the product, and where a text stands from the asset's notes.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arauto.core.kit import Asset, Kit

PLACEMENTS = Path(__file__).parents[1] / "arauto" / "creative" / "data" / "placements.toml"
LUFS, TOLERANCE, PEAK = -16.0, 2.0, -2.0
FORMS = {"9x16": (1080, 1920), "1x1": (1080, 1080), "16x9": (1920, 1080)}


def read_kit(kit: Kit, folder: Path) -> dict[str, Any]:
    """How many assets were read, what is wrong with them, and the extremes of what was measured."""
    measured: dict[str, list[float]] = {}
    wrong = [f"{asset.id}: {problem}" for asset in kit.assets for problem in _asset(asset, folder, measured)]
    return {
        "read": len(kit.assets),
        "wrong": wrong,
        **{name: [round(min(values), 2), round(max(values), 2)] for name, values in measured.items()},
    }


def _asset(asset: Asset, folder: Path, measured: dict[str, list[float]]) -> Iterator[str]:
    path = folder / asset.path
    if asset.media_type == "application/json":
        yield from _texts(asset, path)
    elif asset.media_type.startswith("image/"):
        yield from _picture(asset, path, measured)
    elif asset.media_type == "application/zip":
        yield from _bundle(asset, path)
    elif asset.media_type == "video/mp4":
        yield from _film(asset, path, measured)
        yield from _loud(path, measured)
    else:
        yield from _spot(asset, path, measured)
        yield from _loud(path, measured)


def _texts(asset: Asset, path: Path) -> Iterator[str]:
    parts = json.loads(path.read_text("utf-8"))["parts"]
    for row in _table()["texts"]:
        placement, _, part = row["id"].partition(".")
        if placement != asset.placement:
            continue
        texts = parts.get(part, [])
        if not row["least"] <= len(texts) <= row["most"]:
            yield f"{part}: {len(texts)} texts"
        if row["severity"] == "error":
            yield from (f"{part}: {len(text)} letters" for text in texts if len(text) > row["limit"])


def _picture(asset: Asset, path: Path, measured: dict[str, list[float]]) -> Iterator[str]:
    most = _most(asset.placement)
    with Image.open(path) as opened:
        opened.load()
        size, pixels = opened.size, np.asarray(opened.convert("RGB"), np.float64) / 255
    if f"{size[0]}x{size[1]}" != asset.placement:
        yield f"{size[0]}x{size[1]} pixels"
    if path.stat().st_size > most:
        yield f"{path.stat().st_size} bytes"
    light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    for text in json.loads(asset.detail["drawn"]):
        if text["role"] == "rule" or (text["role"] == "brand" and asset.detail.get("logo")):
            continue
        x, y, w, h = (round(text[name]) for name in ("x", "y", "w", "h"))
        found = _contrast(light[max(0, y) : y + h, max(0, x) : x + w])
        large, small = text["size"] >= 24, text["size"] < 14
        measured.setdefault("contrast_large" if large else "contrast_small" if small else "contrast", []).append(found)
        if found < (3.0 if large or small else 4.5):
            yield f"{text['role']} {text['size']:.0f} px: contrast {found:.1f}"


def _contrast(light: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Between the two classes that Otsu's threshold makes of a text's pixels: the ground is the median of the larger
    one, the ink the median of the third of the smaller one that smoothing touched least.
    """
    levels = np.sort(light.ravel())
    sums, count = np.cumsum(levels), len(levels)
    lower = np.arange(1, count)
    below, above = sums[:-1] / lower, (sums[-1] - sums[:-1]) / (count - lower)
    cut = int((lower * (count - lower) * (above - below) ** 2).argmax()) + 1
    dark, bright = levels[:cut], levels[cut:]
    if len(dark) < len(bright):
        ink, ground = np.median(dark[: max(1, len(dark) // 3)]), np.median(bright)
    else:
        ink, ground = np.median(bright[-max(1, len(bright) // 3) :]), np.median(dark)
    return float((max(ink, ground) + 0.05) / (min(ink, ground) + 0.05))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.size, self.sources, self.script, self._in_head = "", list[str](), "", True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and given.get("name") == "ad.size":
            self.size = given.get("content") or ""
        if source := given.get("src"):
            self.sources.append(source)
        if tag == "body":
            self._in_head = False

    def handle_data(self, data: str) -> None:
        self.script += data if self._in_head else ""


def _bundle(asset: Asset, path: Path) -> Iterator[str]:
    width, height = (int(side) for side in asset.placement.split("x"))
    if path.stat().st_size > _most(asset.placement):
        yield f"{path.stat().st_size} bytes"
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() or len(archive.namelist()) > 40:
            yield "not whole, or too many files"
        source = archive.read("index.html").decode()
        names = set(archive.namelist())
        with Image.open(BytesIO(archive.read(next(name for name in names if name.startswith("backup"))))) as backup:
            if backup.size != (width, height):
                yield f"backup image {backup.size}"
    page = _Page()
    page.feed(source)
    if page.size != f"width={width},height={height}":
        yield f"ad.size {page.size}"
    if not re.search(r"\bvar clickTag\s*=", page.script) or "window.clickTag" not in source:
        yield "no clickTag"
    if outside := [name for name in page.sources if name not in names]:
        yield f"refers to {outside[0]}"
    if len(page.sources) > 10 or "prefers-reduced-motion" not in source:
        yield "too many requests, or no reduced motion"
    ends = [float(a) + float(b) for a, b in re.findall(r"animation: \w+ ([\d.]+)s [\w-]+ ([\d.]+)s 1 both", source)]
    if not ends or max(ends) > 5 or "infinite" in source:
        yield f"moves until {max(ends, default=0)} s"


def _spot(asset: Asset, path: Path, measured: dict[str, list[float]]) -> Iterator[str]:
    import av

    with av.open(str(path)) as opened:
        stream = opened.streams.audio[0]
        samples = sum(frame.samples for frame in opened.decode(stream))
        seconds = samples / stream.rate
        wanted = {"wav": "pcm_s16le", "mp3": "mp3float", "opus": "libopus"}[asset.variant]
        if stream.codec_context.codec.name not in (wanted, wanted.removesuffix("float"), wanted.removeprefix("lib")):
            yield f"codec {stream.codec_context.codec.name}"
        if stream.rate != (48_000 if asset.variant == "opus" else 44_100) or stream.channels != 2:
            yield f"{stream.rate} Hz, {stream.channels} channels"
    measured.setdefault("spot_seconds", []).append(seconds)
    if min(abs(seconds - 15), abs(seconds - 30)) > 0.12:
        yield f"{seconds:.2f} s"


def _film(asset: Asset, path: Path, measured: dict[str, list[float]]) -> Iterator[str]:
    import av

    with av.open(str(path)) as opened:
        video, audio = opened.streams.video[0], opened.streams.audio[0]
        form = (video.codec_context.name, video.pix_fmt, audio.codec_context.name)
        size = (video.width, video.height)
        frames = sum(1 for _ in opened.decode(video))
    if form != ("h264", "yuv420p", "aac") or size != FORMS[asset.placement]:
        yield f"{form} {size}"
    measured.setdefault("film_frames", []).append(frames)
    if frames not in (6 * 30, 15 * 30, 30 * 30):
        yield f"{frames} frames"


def _loud(path: Path, measured: dict[str, list[float]]) -> Iterator[str]:
    """Integrated loudness and true peak by FFmpeg's filter ``ebur128``."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-i", str(path), "-vn"]
    done = subprocess.run(
        [*command, "-af", "ebur128=peak=true", "-f", "null", "-"], capture_output=True, text=True, check=True
    )
    summary = done.stderr[done.stderr.rindex("Summary:") :]
    levels = re.search(r"I:\s+(-?[\d.]+) LUFS.*Peak:\s+(-?[\d.]+) dBFS", summary, re.DOTALL)
    assert levels is not None
    loudness, peak = float(levels[1]), float(levels[2])
    measured.setdefault("lufs", []).append(loudness)
    measured.setdefault("true_peak_db", []).append(peak)
    if abs(loudness - LUFS) > TOLERANCE or peak > PEAK:
        yield f"{loudness} LUFS, true peak {peak} dB"


def _most(placement: str) -> int:
    """The bytes that a banner may weigh."""
    width, height = (int(side) for side in placement.split("x"))
    return 1024 * next(int(row["initial"]) for row in _table()["banners"] if row["size"] == [width, height])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(PLACEMENTS.read_text("utf-8"))
