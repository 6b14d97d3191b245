"""How a job says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all, and what is being done."""


def silent(done: int, total: int, note: str) -> None:
    """The progress that nobody watches."""
    del done, total, note
