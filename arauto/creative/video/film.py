"""The film: every frame drawn with Skia from the storyboard and handed to the encoder."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import skia

from arauto.core.kit import Fonts, Palette
from arauto.creative.banner.art import STAGES, figure, svg
from arauto.creative.banner.colour import contrast, mix
from arauto.creative.sound.ffmpeg import probe
from arauto.creative.video.footage import Clip
from arauto.creative.video.frame import Shape
from arauto.creative.video.lettering import Letterer, paint_colour
from arauto.creative.video.motion import ease_in_out, ease_out, part, spring, sway
from arauto.creative.video.parts import Card, Inks, Placed, caption_pill, lay_out, logo_tag, name_tag
from arauto.creative.video.storyboard import Kind, Scene, Storyboard

FRAMES_A_SECOND = 30
_TURN = 0.55
"""Seconds that a change of scene takes."""
_STAGES = ("dots", "rings", "blocks", "waves", "rays", "arch")
_NEAR: dict[Kind, tuple[float, float]] = {
    "hook": (0.82, 0.0),
    "body": (0.98, -6.0),
    "benefits": (0.78, 3.0),
    "claim": (0.86, -3.0),
    "offer": (0.84, 4.0),
    "close": (0.82, 0.0),
}
"""By scene: how large the drawing is in its disc, and how it leans, in degrees."""
_ROOM = 1.14
"""Backgrounds are drawn this much larger, so that they can drift."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a film is drawn with: colours, fonts, the drawing's name. ``clips`` (files) and ``pictures`` (the bytes of
    PNG or JPEG files) win over the drawing, the ``logo`` (bytes, too) over the name.
    """

    palette: Palette
    fonts: Fonts
    subject: str
    seed: int
    pictures: tuple[bytes, ...] = ()
    clips: tuple[Path, ...] = ()
    logo: bytes = b""


class Film:
    """Draws a storyboard in a shape. Iterate :meth:`frames` for RGBA bytes, one frame after the other."""

    def __init__(self, board: Storyboard, shape: Shape, look: Look) -> None:
        self._board, self._shape, self._look = board, shape, look
        self._letterer = Letterer(look.fonts.folders)
        self._pictures = [_decoded(data) for data in look.pictures]
        self._lasts = [probe(path).seconds for path in look.clips]
        self._clips: list[Clip] = []
        self._logo = _decoded(look.logo) if look.logo else None
        self._sets = [self._set(scene) for scene in board.scenes]
        self._captions = [
            (cue, caption_pill(self._letterer, cue.text, shape, look.palette, look.fonts)) for cue in board.cues
        ]
        self._pixels = np.zeros((shape.height, shape.width, 4), np.uint8)
        self._surface = skia.Surface(self._pixels, colorType=skia.kRGBA_8888_ColorType)

    def frames(self) -> Iterator[bytes]:
        """Every frame, in order. The bytes are valid until the next one is drawn."""
        try:
            for number in range(round(self._board.seconds * FRAMES_A_SECOND)):
                self.draw(number / FRAMES_A_SECOND)
                yield self._pixels.data  # type: ignore[misc]
        finally:
            self.close()

    def close(self) -> None:
        """Give the marketer's clips back."""
        for clip in self._clips:
            clip.close()

    def draw(self, time: float) -> Any:
        """The frame at ``time`` in seconds, as an array of RGBA pixels."""
        canvas, place = self._surface.getCanvas(), self._at(time)
        current = self._sets[place]
        turned = part(time, current.scene.start, _TURN)
        if place > 0 and turned < 1:
            self._sets[place - 1].paint(canvas, time)
            canvas.save()
            self._open(canvas, place, ease_in_out(turned))
            current.paint(canvas, time)
            canvas.restore()
        else:
            current.paint(canvas, time)
        for cue, pill in self._captions:
            if cue.start - 0.08 <= time < cue.end:
                pill.paint(canvas, time, cue.start - 0.08)
        self._surface.flushAndSubmit()
        return self._pixels

    def _at(self, time: float) -> int:
        return max(place for place, scene in enumerate(self._board.scenes) if scene.start <= time)

    def _open(self, canvas: Any, place: int, share: float) -> None:
        """Clip to what the new scene has already taken: a growing circle, a slanted wipe, a rising panel, in turn."""
        width, height, path = self._shape.width, self._shape.height, skia.Path()
        kind = (place + self._look.seed) % 3
        if kind == 0:
            centre = self._sets[place - 1].centre
            path.addCircle(*centre, share * math.hypot(width, height))
        elif kind == 1:
            slant = 0.35 * height
            edge = -slant + share * (width + 2 * slant)
            path.addPoly([(-1, -1), (edge + slant, -1), (edge - slant, height + 1), (-1, height + 1)], True)
        else:
            top = height * (1 - share)
            path.addRoundRect(skia.Rect.MakeLTRB(0, top, width, height * 2), 60 * (1 - share), 60 * (1 - share))
        canvas.clipPath(path, True)

    def _set(self, scene: Scene) -> _Set:
        palette = self._look.palette
        ground = {
            "brand": palette.brand,
            "deep": palette.deep,
            "tint": palette.tint,
            "paper": palette.paper,
        }[scene.ground]
        inks = Inks.on(ground, palette)
        card = lay_out(scene, self._shape, inks, self._look.fonts, self._letterer)
        tag = None
        if self._logo is not None:
            tag = logo_tag(self._logo, self._shape, inks)
        elif scene.kind != "close":
            tag = name_tag(self._letterer, self._board.name, self._shape, inks, self._look.fonts)
        return _Set(scene, self._shape, self._look, ground, card, tag, self._seen(scene, card))

    def _seen(self, scene: Scene, card: Card) -> Any:
        """The marketer's own clip or picture in this scene: clips come first, each in turn; None when there is none."""
        count = len(self._look.clips) + len(self._pictures)
        if not count:
            return None
        place = scene.picture % count
        if place >= len(self._look.clips):
            return self._pictures[place - len(self._look.clips)]
        # A clip that is long enough goes on where the film is; a short one begins anew in each scene.
        start = scene.start if self._lasts[place] > scene.end + _TURN else 0.0
        clip = Clip(self._look.clips[place], round(card.art.width), FRAMES_A_SECOND, start)
        self._clips.append(clip)
        return clip


