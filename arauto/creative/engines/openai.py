"""Text from any OpenAI-compatible chat endpoint: the hosted ones, vLLM, llama.cpp's server, Ollama…"""

from __future__ import annotations

from typing import Any

import msgspec

from arauto.core.errors import SettingError
from arauto.core.settings import Secret
from arauto.creative.engines.budget import Cost
from arauto.creative.engines.endpoint import Endpoint, Refused, unusable
from arauto.creative.prompts import MAX_TOKENS, SCHEMA, make_prompt, read_answer
from arauto.creative.types import Ask, Draft, UnreadableAnswer

_MAX_ANSWER = 1 << 20

_FORMATS: tuple[dict[str, Any] | None, ...] = (
    {"type": "json_schema", "json_schema": {"name": "ad", "strict": True, "schema": SCHEMA}},
    {"type": "json_object"},
    None,
)
"""From the strictest to none: an endpoint that refuses one is asked with the next from then on."""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAIEngine:
    """Chat completions of ``model``. ``endpoint`` may be shared; else one is made of ``url``, ``key``, ``options``."""

    name = "openai"

    def __init__(self, url: str, key: Secret, model: str, *, endpoint: Endpoint | None = None, **options: Any) -> None:
        self._endpoint = endpoint or Endpoint(url, key, **options)
        if not model:
            raise SettingError(
                "is empty", field="openai_model", mend="set ARAUTO_OPENAI_MODEL to a model of that endpoint"
            )
        self.model = model
        self._format = 0

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._endpoint.url!r}, model={self.model!r})"

    async def write(self, ask: Ask) -> Draft:
        prompt = make_prompt(ask)
        body = {
            "model": self.model,
            "messages": list(prompt.messages),
            "temperature": 0.9,
            "max_tokens": MAX_TOKENS * 2,
            "seed": ask.sampling_seed,
        }
        # A token is at least a byte, plus what a chat template puts around each message.
        length = sum(len(message["content"].encode()) + 16 for message in prompt.messages)
        most = Cost(tokens_in=length, tokens_out=MAX_TOKENS * 2)
        answer = await self._ask(body, most)
        content = answer.choices[0].message.content if answer.choices else None
        if not content:
            raise UnreadableAnswer("the endpoint answered without a text")
        return Draft(copy=read_answer(content, ask.message), prompt_sha256=prompt.sha256)

    async def close(self) -> None:
        await self._endpoint.close()

    async def _ask(self, body: dict[str, Any], most: Cost) -> _Answer:
        """The answer, in the strictest form that the endpoint knows."""
        while True:
            form = self._format
            answer_format = _FORMATS[form]
            asked = body if answer_format is None else {**body, "response_format": answer_format}
            try:
                return await self._endpoint.ask("chat/completions", asked, most, _read, limit=_MAX_ANSWER)
            except Refused as refusal:
                # A request that an endpoint with fewer features would take: ask for less, and remember.
                if form + 1 >= len(_FORMATS):
                    raise unusable(refusal.status) from None
                self._format = max(self._format, form + 1)


def _read(content: bytes) -> tuple[_Answer, Cost | None]:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ValueError("a chat completion") from None
    usage = answer.usage
    return answer, Cost(tokens_in=usage.prompt_tokens, tokens_out=usage.completion_tokens) if usage else None
