"""The words of a scene, set and placed: what each looks like and how it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import skia

from arauto.core.kit import Fonts, Palette
from arauto.creative.banner.colour import contrast, mix, readable
from arauto.creative.video.frame import Box, Shape
from arauto.creative.video.lettering import Label, Letterer, paint_colour
from arauto.creative.video.motion import ease_out, part, spring
from arauto.creative.video.storyboard import Scene, Words

_SCALES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)
"""How much smaller a block is set until it fits its box."""
_LINEAR = skia.SamplingOptions(skia.FilterMode.kLinear)


class Inks(msgspec.Struct, frozen=True):
    """Colours of the words on a ground, each readable there."""

    ground: str
    main: str
    quiet: str
    strong: str
    accent: str
    on_accent: str

    @staticmethod
    def on(ground: str, palette: Palette) -> Inks:
        """``strong`` is for a price: the accent where it can be read, else the main ink."""
        main = readable(ground, "#ffffff", palette.ink) if ground in (palette.brand, palette.deep) else palette.ink
        quiet = next(
            (ink for ink in (mix(main, ground, 0.22), mix(main, ground, 0.1)) if contrast(ink, ground) >= 4.6), main
        )
        strong = readable(ground, palette.accent, palette.brand, main, least=4.5)
        accent, on_accent = palette.accent, palette.on_accent
        if contrast(accent, ground) < 1.6:
            accent, on_accent = (
                (palette.deep, palette.on_deep) if ground != palette.deep else (palette.paper, palette.ink)
            )
        return Inks(ground, main, quiet, strong, accent, on_accent)


class Placed(msgspec.Struct):
    """A label at a place. ``coming`` draws it, told how long ago it came."""

    label: Label
    x: float
    y: float
    at: float
    coming: Callable[[Any, Placed, float], None]
    under: Callable[[Any, Placed, float], None] | None = None

    def paint(self, canvas: Any, time: float, at: float) -> None:
        """Nothing before ``at``, in seconds of the film."""
        if time >= at:
            if self.under is not None:
                self.under(canvas, self, time - at)
            self.coming(canvas, self, time - at)


class Card(msgspec.Struct):
    """The words of a scene, and the square that they leave to the picture."""

    items: list[Placed]
    art: Box


def rising(canvas: Any, item: Placed, since: float) -> None:
    """Line by line out of a slit, each a little after the one above."""
    label = item.label
    for line in range(label.lines):
        share = ease_out(part(since, 0.09 * line, 0.7))
        if share <= 0:
            continue
        top = label.line_height * line
        # The slit is taller than the line by what accents and tails reach out of it.
        reach = label.line_height * 0.1
        slit = skia.Rect.MakeLTRB(
            item.x - label.margin,
            item.y + top - reach,
            item.x + label.width + label.margin,
            item.y + top + label.line_height + reach,
        )
        canvas.save()
        canvas.clipRect(slit)
        canvas.translate(0, label.line_height * 1.2 * (1 - share))
        lines = skia.Rect.MakeLTRB(
            0, label.margin + top - reach, label.picture.width(), label.margin + top + label.line_height + reach
        )
        target = lines.makeOffset(item.x - label.margin, item.y - label.margin)
        canvas.drawImageRect(label.picture, lines, target, _LINEAR)
        canvas.restore()


def fading(canvas: Any, item: Placed, since: float) -> None:
    """A short way up, out of nothing."""
    share = ease_out(part(since, 0, 0.6))
    paint = skia.Paint(Alphaf=share)
    y = item.y + item.label.size * 0.6 * (1 - share)
    canvas.drawImage(item.label.picture, item.x - item.label.margin, y - item.label.margin, _LINEAR, paint)


def popping(canvas: Any, item: Placed, since: float) -> None:
    """Grows past its size and settles."""
    scale = spring(part(since, 0, 0.75))
    if scale <= 0.01:
        return
    _scaled(canvas, item, scale)
    canvas.drawImage(item.label.picture, item.x - item.label.margin, item.y - item.label.margin, _LINEAR)
    canvas.restore()


def lay_out(scene: Scene, shape: Shape, inks: Inks, fonts: Fonts, letterer: Letterer) -> Card:
    """Set the words of ``scene`` one below the other in their box."""
    box = shape.closing if scene.kind == "close" else shape.words
    for scale in _SCALES:
        setter = _Setter(box, shape, scale, inks, fonts, letterer)
        for words in scene.words:
            setter.add(words)
        if setter.height <= box.height:
            break
    return Card(setter.placed(), shape.art)


def name_tag(letterer: Letterer, name: str, shape: Shape, inks: Inks, fonts: Fonts) -> Placed:
    """Who speaks, in the corner from the first moment on."""
    label = letterer.fit(
        name, (shape.safe.width * 0.6, 60 * shape.unit), family=fonts.display, colour=inks.main, weight=800,
        most=40 * shape.unit, least=22 * shape.unit, tracking=-0.01,
    )  # fmt: skip
    y = shape.safe.y + (12 if shape.tall else 26) * shape.unit
    mark = 15 * shape.unit
    x = (shape.width - label.width) / 2 + mark * 1.2 if shape.tall else shape.words.x + mark * 2.4

    def dot(canvas: Any, item: Placed, since: float) -> None:
        grown = spring(part(since, 0, 0.5))
        paint = skia.Paint(Color=paint_colour(inks.accent), AntiAlias=True)
        canvas.drawCircle(item.x - mark * 1.6, item.y + item.label.height * 0.53, mark * max(0.0, grown), paint)

    return Placed(label, x, y, 0.0, fading, dot)


def logo_tag(logo: Any, shape: Shape, inks: Inks) -> Placed:
    """The marketer's logo in the place of the name; on a plate where it would not stand out from the ground."""
    most = (shape.safe.width * 0.42, (50 if shape.tall else 84) * shape.unit)
    scale = min(most[0] / logo.width(), most[1] / logo.height())
    width, height = logo.width() * scale, logo.height() * scale
    surface = skia.Surface(max(1, round(width)), max(1, round(height)))
    surface.getCanvas().drawImageRect(
        logo, skia.Rect.MakeWH(width, height), skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
    )
    picture = surface.makeImageSnapshot()
    label = Label(picture, width, height, 1, height, 0.0, height)
    y = shape.safe.y + 12 * shape.unit
    x = (shape.width - width) / 2 if shape.tall else shape.words.x
    plate = _plate_of(picture, inks.ground)

    def under(canvas: Any, item: Placed, since: float) -> None:
        pad = 0.22 * height
        rect = skia.Rect.MakeXYWH(item.x - pad, item.y - pad, width + 2 * pad, height + 2 * pad)
        paint = skia.Paint(Color=paint_colour(plate, ease_out(part(since, 0, 0.4))), AntiAlias=True)
        canvas.drawRoundRect(rect, 0.3 * height, 0.3 * height, paint)

    return Placed(label, x, y, 0.0, fading, under if plate else None)