class _Set:
    """Everything of one scene that does not change from frame to frame, and how it moves."""

    def __init__(
        self, scene: Scene, shape: Shape, look: Look, ground: str, card: Card, tag: Placed | None, picture: Any
    ) -> None:
        self.scene, self._shape, self._card, self._tag = scene, shape, card, tag
        self._ground = paint_colour(ground)
        self._art = card.art
        self.centre = (self._art.x + self._art.width / 2, self._art.y + self._art.height / 2)
        pale = contrast(ground, "#000000") > 9
        self._halo = paint_colour(mix(ground, look.palette.brand if pale else "#ffffff", 0.13 if pale else 0.12))
        self._ring = paint_colour(look.palette.accent)
        self._picture = picture
        self._back = _drawing_of(_stage(ground, look, shape, scene.picture))
        self._drawing = _drawing_of(figure(look.subject, look.palette, ground, self._art.width))

    def paint(self, canvas: Any, time: float) -> None:
        """Draw the scene as it is at ``time``."""
        own = time - self.scene.start
        self._paint_ground(canvas, own)
        if self._picture is not None:
            self._paint_picture(canvas, own)
        else:
            self._paint_drawing(canvas, own)
        if self._tag is not None:
            self._tag.paint(canvas, time if self.scene.start == 0 else time + 9, 0.05)
        for item in self._card.items:
            item.paint(canvas, time, item.at)

    def _paint_ground(self, canvas: Any, own: float) -> None:
        canvas.drawColor(self._ground)
        width, height = self._shape.width, self._shape.height
        canvas.save()
        canvas.translate(width / 2, height / 2)
        canvas.scale(*((1 + 0.012 * own,) * 2))
        canvas.rotate(0.5 * sway(own, 14))
        canvas.translate(-width * _ROOM / 2 + 14 * sway(own, 11), -height * _ROOM / 2)
        self._back.render(canvas)
        canvas.restore()

    def _paint_drawing(self, canvas: Any, own: float) -> None:
        side, (x, y) = self._art.width, self.centre
        come = spring(part(own, 0.12, 0.95))
        disc = skia.Paint(Color=self._halo, AntiAlias=True)
        canvas.drawCircle(x, y, side * 0.5 * ease_out(part(own, 0.0, 0.8)) * (1 + 0.012 * sway(own, 4)), disc)
        ring = skia.Paint(Color=self._ring, AntiAlias=True, Style=skia.Paint.kStroke_Style, StrokeWidth=side * 0.011)
        ring.setStrokeCap(skia.Paint.kRound_Cap)
        grown = ease_in_out(part(own, 0.25, 1.1))
        reach = side * 0.545
        canvas.drawArc(
            skia.Rect.MakeLTRB(x - reach, y - reach, x + reach, y + reach), -100 + own * 14, 96 * grown, False, ring
        )
        dot = skia.Paint(Color=self._ring, AntiAlias=True)
        for turn, size in ((150, 0.026), (215, 0.015)):
            angle = math.radians(turn + own * 9)
            canvas.drawCircle(x + reach * math.cos(angle), y + reach * math.sin(angle), side * size * grown, dot)
        canvas.save()
        canvas.translate(x, y + side * (0.55 * (1 - come) + 0.012 * sway(own, 3.4)))
        canvas.rotate(-7 * (1 - come) + 1.6 * sway(own, 5.2, 0.1))
        near, tilt = _NEAR[self.scene.kind]
        canvas.rotate(tilt)
        scale = (0.72 + 0.28 * come) * (1 + 0.006 * own) * near
        canvas.scale(scale, scale)
        canvas.translate(-side / 2, -side / 2)
        self._drawing.render(canvas)
        canvas.restore()

    def _paint_picture(self, canvas: Any, own: float) -> None:
        """The marketer's picture in a rounded frame, slowly nearing; a clip plays there."""
        come = spring(part(own, 0.1, 0.9))
        side, (x, y) = self._art.width, self.centre
        frame = skia.Rect.MakeXYWH(x - side / 2, y - side / 2 + side * 0.4 * (1 - come), side, side)
        if isinstance(self._picture, Clip):
            picture, zoom, drift = _frame_of(self._picture, own), 1.0, 0.0
        else:
            picture, zoom, drift = self._picture, 1.04 + 0.014 * own, 0.5 * sway(own, 16)
        shown = min(picture.width(), picture.height()) / zoom
        left = (picture.width() - shown) / 2 * (1 + drift)
        source = skia.Rect.MakeXYWH(left, (picture.height() - shown) / 2, shown, shown)
        canvas.save()
        canvas.clipRRect(skia.RRect.MakeRectXY(frame, side * 0.07, side * 0.07), True)
        canvas.drawImageRect(
            picture, source, frame, skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
        )
        canvas.restore()


