"""The layouts. Each is a function that fills a :class:`Frame` of any size: a strip, a board, a square or a tall page.

They differ in composition, not in colours alone: where the picture is, what is largest, what holds the words.
"""

from __future__ import annotations

from collections.abc import Callable

from arauto.creative.banner.frame import Box, Frame

ALL = "brand headline sub offer action fine"


def split(frame: Frame) -> None:
    """Words on paper, the picture in a full panel beside or above them."""
    palette = frame.palette
    if frame.strip:
        _strip(frame, palette.paper, palette.brand)
        return
    words, panel = _halves(frame, 0.47)
    frame.show(panel, palette.brand)
    _words(frame, words, palette.paper)


def poster(frame: Frame) -> None:
    """A dark page, a large headline, the subject before a great disc that leaves the page."""
    palette = frame.palette
    frame.fill = palette.deep
    if frame.strip:
        _strip(frame, palette.deep, palette.deep, disc=palette.brand)
        return
    words, panel = _halves(frame, 0.44)
    if frame.ratio > 1.05:
        x, y, radius = panel.x + panel.w * 0.6, panel.h / 2, min(panel.w * 0.54, panel.h * 0.56)
    elif frame.story:
        radius = panel.h * 0.62
        x, y = frame.width / 2, panel.y + radius * 1.16
    else:
        radius = min(panel.h * 0.56, frame.width * 0.62)
        x, y = frame.width / 2, panel.h * 0.4
    frame.circle(x, y, radius * 1.13, None, line=palette.accent, line_width=max(1.5, radius * 0.012))
    frame.circle(x, y, radius, palette.brand)
    half = radius * 0.78
    centre = y if frame.ratio > 1.05 else y + radius * 0.08 if not frame.story else y - radius * 0.1
    frame.figure(Box(x - half, centre - half, 2 * half, 2 * half), palette.brand)
    _words(frame, words, palette.deep)


def spotlight(frame: Frame) -> None:
    """Everything on one axis: the subject in a disc of light, the words centred below or beside it."""
    palette = frame.palette
    ground = palette.brand
    frame.fill = ground
    if frame.strip:
        _strip(frame, ground, ground, disc=palette.tint)
        return
    words, panel = _halves(frame, 0.42)
    radius = min(panel.w, panel.h) * 0.45
    x, y = panel.x + panel.w / 2, panel.y + panel.h / 2
    if frame.ratio <= 1.05 and not frame.story:
        y += frame.pad * 0.25
    frame.beams(ground, x, y)
    frame.circle(x, y, radius, palette.tint)
    side = radius * 1.42
    frame.figure(Box(x - side / 2, y - side / 2, side, side), palette.tint)
    frame.stack(words, ground, ALL, align="center")


def editorial(frame: Frame) -> None:
    """A page of a magazine: paper, air, a ruled frame, the picture set into the column."""
    palette = frame.palette
    frame.fill = palette.paper
    if frame.strip:
        _strip(frame, palette.paper, palette.tint, inset=True)
        return
    line = max(1.0, min(frame.width, frame.height) * 0.0035)
    edge = frame.pad * 0.5
    if not frame.story:
        frame.rect(frame.page.inset(edge), None, line=palette.brand, line_width=line)
    if frame.ratio > 1.05:
        inner = frame.page.inset(frame.pad * 1.25)
        picture = Box(inner.x + inner.w * 0.62, inner.y, inner.w * 0.38, inner.h)
        frame.show(picture, palette.tint, stage="arch")
        frame.stack(
            Box(inner.x, inner.y, inner.w * 0.57, inner.h), palette.paper, "brand rule headline sub offer action fine"
        )
        return
    area = frame.safe if frame.story else frame.page.inset(frame.pad * 1.25)
    if frame.story:
        low = area.y + area.h + frame.pad * 0.6
        frame.show(Box(0, low, frame.width, frame.height - low), palette.tint, stage="arch")
        frame.stack(area, palette.paper, "brand rule headline sub offer action fine")
        return
    top, middle, bottom = (0.36, 0.32, 0.27) if frame.square else (0.34, 0.31, 0.3)
    frame.stack(Box(area.x, area.y, area.w, area.h * (top - 0.035)), palette.paper, "brand rule headline", valign="top")
    frame.show(Box(area.x, area.y + area.h * (top + 0.02), area.w, area.h * middle), palette.tint, stage="arch")
    rest = Box(area.x, area.y + area.h * (1 - bottom), area.w, area.h * bottom)
    _words(frame, rest, palette.paper, "sub", 0.46)


