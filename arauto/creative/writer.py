"""The writer: asks an engine for drafts, checks each, asks again for what fails, keeps the distinct ones.

A draft with an error never leaves this file as accepted. A run ends when there are enough, or after a bounded number of
attempts; it then says what was refused and why.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from arauto.core.brief import Brief
from arauto.core.campaign import Copy, Origin
from arauto.creative.checks import check_copy, has_errors, too_similar
from arauto.creative.message import compose_message
from arauto.creative.rules import rules
from arauto.creative.types import Ask, Finding, Refusal, TextEngine, UnreadableAnswer, WriteResult

ATTEMPTS_EACH = 5


class Writer:
    """Writes variants with one engine. ``attempts_each`` is how many drafts a variant may cost on average."""

    def __init__(self, engine: TextEngine, *, attempts_each: int = ATTEMPTS_EACH) -> None:
        if attempts_each < 1:
            raise ValueError("attempts_each is at least 1")
        self.engine = engine
        self.attempts_each = attempts_each

    def stream(self, brief: Brief, n: int, *, known: Sequence[Copy] = (), seed: int = 0) -> Writing:
        """Begin to write ``n`` variants that differ from each other and from ``known``.

        The answer is iterated with ``async for copy, origin in writing``; ``writing.result`` tells the rest.
        """
        return Writing(self, brief, n, known, seed)

    async def write(self, brief: Brief, n: int, *, known: Sequence[Copy] = (), seed: int = 0) -> WriteResult:
        """Write ``n`` variants and wait for them all.

        Raises:
            EngineError: when the engine cannot be used.
        """
        writing = self.stream(brief, n, known=known, seed=seed)
        async for _ in writing:
            pass
        return writing.result


class Writing:
    """A run of a writer: an async iterator over accepted copies, each yielded as soon as it has passed."""

    def __init__(self, writer: Writer, brief: Brief, n: int, known: Sequence[Copy], seed: int) -> None:
        self._writer = writer
        self._brief = brief
        self._message = compose_message(brief)
        self._n = n
        self._known = list(known)
        self._seed = seed
        self._accepted: list[tuple[Copy, Origin]] = []
        self._refused: list[Refusal] = []
        self._warnings: list[Finding] = []
        self._attempts = 0
        self._seconds = 0.0
        self._iterator = self._run()

    def __aiter__(self) -> AsyncIterator[tuple[Copy, Origin]]:
        return self._iterator

    @property
    def result(self) -> WriteResult:
        """What the run has given until now."""
        return WriteResult(
            accepted=tuple(self._accepted),
            refused=tuple(self._refused),
            warnings=tuple(self._warnings),
            attempts=self._attempts,
            seconds=self._seconds,
        )

    async def _run(self) -> AsyncIterator[tuple[Copy, Origin]]:
        while len(self._accepted) < self._n and self._attempts < self._n * self._writer.attempts_each:
            started = time.monotonic()
            try:
                kept = await self._attempt()
            finally:
                self._seconds += time.monotonic() - started
            if kept is not None:
                yield kept

    async def _attempt(self) -> tuple[Copy, Origin] | None:
        """Ask for one draft, and keep it or say why not."""
        engine = self._writer.engine
        ask = Ask(brief=self._brief, message=self._message, seed=self._seed, turn=self._attempts)
        self._attempts += 1
        try:
            draft = await engine.write(ask)
        except UnreadableAnswer as failure:
            finding = rules()["TXT-UNREADABLE"].finding("copy", found=str(failure))
            self._refused.append(Refusal(copy=None, origin=self._origin(ask, ""), findings=(finding,)))
            return None
        copy, origin = draft.copy, self._origin(ask, draft.prompt_sha256)
        findings = check_copy(copy, self._brief, self._message)
        findings += too_similar(copy, [*self._known, *(kept for kept, _ in self._accepted)])
        if has_errors(findings):
            self._refused.append(Refusal(copy=copy, origin=origin, findings=findings))
            return None
        self._accepted.append((copy, origin))
        self._warnings.extend(findings)
        return copy, origin

    def _origin(self, ask: Ask, prompt_sha256: str) -> Origin:
        engine = self._writer.engine
        return Origin(engine=engine.name, model=engine.model, prompt_sha256=prompt_sha256, seed=ask.sampling_seed)