def _frame_of(clip: Clip, own: float) -> Any:
    info = skia.ImageInfo.Make(clip.side, clip.side, skia.kRGBA_8888_ColorType, skia.kOpaque_AlphaType)
    data = skia.Data.MakeWithCopy(clip.frame(round(own * FRAMES_A_SECOND)))
    return skia.Image.MakeRasterData(info, data, clip.side * 4)


def _stage(ground: str, look: Look, shape: Shape, place: int) -> str:
    """The quiet pattern behind a scene, a little larger than the frame so that it can drift."""
    draw = random.Random(f"{look.seed} {place}")  # noqa: S311  (repeatable on purpose)
    width, height = shape.width * _ROOM, shape.height * _ROOM
    away = "#ffffff" if contrast(ground, "#ffffff") > 9 else look.palette.deep
    near, far = mix(ground, away, 0.05), mix(ground, away, 0.09)
    name = _STAGES[(look.seed + place) % len(_STAGES)]
    # No accent: a spot of it would stand behind the words now and then.
    return svg(width, height, STAGES[name](width, height, (near, far, near), draw))


def _drawing_of(source: str) -> Any:
    """Vectors, not pixels: drawn anew in each frame they are thirty times cheaper than a picture that is turned.

    ``opacity`` would draw each shape on a layer as large as the frame; on fill and stroke it costs nothing.
    """
    source = re.sub(r' opacity="([^"]*)"', r' fill-opacity="\1" stroke-opacity="\1"', source)
    return skia.SVGDOM.MakeFromStream(skia.MemoryStream.MakeCopy(source.encode()))


def _decoded(data: bytes) -> Any:
    return skia.Image.MakeFromEncoded(skia.Data.MakeWithCopy(data)).withDefaultMipmaps()
