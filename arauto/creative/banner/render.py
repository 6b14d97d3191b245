"""Banners: what to say in each, laid out, drawn by typst, written as files that keep their limits of weight."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import tempfile
from collections.abc import Sequence
from importlib import metadata, resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from PIL import Image

from arauto.core import i18n
from arauto.core.brief import Brief, Message
from arauto.core.campaign import Copy
from arauto.core.errors import EngineError
from arauto.core.kit import Asset, KitWork, Progress, Provenance, SourceType
from arauto.creative.banner.art import subject_of
from arauto.creative.banner.fonts import FALLBACK, NEEDS_EXTRA, loaded
from arauto.creative.banner.frame import Content, Frame, Op, Picture
from arauto.creative.banner.layouts import LAYOUTS
from arauto.creative.banner.pictures import safe_copy
from arauto.creative.placements import BannerPlace, banner_places
from arauto.creative.words import FUNCTION_WORDS, fold

if TYPE_CHECKING:
    import typst

VARIANTS = ("a", "b")
_ROOMY = ("split", "editorial", "type", "card")
"""The layouts with the most room for words, tried when those of a variant do not fit."""
_SHORT_HEADLINE = 34  # letters that a strip shows well
_CROWDED = 0.2
_SUB_LETTERS = 80


class Drawn(msgspec.Struct, frozen=True):
    """One text of a banner as it was drawn: where, how large (pixels), in how many lines, and whether it fitted."""

    role: str
    x: float
    y: float
    w: float
    h: float
    size: float
    lines: int
    fit: bool


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """One banner, ready to draw: the operations of its page, and the words that stand in them."""

    place: BannerPlace
    layout: str
    picture: Picture
    content: Content
    fill: str
    ops: list[Op]
    language: str


class Renderer:
    """Draws designs. Holds a folder with the copies of the marketer's pictures, which is gone when it is closed."""

    def __init__(self, work: KitWork) -> None:
        self.work = work
        self._folder = tempfile.TemporaryDirectory(prefix="arauto-banner-")
        root = Path(self._folder.name)
        self.pictures = [safe_copy(path, root, f"pictures[{place}]") for place, path in enumerate(work.pictures)]
        self.logo = root / safe_copy(work.logo, root, "brand.logo", alpha=True) if work.logo else None
        source = resources.files("arauto.creative").joinpath("data", "banner.typ").read_bytes()
        (root / "banner.typ").write_bytes(source)
        self._compiler = _compiler(root / "banner.typ", root, work.fonts.folders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def draw(self, design: Design, only: Sequence[str] | None = None) -> tuple[bytes, list[Drawn]]:
        """A PNG of ``design`` and what was drawn; with ``only``, just the operations and texts of those roles, on
        nothing."""
        spec = {
            "width": design.place.size[0],
            "height": design.place.size[1],
            "fill": design.fill if only is None or "ground" in only else None,
            "lang": design.language[:2],
            "region": "BR" if design.language == "pt-BR" else "US",
            "fallback": FALLBACK,
            "crowded": _CROWDED,
            "only": None if only is None else list(only),
            "ops": design.ops,
        }
        png = self._compiler.compile(format="png", ppi=72, sys_inputs={"spec": json.dumps(spec)})
        if not isinstance(png, bytes):
            raise EngineError("drew more than one page", field="banner", mend="report this brief")
        if only is not None:
            return png, []
        drawn = msgspec.json.decode(self._compiler.query("<drawn>", field="value", one=True), type=list[Drawn])
        return png, drawn


async def render_banners(work: KitWork, out: Path, progress: Progress) -> list[Asset]:
    """Every size of ``data/placements.toml`` that the brief's channels ask for, in two variants, as files in
    ``out/banner``.

    Raises:
        EngineError: when the renderer or the fonts are not installed.
        BriefError: when a picture of the brief cannot be read.
    """
    (out / "banner").mkdir(parents=True, exist_ok=True)
    assets: list[Asset] = []
    places = [place for place in banner_places().values() if _asked(place, work.brief)]
    with Renderer(work) as renderer:
        jobs = [(place, variant) for variant in VARIANTS for place in places]
        for done, (place, variant) in enumerate(jobs):
            progress(f"{place.id} {variant}", done / len(jobs))
            assets += await asyncio.to_thread(_make, renderer, place, variant, out)
    progress("banners", 1.0)
    return assets


def design_of(
    work: KitWork, place: BannerPlace, variant: str, layout: str, picture: Picture, logo: Path | None = None
) -> Design:
    """What the banner of that place and variant says, and how the ``layout`` sets it."""
    turn = VARIANTS.index(variant)
    content = content_of(work, turn, small=place.size[0] * place.size[1] < 70_000, note=picture.note)
    frame = Frame(place.size, content, work.palette, work.fonts, picture, work.seed + turn, logo)
    LAYOUTS[layout](frame)
    return Design(
        place=place,
        layout=layout,
        picture=picture,
        content=content,
        fill=frame.fill,
        ops=frame.ops,
        language=work.brief.language,
    )


def layouts_of(seed: int) -> list[str]:
    """The layouts of the variants: different ones, chosen by the seed."""
    return random.Random(f"layout {seed}").sample(sorted(LAYOUTS), len(VARIANTS))  # noqa: S311  (repeatable)


def content_of(work: KitWork, turn: int, *, small: bool, note: str = "") -> Content:
    """The words of a banner of the ``turn``-th variant; a ``small`` one takes a short headline. ``note`` is what must
    be said of its picture."""
    message, brief = work.message, work.brief
    # The price has a place of its own: a headline that says it would say it twice.
    copies = [one for one in work.copies if not message.price or message.price not in one.title] or work.copies
    copy = copies[turn % len(copies)]
    headline = copy.title
    if small:
        headline = _short_headline(work, turn)
    return Content(
        brand=message.brand or message.product,
        headline=headline,
        sub=_sub_of(brief, copy, headline),
        was=message.was,
        price=message.price,
        discount=f"-{message.discount}" if message.discount else "",
        action=message.call_to_action,
        fine=" ".join([*fine_print(message), *([note] if note else [])]),
        disclaimer=bool(message.disclaimers or note),
    )


def _short_headline(work: KitWork, turn: int) -> str:
    """A headline that a small banner shows whole, and that names the product or brand; there may be room for one."""
    message = work.message
    names = [name.casefold() for name in (message.product, message.brand) if name]
    titles = [copy.title for copy in (*work.copies[turn:], *work.copies[:turn])]
    naming = [
        text for text in titles if len(text) <= _SHORT_HEADLINE and any(name in text.casefold() for name in names)
    ]
    own = f"{message.product} {message.brand}".strip()
    return naming[0] if naming else own[:1].upper() + own[1:]


def fine_print(message: Message) -> list[str]:
    """The small print of every medium: deadline, terms, disclaimers."""
    lines = [i18n.say("kit.deadline", message.language, deadline=message.deadline)] if message.deadline else []
    return [*lines, *(_sentence(text) for text in (message.terms, *message.disclaimers) if text)]


def _sub_of(brief: Brief, copy: Copy, headline: str) -> str:
    """The line below the headline: the copy's first sentence, or a benefit; the first short one of those that say most
    that is new. A headline that does not name the product leaves that to it.
    """
    first = re.split(r"(?<=[.!?])\s", copy.description, maxsplit=1)[0]
    wishes = [first, *(_sentence(benefit) for benefit in brief.benefits)]
    product = f"{brief.product[:1].upper()}{brief.product[1:]}"
    if not _stems(brief.product) <= _stems(headline):
        wishes += [
            f"{product}: {benefit[:1].lower()}{benefit[1:].rstrip('.')}."
            for benefit in brief.benefits
            if not _stems(benefit) & _stems(brief.product)
        ]
    said, known = _stems(headline), _stems(brief.product)

    def news(text: str) -> tuple[bool, bool, bool]:
        words = _stems(text) - known
        return (
            len(words - said) >= 0.6 * max(1, len(words)) and bool(words),
            len(text) <= _SUB_LETTERS,
            known <= said | _stems(text),
        )

    best = max(wishes, key=news, default="")
    return best if _stems(best) - known - said else ""


def _stems(text: str) -> set[str]:
    """The beginnings of the words that say something."""
    return {word[:5] for word in re.findall(r"[^\W_]+", fold(text)) if word not in FUNCTION_WORDS and len(word) > 1}


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text[:1].upper()}{text[1:]}."