def _plate_of(logo: Any, ground: str) -> str:
    """White or near-black under a logo whose ink has less than 3:1 to ``ground``; empty when it stands out there."""
    pixels = logo.toarray(colorType=skia.kRGBA_8888_ColorType).reshape(-1, 4)
    ink = pixels[pixels[:, 3] > 200][:, :3]
    if not len(ink) or len(ink) == len(pixels):  # nothing to see, or a ground of its own
        return ""
    tones = ["#" + bytes(tone).hex() for tone in ink[:: max(1, len(ink) // 200)]]

    def stands_out(on: str) -> float:
        return sum(contrast(tone, on) >= 3 for tone in tones) / len(tones)

    best = max((ground, "#ffffff", "#111111"), key=lambda on: (stands_out(on) >= 0.9, stands_out(on)))
    return "" if best == ground or stands_out(ground) >= 0.9 else best


def caption_pill(letterer: Letterer, text: str, shape: Shape, palette: Palette, fonts: Fonts) -> Placed:
    """A caption: white on near-black, wherever it stands."""
    ink = mix(palette.ink, "#000000", 0.35)
    label = letterer.fit(
        text, (shape.caption_width, 64 * shape.unit), family=fonts.text, colour="#ffffff", weight=700,
        most=46 * shape.unit, least=30 * shape.unit, align="left", tracking=0.0, leading=1.2,
    )  # fmt: skip
    x, y = (shape.width - label.width) / 2, shape.caption_y - label.height / 2

    def pill(canvas: Any, item: Placed, since: float) -> None:
        share = ease_out(part(since, 0, 0.25))
        pad_x, pad_y = 26 * shape.unit, 13 * shape.unit
        rect = skia.Rect.MakeXYWH(
            item.x - pad_x, item.y - pad_y, item.label.width + 2 * pad_x, item.label.height + 2 * pad_y
        )
        radius = rect.height() * 0.32
        canvas.drawRoundRect(rect, radius, radius, skia.Paint(Color=paint_colour(ink, 0.86 * share), AntiAlias=True))

    return Placed(label, x, y, 0.0, _caption, pill)


def _caption(canvas: Any, item: Placed, since: float) -> None:
    paint = skia.Paint(Alphaf=ease_out(part(since, 0, 0.2)))
    canvas.drawImage(item.label.picture, item.x - item.label.margin, item.y - item.label.margin, _LINEAR, paint)


class _Setter:
    """Sets texts below each other; at the end the whole block is put in its place."""

    def __init__(self, box: Box, shape: Shape, scale: float, inks: Inks, fonts: Fonts, letterer: Letterer) -> None:
        self._box, self._shape, self._inks, self._fonts, self._letterer = box, shape, inks, fonts, letterer
        self._unit, self._centred = shape.unit * scale, shape.tall
        self._items: list[Placed] = []
        self._gaps: list[float] = []
        self._fine: list[Placed] = []

    def add(self, words: Words) -> None:
        """Set one text."""
        unit, inks = self._unit, self._inks
        match words.part:
            case "headline":
                self._put(words, inks.main, 800, (136, 50), self._box.height * 0.9, rising, display=True)
            case "small":
                self._put(words, inks.quiet, 600, (50, 32), 140 * unit, fading, gap=18)
            case "point":
                self._put(
                    words,
                    inks.main,
                    700,
                    (66, 38),
                    self._box.height * 0.3,
                    rising,
                    gap=30,
                    inset=64,
                    under=_tick(self._shape, inks),
                )
            case "was":
                self._put(
                    words, inks.quiet, 600, (58, 40), 90 * unit, fading, under=None, coming=_struck(self._shape, inks)
                )
            case "price":
                self._put(words, inks.strong, 800, (180, 66), self._box.height * 0.6, popping, gap=2, display=True)
            case "badge" | "button":
                self._pill(words)
            case "note" | "link":
                self._put(words, inks.main, 600, (46, 32), 120 * unit, fading, gap=46)
            case "fine":
                self._small_print(words)

    @property
    def height(self) -> float:
        """Of the whole block, in pixels."""
        return sum(item.label.height + gap for item, gap in zip(self._items, self._gaps, strict=True))

    def placed(self) -> list[Placed]:
        """The texts where they stand: the block in the middle of its box."""
        y = self._box.y + max(0.0, (self._box.height - self.height) / 2)
        for item, gap in zip(self._items, self._gaps, strict=True):
            y += gap
            item.y = y
            y += item.label.height
        return self._items + self._fine

    def _put(
        self,
        words: Words,
        colour: str,
        weight: int,
        sizes: tuple[float, float],
        height: float,
        move: Callable[[Any, Placed, float], None],
        *,
        gap: float = 0.0,
        inset: float = 0.0,
        display: bool = False,
        under: Callable[[Any, Placed, float], None] | None = None,
        coming: Callable[[Any, Placed, float], None] | None = None,
    ) -> None:
        unit = self._unit
        family = self._fonts.display if display else self._fonts.text
        width = self._box.width - inset * unit * (2 if self._centred else 1)
        label = self._letterer.fit(
            words.text, (width, height), family=family, colour=colour, weight=weight,
            most=sizes[0] * unit, least=sizes[1] * unit, align="centre" if self._centred else "left",
            single=words.part in ("price", "was"),
        )  # fmt: skip
        x = self._box.x + (self._box.width - label.width) / 2 if self._centred else self._box.x
        x += inset * unit * (0.5 if self._centred else 1)
        self._items.append(Placed(label, x, 0.0, words.at, coming or move, under))
        self._gaps.append(gap * unit if len(self._items) > 1 else 0.0)

    def _pill(self, words: Words) -> None:
        """A badge or a button: a text on a rounded ground of the accent."""
        unit, inks, button = self._unit, self._inks, words.part == "button"
        pad_x, pad_y = (52, 26) if button else (30, 15)
        label = self._letterer.fit(
            words.text, (self._box.width - 2 * pad_x * unit, 80 * unit), family=self._fonts.text, colour=inks.on_accent,
            weight=800, most=(56 if button else 48) * unit, least=30 * unit, tracking=-0.01,
        )  # fmt: skip
        x = self._box.x + (self._box.width - label.width) / 2 if self._centred else self._box.x + pad_x * unit
        ground = paint_colour(inks.accent)

        def under(canvas: Any, item: Placed, since: float) -> None:
            scale = spring(part(since, 0, 0.75))
            if scale <= 0.01:
                return
            _scaled(canvas, item, scale * _beat(since, button))
            rect = skia.Rect.MakeXYWH(
                item.x - pad_x * unit,
                item.y - pad_y * unit,
                item.label.width + 2 * pad_x * unit,
                item.label.height + 2 * pad_y * unit,
            )
            radius = rect.height() / 2 if button else 18 * unit
            canvas.drawRoundRect(rect, radius, radius, skia.Paint(Color=ground, AntiAlias=True))
            canvas.restore()

        def coming(canvas: Any, item: Placed, since: float) -> None:
            scale = spring(part(since, 0, 0.75))
            if scale > 0.01:
                _scaled(canvas, item, scale * _beat(since, button))
                canvas.drawImage(item.label.picture, item.x - item.label.margin, item.y - item.label.margin, _LINEAR)
                canvas.restore()

        self._items.append(Placed(label, x, 0.0, words.at, coming, under))
        self._gaps.append((pad_y + 30) * unit if len(self._items) > 1 else 0.0)

    def _small_print(self, words: Words) -> None:
        """Terms and disclaimers, clear of the picture: below the words beside it, or between captions and picture. What
        is too long for that stands at the lower edge of what is safe, on a plate.
        """
        unit, shape, inks = self._shape.unit, self._shape, self._inks
        width = shape.safe.width * 0.96 if shape.tall else self._box.width
        label = self._letterer.fit(
            words.text, (width, (58 if shape.tall else 110) * unit), family=self._fonts.text, colour=inks.quiet,
            weight=500, most=30 * unit, least=21 * unit, align="centre" if shape.tall else "left", tracking=0.0,
            leading=1.25,
        )  # fmt: skip
        if not shape.tall:
            y = shape.caption_y - 52 * unit - label.height
            self._fine.append(Placed(label, shape.words.x, y, words.at, fading))
            return
        above = label.height <= 60 * unit
        y = (shape.art.y - 2 * unit if above else shape.safe.bottom - 22 * unit) - label.height

        def plate(canvas: Any, item: Placed, since: float) -> None:
            pad = 12 * unit
            rect = skia.Rect.MakeXYWH(item.x - pad, item.y - pad, label.width + 2 * pad, label.height + 2 * pad)
            paint = skia.Paint(Color=paint_colour(inks.ground, 0.86 * ease_out(part(since, 0, 0.5))), AntiAlias=True)
            canvas.drawRoundRect(rect, pad, pad, paint)

        x = (shape.width - label.width) / 2
        self._fine.append(Placed(label, x, y, words.at, fading, None if above else plate))


def _beat(since: float, active: bool) -> float:
    """A button nods now and then."""
    if not active or since < 1.0:
        return 1.0
    share = (since - 1.0) % 1.6 / 0.45
    return 1.0 + (0.045 * (1 - (2 * share - 1) ** 2) if share < 1 else 0.0)


def _tick(shape: Shape, inks: Inks) -> Callable[[Any, Placed, float], None]:
    """A check mark that is drawn before its point, in a disc of the accent."""

    def draw(canvas: Any, item: Placed, since: float) -> None:
        grown, radius = spring(part(since, 0, 0.6)), 23 * shape.unit
        x, y = item.x - 40 * shape.unit, item.y + item.label.line_height * 0.54
        canvas.drawCircle(x, y, radius * max(0.0, grown), skia.Paint(Color=paint_colour(inks.accent), AntiAlias=True))
        share = ease_out(part(since, 0.15, 0.5))
        if share <= 0:
            return
        path = skia.Path()
        path.moveTo(x - radius * 0.42, y + radius * 0.04)
        path.lineTo(x - radius * 0.1, y + radius * 0.36)
        if share > 0.3:
            path.lineTo(x - radius * 0.1 + radius * 0.56 * share, y + radius * 0.36 - radius * 0.7 * share)
        pen = skia.Paint(
            Color=paint_colour(inks.on_accent), AntiAlias=True, Style=skia.Paint.kStroke_Style,
            StrokeWidth=radius * 0.22, StrokeCap=skia.Paint.kRound_Cap, StrokeJoin=skia.Paint.kRound_Join,
        )  # fmt: skip
        canvas.drawPath(path, pen)

    return draw


def _struck(shape: Shape, inks: Inks) -> Callable[[Any, Placed, float], None]:
    """The earlier price, struck out while one looks."""

    def draw(canvas: Any, item: Placed, since: float) -> None:
        fading(canvas, item, since)
        share = ease_out(part(since, 0.3, 0.5))
        if share > 0:
            y = item.y + item.label.height * 0.54
            pen = skia.Paint(Color=paint_colour(inks.accent), AntiAlias=True, StrokeWidth=5 * shape.unit)
            canvas.drawLine(item.x - 6, y, item.x - 6 + (item.label.width + 12) * share, y, pen)

    return draw


def _scaled(canvas: Any, item: Placed, scale: float) -> None:
    """Save the canvas and scale about the middle of ``item``."""
    x, y = item.x + item.label.width / 2, item.y + item.label.height / 2
    canvas.save()
    canvas.translate(x, y)
    canvas.scale(scale, scale)
    canvas.translate(-x, -y)
