"""Checks of an HTML5 bundle: the zip is opened and its page parsed again, as an ad server would."""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

from arauto.core.kit import Asset, Finding
from arauto.creative.kit.rules import kit_rules
from arauto.creative.placements import banner_places

_MOST_BYTES = 4 * 1024 * 1024
_MOST_FILES = 200
_SECONDS = re.compile(r"(?<![\w.])(\d*\.?\d+)(ms|s)(?![\w])")
_ANIMATION = re.compile(r"(?<![\w-])animation\s*:\s*([^;}]+)")
_KEYFRAMES = re.compile(r"@keyframes\s+([\w-]+)\s*\{((?:[^{}]*\{[^{}]*\})*)\s*\}")
_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)")
_STORAGE = re.compile(r"\b(localStorage|sessionStorage|indexedDB|document\.cookie|openDatabase)\b")
_FOREVER = 1000.0


class _Page(HTMLParser):
    """What matters of a page: its metas, references, scripts (and whether in the head), styles and labels."""

    def __init__(self) -> None:
        super().__init__()
        self.metas: dict[str, str] = {}
        self.references: list[str] = []
        self.links: list[str] = []
        self.head_script = self.script = self.style = ""
        self.labels: list[str] = []
        self.media: list[dict[str, str | None]] = []
        self.buttons = 0
        self._inside = ""
        self._head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "head":
            self._head = True
        if tag == "meta" and found.get("name"):
            self.metas[found["name"] or ""] = found.get("content") or ""
        if tag in ("script", "style"):
            self._inside = tag
        if tag in ("audio", "video"):
            self.media.append(found)
        self.buttons += tag == "button"
        source = found.get("src") or (found.get("href") if tag == "link" else None)
        if source:
            self.references.append(source)
        if tag == "a":
            self.links.append(found.get("href") or "")
        self.links += [value or "" for name, value in attrs if name == "onclick"]
        self.labels += [value for name in ("alt", "aria-label") if (value := found.get(name))]

    def handle_endtag(self, tag: str) -> None:
        if tag == "head":
            self._head = False
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.script += data
            if self._head:
                self.head_script += data
        elif self._inside == "style":
            self.style += data


def check_html5(asset: Asset, folder: Path) -> Iterable[Finding]:
    """What is wrong with the bundle of ``asset``."""
    rules = kit_rules()
    path = folder / asset.path
    try:
        files = _open(path)
        source = files["index.html"].decode("utf-8")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as failure:
        yield rules["H5-FORM"].finding("path", place=asset.id, found=str(failure) or type(failure).__name__)
        return
    page = _Page()
    page.feed(source)
    yield from _frame(asset, page)
    yield from _weights(asset, path, files, page)
    yield from _references(asset, files, page)
    yield from _motion(asset, page)
    if not any(label.strip() for label in page.labels):
        yield rules["H5-ALT"].finding("index.html", place=asset.id)
    if any("autoplay" in media and "muted" not in media for media in page.media):
        yield rules["H5-SOUND"].finding("index.html", place=asset.id)
    if storage := _STORAGE.search(page.script):
        yield rules["H5-STORAGE"].finding("index.html", place=asset.id, found=storage[0])