def tag(frame: Frame) -> None:
    """The price is the hero: a block of colour of its own, as a label on a shelf."""
    palette = frame.palette
    frame.fill = palette.tint
    block = palette.brand
    if frame.strip:
        _strip(frame, palette.tint, palette.tint, offer=block)
        return
    hero = "offer action" if frame.content.price else "action"
    if frame.ratio > 1.05:
        cut = 0.6 * frame.width
        frame.rect(Box(cut, 0, frame.width - cut, frame.height), block)
        side = frame.height * (0.56 if frame.ratio >= 1.4 else 0.46)
        frame.circle(cut, frame.height * 0.3, side * 0.5, palette.paper)
        frame.figure(Box(cut - side * 0.37, frame.height * 0.3 - side * 0.37, side * 0.74, side * 0.74), palette.paper)
        left = Box(frame.pad, frame.pad, cut - 2 * frame.pad - side * 0.42, frame.height - 2 * frame.pad)
        if frame.ratio < 1.4:  # beside the disc there is no room for a headline
            frame.stack(Box(left.x, left.y, left.w, side * 0.3), palette.tint, "brand", valign="top", grow=2.0)
            low = frame.height * 0.3 + side * 0.5 + frame.pad * 0.4
            lower = Box(left.x, low, cut - 1.8 * frame.pad, frame.height - low - frame.pad * 0.8)
            frame.stack(lower, palette.tint, "headline sub fine", valign="bottom", grow=1.3)
        else:
            frame.stack(left, palette.tint, "brand headline sub fine")
        right = Box(
            cut + frame.pad * 0.8,
            frame.height * 0.6,
            frame.width - cut - 1.6 * frame.pad,
            frame.height * 0.4 - frame.pad,
        )
        frame.stack(right, block, hero, align="center", grow=1.25)
        return
    area = frame.safe
    share = 0.3 if not frame.story else 0.34
    low = area.y + area.h - area.h * share
    depth = frame.height - low if not frame.story else area.h * share + frame.pad
    head = Box(area.x, area.y, area.w, area.h * (0.3 if not frame.story else 0.6))
    frame.stack(head, palette.tint, "brand headline sub", align="center", valign="top" if not frame.story else "center")
    frame.rect(Box(0, low - frame.pad * 0.4, frame.width, depth + frame.pad * 0.4), block)
    frame.stack(
        Box(area.x, low + frame.pad * 0.1, area.w, area.h * share - frame.pad * 0.1),
        block,
        f"{hero} fine",
        align="center",
    )
    top = head.y + head.h + frame.pad * 0.4
    if frame.story:
        frame.show(Box(0, low + depth, frame.width, frame.height - low - depth), palette.tint, stage="rings")
        return
    band = low - frame.pad * 0.4 - top
    side = min(band * 1.02, area.w * 0.9)
    frame.circle(frame.width / 2, top + band * 0.5, side * 0.5, palette.paper)
    frame.figure(
        Box(frame.width / 2 - side * 0.38, top + band * 0.5 - side * 0.38, side * 0.76, side * 0.76), palette.paper
    )