def _asked(place: BannerPlace, brief: Brief) -> bool:
    return not brief.channels or place.channel in brief.channels or place.id in brief.channels


def _make(renderer: Renderer, place: BannerPlace, variant: str, out: Path) -> list[Asset]:
    """The banner as a picture and, where ad servers take it, as an HTML5 bundle."""
    from arauto.creative.banner.html5 import bundle  # it draws with this module

    work = renderer.work
    design, png, drawn = _fitting(renderer, place, variant)
    body, media_type = within(png, place.initial * 1024, jpeg=place.channel == "audio")
    ending = {"image/png": "png", "image/jpeg": "jpg"}[media_type]
    static = _asset(work, design, variant, drawn, f"banner/{place.id}-{variant}.{ending}", media_type, body)
    (out / static.path).write_bytes(body)
    if place.channel != "display":
        return [static]
    moving, whole = bundle(renderer, design, static, body, work.message)
    (out / moving.path).write_bytes(whole)
    return [static, moving]


def _fitting(renderer: Renderer, place: BannerPlace, variant: str) -> tuple[Design, bytes, list[Drawn]]:
    """The variant's layout, or the first other one in which every word fits.

    Where there is no room to say that a model drew the picture, our own drawing stands in its place.
    """
    work, own = renderer.work, renderer.pictures
    turn, subject = VARIANTS.index(variant), subject_of(renderer.work.brief)
    note = i18n.say("kit.made_with_ai", work.brief.language) if work.drawn_by else ""
    made = _first_fitting(renderer, place, turn, Picture(subject, own[turn % len(own)] if own else "", note))
    if note and "fine" not in {text.role for text in made[2]}:
        made = _first_fitting(renderer, place, turn, Picture(subject))
    return made