def _open(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
            raise ValueError("holds too much")
        for entry in entries:
            name = PurePosixPath(entry.filename)
            if name.is_absolute() or ".." in name.parts:
                raise ValueError(f"{entry.filename!r} leads out of it")
        return {entry.filename: archive.read(entry) for entry in entries if not entry.is_dir()}


def _frame(asset: Asset, page: _Page) -> Iterable[Finding]:
    rules = kit_rules()
    wanted = f"width={asset.width},height={asset.height}"
    size = page.metas.get("ad.size", "")
    if size.replace(" ", "") != wanted:
        yield rules["H5-SIZE"].finding("index.html", place=asset.id, found=size or "missing", wanted=wanted)
    tagged = re.search(r"\bclickTag\s*=", page.head_script)
    used = any("clickTag" in link for link in page.links) or page.script.count("clickTag") > 1
    if not tagged or not used:
        yield rules["H5-CLICK"].finding("index.html", place=asset.id)


def _weights(asset: Asset, path: Path, files: dict[str, bytes], page: _Page) -> Iterable[Finding]:
    rules = kit_rules()
    place = banner_places().get(asset.placement)
    weight, most = path.stat().st_size, place.initial if place else 150
    if weight > most * 1024:
        source = f"{place.source}; {place.date}" if place else ""
        yield rules["H5-WEIGHT"].finding("path", place=asset.id, source=source, found=-(-weight // 1024), most=most)
    if len(files) > rules["H5-FILES"].limit:
        yield rules["H5-FILES"].finding("path", place=asset.id, found=len(files))
    asked = 1 + len(set(page.references) | set(_URL.findall(page.style)))
    if asked > rules["H5-REQUESTS"].limit:
        yield rules["H5-REQUESTS"].finding("path", place=asset.id, found=asked)
    if not any(re.fullmatch(r"backup\.(?:png|jpe?g|gif)", name) for name in files):
        yield rules["H5-BACKUP"].finding("path", place=asset.id)


def _references(asset: Asset, files: dict[str, bytes], page: _Page) -> Iterable[Finding]:
    rules = kit_rules()
    for reference in [*page.references, *_URL.findall(page.style)]:
        if reference.startswith("data:"):
            continue
        if reference.startswith("http:"):
            yield rules["H5-HTTPS"].finding("index.html", place=asset.id, found=reference)
        elif reference.lstrip("./") not in files or reference.startswith("/"):
            yield rules["H5-INSIDE"].finding("index.html", place=asset.id, found=reference)
    if "http:" in page.head_script:
        yield rules["H5-HTTPS"].finding("index.html", place=asset.id, found="clickTag")


def _motion(asset: Asset, page: _Page) -> Iterable[Finding]:
    rules = kit_rules()
    values = [value for declaration in _ANIMATION.findall(page.style) for value in declaration.split(",")]
    moves = [move for value in values if (move := _move(value)) is not None]
    if not moves:
        return
    whole = max(delay + duration * times for delay, duration, times in moves)
    loops = max(times for _, _, times in moves)
    shown = "endless" if whole >= _FOREVER else f"{whole:.1f}"
    if whole > rules["H5-TIME"].limit:
        yield rules["H5-TIME"].finding("index.html", place=asset.id, found=shown)
    if loops > rules["H5-LOOPS"].limit:
        yield rules["H5-LOOPS"].finding(
            "index.html", place=asset.id, found="endless" if loops >= _FOREVER else int(loops)
        )
    if whole > rules["H5-PAUSE"].limit and not page.buttons:
        yield rules["H5-PAUSE"].finding("index.html", place=asset.id, found=shown)
    if "prefers-reduced-motion" not in page.style:
        yield rules["H5-MOTION"].finding("index.html", place=asset.id)
    if (flashes := _flashes(page.style)) > rules["H5-FLASH"].limit:
        yield rules["H5-FLASH"].finding("index.html", place=asset.id, found=f"{flashes:.0f}")


def _move(value: str) -> tuple[float, float, float] | None:
    """Delay, duration and repetitions of one animation; None for ``none``."""
    times = [float(number) / (1000 if unit == "ms" else 1) for number, unit in _SECONDS.findall(value)]
    if not times:
        return None
    count = _FOREVER if "infinite" in value else 1.0
    bare = _SECONDS.sub(" ", re.sub(r"\([^)]*\)", " ", value))
    if repeated := re.search(r"(?<![\w.-])(\d+(?:\.\d+)?)(?![\w.])", bare):
        count = float(repeated[1])
    return (times[1] if len(times) > 1 else 0.0), times[0], count


def _flashes(style: str) -> float:
    """The most changes between light and dark a second of any animation, by the opacities of its keyframes."""
    most = 0.0
    frames = dict(_KEYFRAMES.findall(style))
    for declaration in _ANIMATION.findall(style):
        for value in declaration.split(","):
            move = _move(value)
            name = next((word for word in value.split() if word in frames), "")
            if not move or not name or not move[1]:
                continue
            levels = [float(level) for level in re.findall(r"opacity\s*:\s*([\d.]+)", frames[name])]
            drops = sum(1 for one, other in itertools.pairwise(levels) if one - other >= 0.1)
            again = 1 if move[2] > 1 and len(levels) > 1 and levels[-1] - levels[0] >= 0.1 else 0
            most = max(most, (drops + again) / move[1])
    return most
