"""Where things stand in each shape, clear of what the platforms lay over a film.

9x16: 14 % at the top, 35 % at the bottom and 6 % at the sides stay free of words (Reels, the strictest).
"""

from __future__ import annotations

import msgspec


class Box(msgspec.Struct, frozen=True):
    """In pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A shape of film. ``words`` is where texts stand, ``art`` the square of the picture, ``caption_y`` the middle of
    the captions; ``closing`` is where the last scene's texts stand, centred. ``unit`` is 1 on a side of 1080.
    """

    name: str
    width: int
    height: int
    words: Box
    art: Box
    closing: Box
    caption_y: float
    caption_width: float
    caption_letters: int
    safe: Box
    unit: float
    tall: bool = False


def _shape(
    name: str, width: int, height: int, caption: tuple[float, int], **boxes: tuple[float, float, float, float]
) -> Shape:
    """Boxes are shares of width and height; ``art`` and its size are shares of the shorter side around its centre."""
    side = min(width, height)
    x, y, share, caption_y = boxes["art"]
    rest = {
        key: Box(at[0] * width, at[1] * height, at[2] * width, at[3] * height)
        for key, at in boxes.items()
        if key in ("words", "closing", "safe")
    }
    return Shape(
        name=name,
        width=width,
        height=height,
        art=Box(x * width - share * side / 2, y * height - share * side / 2, share * side, share * side),
        caption_y=caption_y * height,
        caption_width=caption[0] * width,
        caption_letters=caption[1],
        unit=side / 1080,
        tall=height > width,
        **rest,
    )


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        _shape(
            "9x16",
            1080,
            1920,
            words=(0.07, 0.192, 0.86, 0.215),
            art=(0.5, 0.74, 0.84, 0.452),
            closing=(0.07, 0.185, 0.86, 0.225),
            caption=(0.86, 32),
            safe=(0.06, 0.14, 0.88, 0.51),
        ),
        _shape(
            "1x1",
            1080,
            1080,
            words=(0.07, 0.19, 0.45, 0.54),
            art=(0.765, 0.49, 0.46, 0.885),
            closing=(0.07, 0.19, 0.45, 0.54),
            caption=(0.86, 34),
            safe=(0.04, 0.04, 0.92, 0.92),
        ),
        _shape(
            "16x9",
            1920,
            1080,
            words=(0.065, 0.20, 0.46, 0.54),
            art=(0.75, 0.47, 0.72, 0.89),
            closing=(0.065, 0.20, 0.46, 0.54),
            caption=(0.70, 46),
            safe=(0.04, 0.05, 0.92, 0.90),
        ),
    )
}
