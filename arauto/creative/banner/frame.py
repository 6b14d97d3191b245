"""What every layout is built with: a page of operations for ``data/banner.typ``, texts in the colours of their ground.

Sizes are in pixels. A text has a wished and a least size; the renderer finds the largest that fits its box. Least sizes
grow with the page, because a large page is shown reduced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from arauto.core.kit import Fonts, Palette
from arauto.creative.banner import art
from arauto.creative.banner.colour import LARGE_CONTRAST, contrast, mix, readable

Op = dict[str, Any]
Align = Literal["left", "center", "right"]

# The largest a word may be before it counts as large for WCAG: 24 px, or 18.66 px in bold.
# The room above each, in its own size.
_BEFORE = {
    "headline": 0.46, "sub": 1.25, "price": 0.42, "was": 1.5, "action": 1.55, "fine": 1.7, "rule": 0.7, "brand": 1.2
}  # fmt: skip
# What goes first when the least sizes do not fit: the highest number.
_DROP = {"sub": 9, "fine": 8, "brand": 5, "was": 4}


class Content(NamedTuple):
    """The words of one banner. Empty ones are not shown."""

    brand: str
    headline: str
    sub: str
    was: str
    price: str
    discount: str
    action: str
    fine: str
    disclaimer: bool = False
    """Whether ``fine`` holds a disclaimer, which may not be dropped before the sub-line is."""


class Picture(NamedTuple):
    """What is shown: a drawing of ours by name, or a picture file (already a safe copy for the renderer), and what must
    be said of it in the small print."""

    subject: str
    file: str = ""
    note: str = ""


class Box(NamedTuple):
    """A rectangle on the page."""

    x: float
    y: float
    w: float
    h: float

    def inset(self, by: float, vertical: float | None = None) -> Box:
        """The box inside it, ``by`` smaller on the left and right, ``vertical`` (or the same) above and below."""
        v = by if vertical is None else vertical
        return Box(self.x + by, self.y + v, self.w - 2 * by, self.h - 2 * v)


class Ink(NamedTuple):
    """The colours of texts on one ground."""

    ground: str
    main: str
    quiet: str
    mark: str
    button: str
    on_button: str


def ink_on(palette: Palette, ground: str) -> Ink:
    """Colours that are readable on ``ground``: 4.5:1 for texts, 3:1 for the button against it."""
    main = readable(ground, palette.ink, palette.on_brand, palette.on_deep)
    quiet = next(
        tone for share in (0.24, 0.12, 0.0) if contrast(tone := mix(main, ground, share), ground) >= 5 or share == 0
    )
    mark = readable(ground, palette.accent, palette.brand, main)
    button = readable(ground, palette.accent, palette.brand, palette.deep, palette.paper, least=LARGE_CONTRAST)
    return Ink(ground, main, quiet, mark, button, readable(button, "#ffffff", palette.deep))


class Frame:
    """One banner being laid out."""

    def __init__(
        self,
        size: tuple[int, int],
        content: Content,
        palette: Palette,
        fonts: Fonts,
        picture: Picture,
        seed: int,
        logo: Path | None = None,
    ) -> None:
        self.width, self.height = size
        self.content = content
        self.palette = palette
        self.fonts = fonts
        self.picture = picture
        self.seed = seed
        self.logo = logo
        self.ops: list[Op] = []
        self.fill = palette.paper
        self.legible = min(2.6, max(1.0, math.sqrt(self.width * self.height) / 420))
        self.pad = max(8.0, min(64.0, 0.072 * min(self.width, self.height)))

    @property
    def ratio(self) -> float:
        """Width by height."""
        return self.width / self.height

    @property
    def strip(self) -> bool:
        """Whether it is so wide that everything stands in one row."""
        return self.ratio >= 3

    @property
    def square(self) -> bool:
        """Whether it is about as high as it is wide, and large."""
        return 0.7 < self.ratio <= 1.05 and self.width >= 600

    @property
    def story(self) -> bool:
        """Whether it is a full screen of a telephone, whose upper and lower parts the platform covers."""
        return self.ratio < 0.6 and self.width >= 700

    @property
    def page(self) -> Box:
        return Box(0, 0, self.width, self.height)

    @property
    def safe(self) -> Box:
        """Where texts may stand: inside the margins, and inside what the platforms leave free of a story."""
        if self.story:
            return Box(0.08 * self.width, 0.145 * self.height, 0.84 * self.width, 0.5 * self.height)
        return self.page.inset(self.pad)

    # ---- Ground ------------------------------------------------------------------------------------------------------

    def rect(self, box: Box, fill: Any, *, radius: float = 0, line: str = "", line_width: float = 1) -> None:
        op: Op = {"op": "rect", "x": box.x, "y": box.y, "w": box.w, "h": box.h, "fill": fill, "radius": radius}
        self.ops.append({**op, "line": line, "line-width": line_width} if line else op)

    def circle(
        self, x: float, y: float, radius: float, fill: str | None, *, line: str = "", line_width: float = 1
    ) -> None:
        op: Op = {"op": "ellipse", "x": x - radius, "y": y - radius, "w": 2 * radius, "h": 2 * radius, "fill": fill}
        self.ops.append({**op, "line": line, "line-width": line_width} if line else op)

    def polygon(self, points: Sequence[tuple[float, float]], fill: str) -> None:
        self.ops.append({"op": "polygon", "points": [list(point) for point in points], "fill": fill})

    def vector(self, box: Box, data: str, *, radius: float = 0, role: str = "picture") -> None:
        self.ops.append(
            {"op": "svg", "x": box.x, "y": box.y, "w": box.w, "h": box.h, "data": data, "radius": radius, "role": role}
        )

    # ---- Picture -----------------------------------------------------------------------------------------------------

    def show(self, box: Box, ground: str, *, stage: str = "", radius: float = 0) -> None:
        """The picture, filling ``box``."""
        if self.picture.file:
            self._photo(box, radius)
            return
        self.rect(box, ground, radius=radius)
        drawn = art.scene(self.picture.subject, self.palette, ground, (box.w, box.h), self.seed, stage)
        self.vector(box, drawn, radius=radius)

    def figure(self, box: Box, ground: str) -> None:
        """The subject alone, in the largest square inside ``box``; a photograph is cut to a round."""
        side = min(box.w, box.h)
        square = Box(box.x + (box.w - side) / 2, box.y + (box.h - side) / 2, side, side)
        if self.picture.file:
            self._photo(square, side / 2)
            return
        self.vector(square, art.figure(self.picture.subject, self.palette, ground, side))

    def beams(self, ground: str, x: float, y: float) -> None:
        """Quiet beams over the whole page, from a point."""
        drawn = art.rays(self.palette, ground, (self.width, self.height), (x, y))
        self.vector(self.page, drawn, role="ground")

    def backdrop(self, box: Box, ground: str, stage: str) -> None:
        """A quiet pattern over ``box``."""
        self.vector(box, art.pattern(self.palette, ground, (box.w, box.h), self.seed, stage), role="ground")

    def _photo(self, box: Box, radius: float) -> None:
        self.ops.append(
            {
                "op": "photo", "x": box.x, "y": box.y, "w": box.w, "h": box.h,
                "file": self.picture.file, "radius": radius, "role": "picture",
            }
        )  # fmt: skip

    # ---- Words -------------------------------------------------------------------------------------------------------

    def stack(
        self,
        box: Box,
        ground: str,
        roles: str,
        *,
        align: Align = "left",
        valign: Literal["top", "center", "bottom"] = "center",
        grow: float = 1.0,
        **wish: float,
    ) -> None:
        """The named roles of the content below each other in ``box``, as large as fits.

        ``grow`` scales all wished sizes; a role given by name (``price=1.6``) scales that one.
        """
        unit = grow * min(0.17 * box.w, 0.34 * box.h, 0.15 * math.sqrt(self.width * self.height))
        if self.strip:
            unit = grow * min(0.36 * box.h, 0.2 * box.w)
        ink = ink_on(self.palette, ground)
        items = [item for role in roles.split() for item in self._items(role, ink, unit * wish.get(role, 1.0))]
        if items:
            self.ops.append(
                {"op": "stack", **box._asdict(), "align": align, "valign": valign, "items": items, "ground": ground}
            )

    def _items(self, role: str, ink: Ink, unit: float) -> list[Op]:
        content = self.content
        made: Op | None = None
        if role == "brand" and self.logo is not None and content.brand:
            made = self._sized("brand", unit * 0.62, 16, {"kind": "file", "file": self.logo.name, "text": ""})
        elif role == "brand" and content.brand:
            made = self._text("brand", content.brand, unit * 0.36, 10.5, ink.mark, weight=700, leading=1.1)
        elif role == "headline":
            made = self._headline(ink, unit)
        elif role == "sub" and content.sub:
            made = self._text("sub", content.sub, unit * 0.37, 11, ink.quiet, weight=500, leading=1.3)
        elif role in ("offer", "price"):
            earlier = self._was(ink, unit) if role == "offer" else None
            return [item for item in (earlier, self._price(ink, unit)) if item is not None]
        elif role == "action":
            made = self._button(ink, unit)
        elif role == "fine" and content.fine:
            made = self._text("fine", content.fine, unit * 0.21, 8.5, ink.main, weight=500, leading=1.25)
            made["balance"] = False
            if content.disclaimer:
                made["drop"] = 6
        elif role == "rule":
            made = self._sized(
                "rule", unit * 0.5, 12, {"kind": "rule", "text": "", "fill": ink.mark, "width": 1.6, "height": 0.12}
            )
        return [made] if made else []

    def _headline(self, ink: Ink, unit: float) -> Op:
        least = 11.5 if self.strip else 17.5
        made = self._text("headline", self.content.headline, unit, least, ink.main, display=True, leading=1.06)
        if self.strip:
            made["ideal"] = 2 if self.height < 200 else 3
        return made

    def _text(
        self, role: str, text: str, size: float, least: float, fill: str, *,
        weight: int = 400, display: bool = False, leading: float = 1.2,
    ) -> Op:  # fmt: skip
        item = {
            "kind": "text",
            "text": text,
            "fill": fill,
            "weight": weight,
            "leading": leading,
            "font": self.fonts.text,
        }
        if display:
            item |= {"font": self.fonts.display, "weight": 800, "tracking": -0.012, "most": 6}
        return self._sized(role, size, least, item)

    def _sized(self, role: str, size: float, least: float, item: Op) -> Op:
        floor = least * self.legible
        before = _BEFORE[role]
        wished = max(size, floor)
        if role == "price" and not (self.content.was or self.content.discount):
            before *= 2.2
        return {
            **item,
            "role": role,
            "size": wished,
            "least": floor,
            "drop": _DROP.get(role, 0),
            "before": before * wished,
        }

    def _price(self, ink: Ink, unit: float) -> Op | None:
        if not self.content.price:
            return None
        least = 17 if not self.strip else 14
        return self._sized(
            "price", unit * 0.86, least,
            {"kind": "price", "text": self.content.price, "fill": ink.main, "weight": 800, "font": self.fonts.text,
             "tracking": -0.015},
        )  # fmt: skip

    def _was(self, ink: Ink, unit: float) -> Op | None:
        """The earlier price struck through, and the discount in a mark; above the price."""
        parts: list[Op] = []
        if self.content.was:
            parts.append(
                {
                    "kind": "was",
                    "text": self.content.was,
                    "fill": ink.main,
                    "weight": 500,
                    "font": self.fonts.text,
                    "scale": 1.0,
                }
            )
        if self.content.discount:
            parts.append(
                {"kind": "pill", "text": self.content.discount, "ground": ink.button, "fill": ink.on_button,
                 "weight": 700,
                 "font": self.fonts.text, "scale": 0.92, "round": 0.45, "inset": [0.5, 0.36]}
            )  # fmt: skip
        if not parts:
            return None
        return self._sized("was", unit * 0.36, 11, {"kind": "row", "text": "", "parts": parts, "gap": 0.55})

    def _button(self, ink: Ink, unit: float) -> Op:
        return self._sized(
            "action", unit * 0.36, 11,
            {"kind": "pill", "text": self.content.action, "ground": ink.button, "fill": ink.on_button, "weight": 700,
             "font": self.fonts.text, "round": 10 if self.seed % 2 == 0 else 0.5,
             "inset": [0.85, 0.7] if self.strip else [1.15, 0.85]},
        )  # fmt: skip
