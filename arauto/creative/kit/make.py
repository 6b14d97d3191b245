"""One brief becomes a kit: copies, palette and fonts once, then each medium from them, then every check."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import msgspec

from arauto.core import i18n
from arauto.core.brief import Brief
from arauto.core.campaign import Copy
from arauto.core.door import from_json
from arauto.core.errors import BriefError, EngineError, InputError, NotFoundError
from arauto.core.kit import Asset, Finding, Kit, KitWork, Medium, Render
from arauto.creative.banner import choose_fonts, find_file, palette_of, safe_copy
from arauto.creative.copy import Pool, Reward, render_texts
from arauto.creative.engines import ImageEngine
from arauto.creative.kit.check import check_kit
from arauto.creative.kit.pictures import draw_pictures
from arauto.creative.kit.rules import kit_rules
from arauto.creative.message import compose_message
from arauto.creative.slots import SlotEngine, write_slots
from arauto.creative.types import TextEngine
from arauto.creative.writer import Writer

KIT_FILE = "kit.json"
COPIES = 8
MAX_KIT_BYTES = 4 * 1024 * 1024
MEDIA: tuple[Medium, ...] = get_args(Medium)
# The media of rooms that need packages of their own are only imported when they are asked for.
_RENDERERS: dict[Medium, str] = {
    "banner": "arauto.creative.banner:render_banners",
    "audio": "arauto.creative.audio:render_audio",
    "video": "arauto.creative.video:render_video",
}

Told = Callable[[Medium, str, float], None]
"""Progress of a kit: the medium, its step, and the share done of that medium."""


async def make_kit(
    brief: Brief,
    out: Path,
    *,
    folder: Path | None = None,
    seed: int = 0,
    only: Sequence[Medium] = (),
    engine: TextEngine | None = None,
    image: ImageEngine | None = None,
    reward: Reward | None = None,
    film_seconds: Sequence[float] = (15.0,),
    progress: Told | None = None,
) -> Kit:
    """Make the kit of ``brief`` in the folder ``out``, check it, and write ``kit.json`` beside its assets.

    ``folder`` is where the brief's own files lie. ``only`` names the media to make (all when left out; one that cannot
    be made here then becomes a warning). ``engine`` writes the copies (the slot writer when left out), ``image`` draws
    the pictures of a brief that brings none (our own drawings when left out, or when it fails); neither is closed.
    ``film_seconds`` are the lengths of the films: 6, 15 or 30. The same brief, seed and engines give the same bytes.

    Raises:
        BriefError: the brief cannot be used, or one of its files.
        EngineError: nothing could be written or drawn.
    """
    work = await work_of(brief, folder or Path.cwd(), seed=seed, engine=engine)
    await asyncio.to_thread(_check_files, work)
    await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    missing: list[Finding] = []
    tell = progress or (lambda *_: None)
    if image is not None and (not only or {"banner", "video"} & set(only)):
        try:
            work = await draw_pictures(work, image, out)
        except EngineError as failure:
            missing.append(kit_rules()["KIT-PICTURE"].finding("kit", why=failure.problem, found=failure.mend))

    async def made(medium: Medium) -> list[Asset]:
        render = renderer_of(medium, engine.name if engine else "slot", reward)
        told = partial(tell, medium)
        # Only films have lengths to choose from: mypy knows no renderer but the common one.
        return await (partial(render, lengths=tuple(film_seconds)) if medium == "video" else render)(work, out, told)  # type: ignore[call-arg]

    wanted = [medium for medium in MEDIA if not only or medium in only]
    # Side by side: while one medium encodes in a process of its own, another is drawn.
    ends = await asyncio.gather(*(made(medium) for medium in wanted), return_exceptions=True)
    for medium, end in zip(wanted, ends, strict=True):
        if isinstance(end, EngineError) and not only:
            missing.append(kit_rules()["KIT-MEDIUM"].finding("kit", medium=medium, why=end.problem, found=end.mend))
        elif isinstance(end, BaseException):
            raise end
    kit = Kit(
        brief=brief,
        message=work.message,
        seed=seed,
        assets=tuple(asset for end in ends if not isinstance(end, BaseException) for asset in end),
        findings=tuple(missing),
        language=brief.language,
    )
    kit = msgspec.structs.replace(kit, findings=(*missing, *check_kit(kit, out)))
    save_kit(kit, out)
    return kit


async def work_of(brief: Brief, folder: Path, *, seed: int = 0, engine: TextEngine | None = None) -> KitWork:
    """Everything that the media share: copies that passed, palette, fonts, the marketer's own files."""
    message = compose_message(brief)
    copies = await _copies(brief, seed, engine)
    brand = brief.brand
    return KitWork(
        brief=brief,
        message=message,
        copies=copies,
        seed=seed,
        palette=palette_of(brand.colours if brand else (), message.brand or message.product),
        fonts=choose_fonts(brief, seed),
        pictures=tuple(find_file(name, folder, f"pictures[{place}]") for place, name in enumerate(brief.pictures)),
        footage=tuple(find_file(name, folder, f"footage[{place}]") for place, name in enumerate(brief.footage)),
        logo=find_file(brand.logo, folder, "brand.logo") if brand and brand.logo else None,
    )


