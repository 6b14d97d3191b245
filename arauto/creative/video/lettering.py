"""Texts as pictures: set once with the kit's fonts (shaped and kerned), then moved as wholes or line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import skia

Align = Literal["left", "centre"]


class Label(msgspec.Struct, frozen=True):
    """A text that was set: its picture, its size in pixels without the margin, its lines and their height."""

    picture: Any
    width: float
    height: float
    lines: int
    line_height: float
    margin: float
    size: float


class Letterer:
    """Sets texts. ``folders`` hold the font files; families are found by name, weights by number."""

    def __init__(self, folders: Sequence[Path]) -> None:
        maker, self._provider = skia.FontMgr.New_Custom_Empty(), skia.textlayout.TypefaceFontProvider()
        for folder in folders:
            for file in sorted(folder.glob("*.[to]tf")):
                # A variable font hides its instances behind one weight; the static files beside it are used.
                face = None if "Variable" in file.name else maker.makeFromFile(str(file))
                if face is not None:
                    self._provider.registerTypeface(face)
        self._fonts = skia.textlayout.FontCollection()
        self._fonts.setDefaultFontManager(self._provider)
        self._unicode = skia.Unicodes.ICU.Make()

    def fit(
        self,
        text: str,
        box: tuple[float, float],
        *,
        family: str,
        colour: str,
        weight: int = 700,
        most: float,
        least: float,
        align: Align = "left",
        leading: float = 1.08,
        tracking: float = -0.018,
        single: bool = False,
    ) -> Label:
        """``text`` as large as ``box`` (width, height) lets it be, from ``most`` down to ``least`` pixels, no word cut.

        ``single`` keeps it on one line; else its lines are made about equally long. At ``least`` it may be taller than
        the box.
        """
        size = most
        while True:
            style = (family, weight, size, leading, tracking, align)
            paragraph = self._paragraph(text, style, colour, box[0])
            wide = paragraph.MaxIntrinsicWidth if single else paragraph.MinIntrinsicWidth
            if size <= least or (paragraph.Height <= box[1] + 1 and wide <= box[0]):
                break
            size = max(least, size * 0.95)
        lines = max(1, round(paragraph.Height / (size * leading)))
        width = self._narrowest(paragraph, box[0], paragraph.Height)
        paragraph.layout(width)
        # Overshooting glyphs and accents reach out of their box.
        margin = float(round(size * 0.25))
        inked = paragraph.LongestLine if align == "left" else width
        surface = skia.Surface(int(inked + 2 * margin) + 2, int(paragraph.Height + 2 * margin) + 1)
        paragraph.paint(surface.getCanvas(), margin, margin)
        height, line = float(paragraph.Height), float(paragraph.Height) / lines
        return Label(surface.makeImageSnapshot(), float(inked), height, lines, line, margin, size)

    def _paragraph(
        self, text: str, style: tuple[str, int, float, float, float, Align], colour: str, width: float
    ) -> Any:
        family, weight, size, leading, tracking, align = style
        layout = skia.textlayout
        look, paragraph = layout.TextStyle(), layout.ParagraphStyle()
        paragraph.setTextAlign(layout.TextAlign.kLeft if align == "left" else layout.TextAlign.kCenter)
        look.setFontFamilies([family])
        look.setFontSize(size)
        look.setFontStyle(skia.FontStyle(weight, 5, skia.FontStyle.Slant.kUpright_Slant))
        look.setColor(paint_colour(colour))
        look.setLetterSpacing(tracking * size)
        look.setHeight(leading)
        look.setHeightOverride(True)
        builder = layout.ParagraphBuilder.make(paragraph, self._fonts, self._unicode)
        builder.pushStyle(look)
        builder.addText(text)
        builder.pop()
        built = builder.Build()
        built.layout(width)
        return built

    @staticmethod
    def _narrowest(paragraph: Any, width: float, height: float) -> float:
        """The least width that needs no further line: it makes the lines even."""
        low, high = paragraph.MinIntrinsicWidth, width
        for _ in range(9):
            middle = (low + high) / 2
            paragraph.layout(middle)
            low, high = (low, middle) if height + 1 >= paragraph.Height else (middle, high)
        return float(high) + 1


def paint_colour(colour: str, alpha: float = 1.0) -> int:
    """``#rrggbb`` as the library's number."""
    value = int(colour[1:], 16)
    return int(skia.ColorSetARGB(round(255 * alpha), value >> 16, value >> 8 & 255, value & 255))
