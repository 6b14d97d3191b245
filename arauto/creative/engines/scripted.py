"""The engine of tests: it says what it was given, in order."""

from __future__ import annotations

from collections.abc import Iterable

from arauto.core.campaign import Copy
from arauto.core.errors import EngineError
from arauto.creative.prompts import make_prompt, read_answer
from arauto.creative.types import Ask, Draft


class ScriptedEngine:
    """Answers with the items of ``script``: a copy, the raw text of a model's answer, or an exception to raise.

    ``asks`` holds what it was asked. When the script is at its end, :class:`EngineError`.
    """

    name = "scripted"

    def __init__(self, script: Iterable[Copy | str | Exception], *, model: str = "script") -> None:
        self.model = model
        self.asks: list[Ask] = []
        self.closed = False
        self._script = iter(script)

    async def write(self, ask: Ask) -> Draft:
        self.asks.append(ask)
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            copy = read_answer(item, ask.message) if isinstance(item, str) else item
            return Draft(copy=copy, prompt_sha256=make_prompt(ask).sha256)
        raise EngineError("the script is at its end", field="engine", mend="give it more drafts")

    async def close(self) -> None:
        self.closed = True