def _first_fitting(
    renderer: Renderer, place: BannerPlace, turn: int, picture: Picture
) -> tuple[Design, bytes, list[Drawn]]:
    work, variant = renderer.work, VARIANTS[turn]
    wanted = layouts_of(work.seed)[turn]
    tried: list[tuple[Design, bytes, list[Drawn]]] = []
    for layout in (wanted, *(name for name in _ROOMY if name != wanted)):
        design = design_of(work, place, variant, layout, picture, renderer.logo)
        png, drawn = renderer.draw(design)
        if all(text.fit for text in drawn):
            return design, png, drawn
        tried.append((design, png, drawn))
    return tried[0]


def _asset(
    work: KitWork, design: Design, variant: str, drawn: list[Drawn], path: str, media_type: str, body: bytes
) -> Asset:
    place, content, picture = design.place, design.content, design.picture
    shown = picture.subject if not picture.file else "engine" if picture.note else "own"
    return Asset(
        id=f"banner-{place.id}-{variant}",
        medium="banner",
        placement=place.id,
        variant=variant,
        path=path,
        media_type=media_type,
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
        width=place.size[0],
        height=place.size[1],
        words="\n".join(words_of(content, drawn)),
        facts=facts_of(work.message, content, drawn),
        made=_made(design, work),
        alt=i18n.say("kit.alt", work.brief.language, product=work.message.product, headline=content.headline),
        detail={
            "layout": design.layout,
            "headline": content.headline,
            "channel": place.channel,
            "display": work.fonts.display,
            "text": work.fonts.text,
            "picture": shown,
            "logo": "own" if work.logo else "",
            "drawn": msgspec.json.encode(drawn).decode(),
        },
    )


def words_of(content: Content, drawn: Sequence[Drawn]) -> list[str]:
    """The words that were drawn, in the order in which they are read; what did not fit is not among them."""
    said = {
        "brand": [content.brand], "headline": [content.headline], "sub": [content.sub],
        "was": [content.was, content.discount], "price": [content.price], "action": [content.action],
        "fine": [content.fine],
    }  # fmt: skip
    roles = {one.role for one in drawn}
    return [text for role, texts in said.items() if role in roles for text in texts if text]


def facts_of(message: Message, content: Content, drawn: Sequence[Drawn]) -> dict[str, str]:
    """The facts of the message as this banner renders them."""
    roles = {one.role for one in drawn}
    facts = {"call_to_action": content.action}
    if "brand" in roles and message.brand:
        facts["brand"] = content.brand
    if "price" in roles:
        facts["price"] = content.price
    if "was" in roles:
        facts |= {"was": content.was} if content.was else {}
        facts |= {"discount": message.discount} if content.discount else {}
    if "fine" in roles:
        facts |= {"deadline": message.deadline} if message.deadline else {}
        facts |= {"terms": message.terms} if message.terms else {}
        facts |= {"disclaimers": "\n".join(message.disclaimers)} if message.disclaimers else {}
    facts["link"] = message.link
    return {name: value for name, value in facts.items() if value}


def within(png: bytes, most: int, *, jpeg: bool = False) -> tuple[bytes, str]:
    """The picture in at most ``most`` bytes: as PNG, with fewer colours, else as JPEG of falling quality."""
    with Image.open(BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    if not jpeg:
        for candidate in (picture, picture.quantize(256, dither=Image.Dither.NONE)):
            body = _saved(candidate, "PNG", optimize=True)
            if len(body) <= most:
                return body, "image/png"
    for quality in range(92, 20, -6):
        body = _saved(picture, "JPEG", quality=quality, optimize=True, subsampling=0 if quality > 70 else 2)
        if len(body) <= most:
            return body, "image/jpeg"
    raise EngineError(f"cannot be made smaller than {most} bytes", field="banner", mend="use a simpler picture")


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _made(design: Design, work: KitWork) -> Provenance:
    """By typst; where a model drew the picture, by that model, which says more."""
    if work.drawn_by and design.picture.note:
        return work.drawn_by
    asked = hashlib.sha256(json.dumps(design.ops, sort_keys=True).encode()).hexdigest()
    source: SourceType = "composite" if design.picture.file else "algorithmicMedia"
    return Provenance(
        engine="typst", model=design.layout, version=_version(), prompt_sha256=asked, seed=work.seed, source_type=source
    )


def _version() -> str:
    return metadata.version("typst")


def _compiler(source: Path, root: Path, folders: tuple[Path, ...]) -> typst.Compiler:
    fonts = loaded(folders)
    try:
        import typst
    except ModuleNotFoundError:
        raise EngineError("the renderer `typst` is not installed", field="banner", mend=NEEDS_EXTRA) from None
    return typst.Compiler(source, root=root, font_paths=fonts)
