"""Any OpenAI-compatible chat endpoint: the hosted ones, vLLM, llama.cpp's server, Ollama…

The key goes into one header and nowhere else: no log, no ``repr``, no error holds it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec

from arauto.core.brief import check_link
from arauto.core.errors import BriefError, EngineError, SettingError
from arauto.core.settings import Secret
from arauto.creative.prompts import MAX_TOKENS, SCHEMA, make_prompt, read_answer
from arauto.creative.types import Ask, Draft, UnreadableAnswer

ATTEMPTS = 5
ANSWER_SECONDS = 90.0
_MAX_ANSWER = 1 << 20
_LONGEST_WAIT = 30.0

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


class _Answer(msgspec.Struct):
    choices: list[_Choice]


class _Again(Exception):  # noqa: N818
    """Worth another try. ``wait`` is what the endpoint asked for, in seconds."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class OpenAIEngine:
    """``url`` is the base, such as ``https://host/v1``. ``transport`` and ``sleep`` are seams for tests."""

    name = "openai"

    def __init__(
        self,
        url: str,
        key: Secret,
        model: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not url:
            raise SettingError("is empty", field="openai_url", mend="set ARAUTO_OPENAI_URL, such as https://host/v1")
        try:
            check_link(url, "openai_url")
        except BriefError as failure:
            raise SettingError(failure.problem, field="openai_url", mend=failure.mend) from None
        if not model:
            raise SettingError(
                "is empty", field="openai_model", mend="set ARAUTO_OPENAI_MODEL to a model of that endpoint"
            )
        self.model = model
        self._url = url.rstrip("/") + "/chat/completions"
        self._key = key
        self._seconds = answer_seconds
        self._sleep = sleep
        self._format = 0
        self._client = httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(answer_seconds, connect=10.0))

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._url!r}, model={self.model!r})"

    async def write(self, ask: Ask) -> Draft:
        prompt = make_prompt(ask)
        body = {
            "model": self.model,
            "messages": list(prompt.messages),
            "temperature": 0.9,
            "max_tokens": MAX_TOKENS * 2,
            "seed": ask.sampling_seed,
        }
        answer = await self._ask(body)
        content = answer.choices[0].message.content if answer.choices else None
        if not content:
            raise UnreadableAnswer("the endpoint answered without a text")
        return Draft(copy=read_answer(content, ask.message), prompt_sha256=prompt.sha256)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, body: dict[str, Any]) -> _Answer:
        """The answer to ``body``, tried again with growing pauses while the endpoint is busy, down or broken."""
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(body)
            except _Again as again:
                problem = str(again)
                if attempt + 1 < ATTEMPTS:
                    # Full jitter: many writers that failed together do not come back together.
                    pause = random.uniform(0.25, 1.0) * 2**attempt  # noqa: S311
                    await self._sleep(min(max(pause, again.wait or 0.0), _LONGEST_WAIT))
        raise EngineError(
            f"{problem}, {ATTEMPTS} times",
            field="openai_url",
            mend="see that the endpoint works, or set text_engine to local or slot",
        )

    async def _once(self, body: dict[str, Any]) -> _Answer:
        while True:
            status, content, wait = await self._post(self._with_format(body))
            # 400 or 422 to a request that an endpoint with fewer features would take: ask for less, and remember.
            if status in (400, 422) and self._format + 1 < len(_FORMATS):
                self._format += 1
                continue
            break
        if status == 429 or status >= 500 or status == 408:
            raise _Again(f"the endpoint answered {status}", wait)
        if status in (401, 403):
            raise EngineError(
                f"the endpoint answered {status}", field="openai_key", mend="set ARAUTO_OPENAI_KEY to a valid key"
            )
        if status == 404:
            raise EngineError(
                "the endpoint answered 404",
                field="openai_model",
                mend="check ARAUTO_OPENAI_URL (it ends in /v1) and ARAUTO_OPENAI_MODEL",
            )
        if status != 200:
            raise EngineError(
                f"the endpoint answered {status}",
                field="openai_url",
                mend="see that it is an OpenAI-compatible chat endpoint",
            )
        try:
            return msgspec.json.decode(content, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _Again("the endpoint's answer is not a chat completion") from None

    def _with_format(self, body: dict[str, Any]) -> dict[str, Any]:
        response_format = _FORMATS[self._format]
        return body if response_format is None else {**body, "response_format": response_format}

    async def _post(self, body: dict[str, Any]) -> tuple[int, bytes, float | None]:
        """Status, body and the pause asked for. The whole exchange has one limit: an endpoint that drips is a hang."""
        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        content = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream("POST", self._url, json=body, headers=headers) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > _MAX_ANSWER:
                        raise _Again("the endpoint's answer is too large")
        except TimeoutError:
            raise _Again(f"the endpoint did not answer within {self._seconds:g} s") from None
        except httpx.HTTPError as failure:
            # The class alone: an error's text may quote the request.
            raise _Again(f"the endpoint cannot be reached ({type(failure).__name__})") from None
        return answer.status_code, bytes(content), _retry_after(answer.headers.get("Retry-After", ""))


def _retry_after(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
