"""How things move: easing curves, all from 0 to 1 over 0 to 1."""

from __future__ import annotations

import math


def part(time: float, start: float, seconds: float) -> float:
    """How far ``time`` is through the ``seconds`` from ``start`` on, held to 0 and 1."""
    return min(1.0, max(0.0, (time - start) / seconds))


def ease_out(share: float) -> float:
    """Fast, then gently to rest (exponential)."""
    return 1.0 if share >= 1 else (1 - 2 ** (-10 * share)) / (1 - 2**-10)


def ease_in_out(share: float) -> float:
    """Slow, fast, slow (cubic)."""
    return 4 * share**3 if share < 0.5 else 1 - (-2 * share + 2) ** 3 / 2


def spring(share: float) -> float:
    """A little too far, and back: a damped spring that has come to rest at 1."""
    if share >= 1:
        return 1.0
    return 1 - math.exp(-6.5 * share) * math.cos(9.0 * share) * (1 - share**4)


def sway(time: float, seconds: float, phase: float = 0.0) -> float:
    """A slow swing between -1 and 1 with that period."""
    return math.sin(2 * math.pi * (time / seconds + phase))
