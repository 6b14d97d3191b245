"""The words of this room: what an engine is asked, what a check finds, what a writer hands over."""

from __future__ import annotations

from typing import Protocol

import msgspec

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Copy, Origin
from arauto.core.kit import Finding as Finding
from arauto.core.kit import Severity as Severity


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A draft that was not passed on, and why. ``copy`` is None when the engine's answer could not be read."""

    copy: Copy | None
    origin: Origin
    findings: tuple[Finding, ...]


class WriteResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a writer gave: everything accepted, everything refused, how often it asked, how long it took."""

    accepted: tuple[tuple[Copy, Origin], ...]
    refused: tuple[Refusal, ...]
    warnings: tuple[Finding, ...] = ()
    attempts: int = 0
    seconds: float = 0.0

    def report(self) -> dict[str, object]:
        """The same as plain data, ready for JSON and for the catalogue's kit report."""
        data: dict[str, object] = msgspec.to_builtins(self)
        return data


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One draft to write: the ``turn``-th of a run that has a ``seed``. The same ask gives the same draft."""

    brief: Brief
    message: Message
    seed: int = 0
    turn: int = 0

    @property
    def sampling_seed(self) -> int:
        """A seed of its own for each turn, 31 bits wide."""
        return (self.seed * 1009 + self.turn + 1) & 0x7FFFFFFF


class TextEngine(Protocol):
    """What writes one draft. Nothing outside this room knows which occupant it has.

    ``write`` raises :class:`~arauto.core.errors.EngineError` when the engine cannot be used (the writer stops), and
    :class:`UnreadableAnswer` when it answered something that is no copy (the writer counts it and asks again).
    """

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    async def write(self, ask: Ask) -> Draft: ...
    async def close(self) -> None: ...


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine wrote, its slots filled, nothing checked yet; ``prompt_sha256`` is the hash of what was asked."""

    copy: Copy
    prompt_sha256: str = ""


class UnreadableAnswer(Exception):  # noqa: N818  (an answer of a model, not a fault of ours)
    """An engine's answer that is not a copy. The message says what was wrong, without quoting the answer."""