def _check_files(work: KitWork) -> None:
    """Decode the marketer's own pictures once: one that cannot be read is told before anything is drawn."""
    with tempfile.TemporaryDirectory(prefix="arauto-kit-") as scratch:
        for place, path in enumerate(work.pictures):
            safe_copy(path, Path(scratch), f"pictures[{place}]")
        if work.logo:
            safe_copy(work.logo, Path(scratch), "brand.logo", alpha=True)


def renderer_of(medium: Medium, engine: str = "slot", reward: Reward | None = None) -> Render:
    """What makes a medium.

    Raises:
        EngineError: when the packages that it needs are not installed.
    """
    if medium == "text":
        return partial(render_texts, engine=engine, reward=reward)
    module, _, name = _RENDERERS[medium].partition(":")
    try:
        render: Render = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as failure:
        raise EngineError(
            f"{medium} needs the package {failure.name}", field=medium, mend=i18n.say("kit.extra", "en")
        ) from None
    return render


def save_kit(kit: Kit, folder: Path) -> None:
    """Write ``kit.json``."""
    body = msgspec.json.format(msgspec.json.encode(kit), indent=1) + b"\n"
    (folder / KIT_FILE).write_bytes(body)


def load_kit(folder: Path) -> Kit:
    """The kit in a folder.

    Raises:
        NotFoundError: when there is none. InputError: when its file cannot be read, or names a file outside.
    """
    path = folder / KIT_FILE
    if not path.is_file():
        raise NotFoundError("there is no kit here", field=str(folder), mend="make one: arauto kit create brief.yaml")
    if path.stat().st_size > MAX_KIT_BYTES:
        raise InputError(f"is larger than {MAX_KIT_BYTES} bytes", field=str(path), mend="make the kit anew")
    kit = from_json(path.read_bytes(), Kit)
    for asset in kit.assets:
        if not (folder / asset.path).resolve().is_relative_to(folder.resolve()):
            raise InputError("leads out of the kit's folder", field=f"{asset.id}.path", mend="make the kit anew")
    return kit


async def _copies(brief: Brief, seed: int, engine: TextEngine | None) -> tuple[Copy, ...]:
    """Copies of the engine first; the slot writer fills up, so that there always are some."""
    written: tuple[Copy, ...] = ()
    if engine is not None and not isinstance(engine, SlotEngine):
        result = await Writer(engine).write(brief, COPIES // 2, seed=seed)
        written = tuple(copy for copy, _ in result.accepted)
    slots = write_slots(brief, COPIES - len(written), seed)
    copies = (*written, *(copy for copy, _ in slots.accepted))
    if not copies:
        why = slots.refused[0].findings[0].problem if slots.refused else "no sentence fits"
        raise BriefError(f"no text passes the checks: {why}", field="brief", mend="loosen the brief, or add benefits")
    return Pool(brief, compose_message(brief)).ordered(copies)