def diagonal(frame: Frame) -> None:
    """A slanted cut: colour against dark, the subject on the cut."""
    palette = frame.palette
    ground, slice_ = palette.deep, palette.brand
    frame.fill = ground
    width, height = frame.width, frame.height
    if frame.strip:
        _strip(frame, ground, slice_, slant=True)
        return
    words, panel = _halves(frame, 0.46)
    if frame.ratio > 1.05:
        lean = height * 0.3
        start = panel.x + lean * 0.1
        frame.polygon(((start + lean, 0), (width, 0), (width, height), (start - lean * 0.35, height)), slice_)
        frame.polygon(
            (
                (start + lean - width * 0.022, 0),
                (start + lean, 0),
                (start - lean * 0.35, height),
                (start - lean * 0.35 - width * 0.022, height),
            ),
            palette.accent,
        )
        frame.figure(
            Box(panel.x + panel.w * 0.16, panel.y, panel.w * 0.84, panel.h).inset(panel.w * 0.03, panel.h * 0.08),
            slice_,
        )
        words = Box(words.x, words.y, words.w - lean * 0.18, words.h)
    elif frame.story:
        lean = height * 0.09
        y = panel.y + lean * 0.4
        frame.polygon(((0, y + lean), (width, y - lean * 0.5), (width, height), (0, height)), slice_)
        frame.polygon(
            ((0, y + lean), (width, y - lean * 0.5), (width, y - lean * 0.5 + 26), (0, y + lean + 26)), palette.accent
        )
        frame.figure(Box(0, y + lean * 0.9, width, height - y - lean * 1.1).inset(0, height * 0.012), slice_)
    else:
        lean = height * 0.1
        y = panel.y + panel.h
        frame.polygon(((0, 0), (width, 0), (width, y - lean), (0, y + lean * 0.25)), slice_)
        band = max(4.0, height * 0.016)
        frame.polygon(
            ((0, y + lean * 0.25), (width, y - lean), (width, y - lean + band), (0, y + lean * 0.25 + band)),
            palette.accent,
        )
        frame.figure(Box(0, 0, width, y - lean * 0.4).inset(frame.pad, frame.pad * 0.8), slice_)
        words = Box(words.x, words.y + lean * 0.3, words.w, words.h - lean * 0.3)
    _words(frame, words, ground)


def card(frame: Frame) -> None:
    """A pattern over the whole page, and on it a sheet of paper that holds the words."""
    palette = frame.palette
    ground = palette.brand
    frame.fill = ground
    if frame.strip:
        _strip(frame, ground, ground, sheet=palette.paper)
        return
    frame.backdrop(frame.page, ground, "blocks")
    gap = frame.pad * 0.9
    words, panel = _halves(frame, 0.42)
    radius = frame.pad * 0.55
    if frame.ratio > 1.05:
        sheet = Box(gap, gap, words.x + words.w - gap, frame.height - 2 * gap)
        figure = Box(sheet.x + sheet.w, 0, frame.width - sheet.x - sheet.w, frame.height).inset(gap * 0.4)
    elif frame.story:
        sheet = Box(0.06 * frame.width, 0.14 * frame.height, 0.88 * frame.width, 0.51 * frame.height)
        figure = Box(0, sheet.y + sheet.h, frame.width, frame.height * 0.33).inset(gap)
    else:
        sheet = Box(gap, panel.h, frame.width - 2 * gap, frame.height - panel.h - gap)
        figure = Box(0, 0, frame.width, panel.h).inset(gap, gap * 0.5)
    shade = Box(sheet.x + radius * 0.22, sheet.y + radius * 0.3, sheet.w, sheet.h)
    frame.rect(shade, palette.deep, radius=radius)
    frame.rect(sheet, palette.paper, radius=radius)
    frame.figure(figure, ground)
    frame.stack(
        sheet.inset(gap if frame.ratio > 1.05 else gap * 0.9, gap * 0.8),
        palette.paper,
        ALL,
        align="left" if frame.ratio > 1.05 else "center",
    )


def type_only(frame: Frame) -> None:
    """Letters are the picture: a headline as large as the page allows, and three shapes in the corners."""
    palette = frame.palette
    ground = palette.brand
    frame.fill = ground
    if frame.strip:
        _strip(frame, ground, None)
        return
    width, height = frame.width, frame.height
    reach = min(width, height) * (0.3 if frame.ratio > 1.4 else 0.34)
    top = height * 0.1 if frame.story else 0
    frame.circle(width, top, reach, palette.accent)
    frame.circle(width, top, reach * 0.5, ground)
    area = frame.safe
    if frame.ratio > 1.4:
        frame.stack(Box(area.x, area.y, area.w * 0.62, area.h), ground, "brand headline sub fine", grow=1.25)
        frame.stack(
            Box(area.x + area.w * 0.66, area.y + reach, area.w * 0.34, area.h - reach), ground, "offer action",
            align="right", valign="bottom", grow=1.25,
        )  # fmt: skip
        return
    if frame.story:
        frame.figure(Box(0, height * 0.66, width, height * 0.34).inset(frame.pad), ground)
        frame.stack(Box(area.x, area.y + reach * 0.62, area.w, area.h - reach * 0.62), ground, ALL, grow=1.3)
        return
    frame.stack(Box(area.x, area.y, width - reach - area.x, reach * 0.6), ground, "brand", valign="top", grow=3)
    lower = area.y + reach * 0.95
    frame.stack(
        Box(area.x, lower, area.w, area.y + area.h - lower),
        ground,
        "headline sub offer action fine",
        grow=1.4,
        valign="top",
    )


def _words(frame: Frame, box: Box, ground: str, head: str = "brand headline sub", share: float = 0.25) -> None:
    """Everything below each other; on a square page price and button share a row, of that ``share`` of the height, and
    the headline has their room."""
    if not (frame.square and frame.content.price):
        frame.stack(box, ground, f"{head} offer action fine", valign="center" if head.startswith("brand") else "bottom")
        return
    fine = 0.055 * frame.height if frame.content.fine else 0.0
    row = share * box.h
    top = box.h - fine - row - 0.075 * box.h
    frame.stack(Box(box.x, box.y, box.w, top), ground, head, grow=1.15, sub=1.0 if head.startswith("brand") else 3.0)
    low = box.y + top + 0.065 * box.h
    frame.stack(Box(box.x, low, box.w * 0.52, row), ground, "offer", valign="bottom", grow=2.0)
    frame.stack(
        Box(box.x + box.w * 0.54, low, box.w * 0.46, row), ground, "action", align="right", valign="bottom", grow=2.2
    )
    if fine:
        frame.stack(Box(box.x, box.y + box.h - fine * 0.8, box.w, fine * 0.8), ground, "fine", valign="bottom", grow=4)


def _halves(frame: Frame, share: float) -> tuple[Box, Box]:
    """Where the words and the picture go: beside each other on a wide page, the picture above on another."""
    page, pad = frame.page, frame.pad
    if frame.story:
        safe = frame.safe
        low = safe.y + safe.h + pad * 0.4
        return safe, Box(0, low, page.w, page.h - low)
    if frame.ratio > 1.05:
        cut = page.w * (1 - share)
        return Box(pad, pad, cut - 1.7 * pad, page.h - 2 * pad), Box(cut, 0, page.w - cut, page.h)
    if frame.ratio < 0.4:
        share = 0.36
    elif frame.ratio > 0.7:
        share *= 0.84
    cut = page.h * share
    return Box(pad, cut + pad * 0.8, page.w - 2 * pad, page.h - cut - 1.7 * pad), Box(0, 0, page.w, cut)


def _strip(
    frame: Frame,
    ground: str,
    panel: str | None,
    *,
    disc: str = "",
    inset: bool = False,
    offer: str = "",
    slant: bool = False,
    sheet: str = "",
) -> None:
    """One row: the picture, the words, the price, the button. What stands behind each is what the layouts change."""
    width, height, pad = frame.width, frame.height, frame.pad
    frame.fill = ground
    if width < 400 and height >= 90:
        _ticket(frame, ground, offer=offer, sheet=sheet)
        return
    content, small = frame.content, frame.height <= 60
    gap = pad * (0.8 if small else 1.3)
    inner = height - 2 * pad * (0.5 if small else 1.0)
    # What each column needs, from the number of letters: about 0.57 of the size each.
    unit = frame.legible * (10.5 if small else max(10.5, min(17.0, 0.15 * height, width / 30)))
    letter = max(unit, 11.0 * frame.legible)
    action_w = len(content.action) * 0.62 * letter + 2 * letter
    price_unit = frame.legible * (14.0 if small else max(14.5, min(38.0, 0.3 * height, width / 21)))
    price_w = len(content.price) * 0.52 * price_unit if content.price else 0.0
    right = width - gap * (1.4 if sheet else 1.0)
    board = height >= 200
    if board:  # the price above the button
        action_w, price_w = max(action_w * 1.15, price_w * 1.1), 0.0
    needs = action_w + (price_w + gap if price_w else 0) + 2 * gap
    wide = height * (1.0 if small else 1.2)
    enough = width - wide - needs >= 0.5 * len(content.headline) * 0.6 * 11.5 * frame.legible
    x = _strip_picture(frame, ground, panel if enough else None, wide, disc=disc, inset=inset, slant=slant, sheet=sheet)
    if sheet:
        frame.rect(Box(x, pad * 0.5, width - x - pad * 0.5, height - pad), sheet, radius=pad * 0.7)
        ground = sheet
    top = (height - inner) / 2
    back = ground
    if board:
        if offer and content.price:
            back = offer
            frame.rect(Box(right - action_w - gap * 1.5, 0, width, height), offer)
        frame.stack(
            Box(right - action_w, top, action_w, inner),
            back,
            "offer action",
            align="center",
            grow=1.3 if content.price else 1.9,
        )
    elif offer and content.price:
        frame.rect(Box(right - action_w - price_w - gap * 2, 0, width, height), offer)
        back = offer
    if not board:
        frame.stack(Box(right - action_w, top, action_w, inner), back, "action", align="right", grow=1.2)
    if content.price and not board:
        place = Box(right - action_w - gap - price_w, top, price_w, inner)
        frame.stack(place, back, "offer", align="center", grow=1.2 if small else 1.0, price=1.15)
    left = x + gap * (0.7 if panel and enough else 1.0)
    end = right - needs - gap * 0.6 if offer and board else right - needs + gap * (0.3 if offer else 1.0)
    roles = "headline" if small else "brand headline fine" if width < 400 else "brand headline sub fine"
    frame.stack(Box(left, top, end - left, inner), ground, roles, grow=1.15)


def _ticket(frame: Frame, ground: str, *, offer: str, sheet: str) -> None:
    """A strip that is too narrow for one row: the headline, and below it the price and the button."""
    width, height, pad = frame.width, frame.height, frame.pad
    low = height * 0.56
    back = sheet or offer or ground
    if sheet:
        frame.rect(Box(pad * 0.5, pad * 0.5, width - pad, height - pad), sheet, radius=pad * 0.7)
    elif offer:
        frame.rect(Box(0, low, width, height - low), offer)
    head = Box(pad * 1.6, pad, width - 3.2 * pad, low - 1.3 * pad)
    frame.stack(head, sheet or ground, "brand headline", grow=1.5)
    row = Box(pad * 1.6, low + pad * 0.5, width - 3.2 * pad, height - low - 1.4 * pad)
    split = 0.5 if frame.content.price else 0.0
    if split:
        frame.stack(Box(row.x, row.y, row.w * split, row.h), back, "price", grow=1.6)
    frame.stack(
        Box(row.x + row.w * split, row.y, row.w * (1 - split), row.h), back, "action",
        align="right" if split else "left", grow=1.2,
    )  # fmt: skip


def _strip_picture(
    frame: Frame, ground: str, panel: str | None, wide: float, *, disc: str, inset: bool, slant: bool, sheet: str
) -> float:
    """Draws the picture of a strip at its left end; where the words may begin."""
    height, pad = frame.height, frame.pad
    square = Box(0, 0, wide, height)
    if panel is None:
        return height * 0.08
    if slant:
        lean = height * 0.36
        frame.polygon(((0, 0), (wide + lean * 0.5, 0), (wide - lean * 0.5, height), (0, height)), panel)
        frame.figure(Box(0, 0, wide - lean * 0.2, height).inset(height * 0.06), panel)
        return wide + lean * 0.5
    if sheet:
        frame.backdrop(frame.page, panel, "blocks")
    if disc:
        frame.circle(wide * 0.46, height * 0.5, height * 0.6, disc)
        frame.figure(Box(0, 0, wide * 0.92, height).inset(height * 0.08), disc)
    elif inset:
        frame.show(square.inset(pad * 0.6), panel, stage="arch")
    elif panel == ground:
        frame.figure(square.inset(height * 0.06), panel)
    else:
        frame.show(square, panel, stage="rings")
    return wide


LAYOUTS: dict[str, Callable[[Frame], None]] = {
    "split": split,
    "poster": poster,
    "spotlight": spotlight,
    "editorial": editorial,
    "tag": tag,
    "diagonal": diagonal,
    "card": card,
    "type": type_only,
}
"""Every layout by its name."""
