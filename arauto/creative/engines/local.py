"""The embedded language model: llama.cpp (package ``xllamacpp``, extra ``arauto[local]``) in a process of its own.

See :mod:`arauto.creative.engines.llama` for why. The prompt's long common beginning stays in the model's cache between
drafts, so that only the first one pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from arauto.core.errors import EngineError, ModelFileError
from arauto.creative.prompts import MAX_TOKENS, make_prompt, read_answer
from arauto.creative.types import Ask, Draft, UnreadableAnswer

CONTEXT_TOKENS = 2048
BATCH_TOKENS = 512
TEMPERATURE = 0.6
ANSWER_SECONDS = 900.0
_MAGIC = b"GGUF"
_LONGEST_LINE = 1 << 20
_SCRIPT = Path(__file__).with_name("llama.py")


class LocalEngine:
    """A GGUF model at ``path``, loaded at the first draft. ``threads``: one is best on a small, busy machine.

    Memory: about 1.8 GB for the default model, in a process that ends with ``close``, with this one, or when a draft is
    cancelled; the next draft starts another.
    """

    name = "local"

    def __init__(self, path: Path, *, threads: int = 1, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.model = path.stem
        self._path = path
        self._threads = threads
        self._seconds = answer_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"LocalEngine({str(self._path)!r}, threads={self._threads})"

    async def write(self, ask: Ask) -> Draft:
        prompt = make_prompt(ask, guided=True)
        request = {
            "messages": list(prompt.messages),
            "max_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
            "top_p": 0.95,
            "seed": ask.sampling_seed,
            "cache_prompt": True,
            "response_format": {"type": "json_schema", "json_schema": {"name": "ad", "schema": prompt.schema}},
        }
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await self._ask(request)
            except TimeoutError:
                await self._end()
                raise EngineError(
                    f"the model did not answer within {self._seconds:g} s",
                    field="local_model",
                    mend="give the machine some rest, or set text_engine to slot",
                ) from None
            except asyncio.CancelledError:
                await self._end()
                raise
        if not (text := answer.get("text")):
            raise UnreadableAnswer("the model answered nothing")
        return Draft(copy=read_answer(text, ask.message), prompt_sha256=prompt.sha256)

    async def close(self) -> None:
        await self._end()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process or await self._start()
        answer = await self._exchange(process, request)
        if problem := answer.get("problem"):
            raise EngineError(
                f"the model refused the prompt: {problem}", field="local_model", mend="use the default model"
            )
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        await asyncio.to_thread(_check_file, self._path)
        # -P: the folder of the script does not come before the installed packages. A session of its own: Ctrl-C in the
        # terminal is for us, and we end the child.
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
        settings = {
            "path": str(self._path.absolute()),
            "threads": self._threads,
            "context": CONTEXT_TOKENS,
            "batch": BATCH_TOKENS,
        }
        answer = await self._exchange(process, settings)
        if problem := answer.get("problem"):
            await self._end()
            raise ModelFileError(
                f"{self._path} cannot be loaded: {problem}", field="local_model", mend="run `arauto models verify`"
            )
        return process

    async def _exchange(self, process: asyncio.subprocess.Process, message: dict[str, Any]) -> dict[str, Any]:
        """One line to the process, one line back."""
        assert process.stdin is not None  # noqa: S101  (asked for above)
        assert process.stdout is not None  # noqa: S101
        line = b""
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            await self._end()
            raise EngineError(
                f"the model's process ended ({process.returncode})",
                field="local_model",
                mend="see that about 2 GB of memory are free; run `arauto models verify`",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _end(self) -> None:
        """End the process, at once: it holds nothing that is worth keeping."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        # Without this the pipe's transport warns when it is collected after the loop has closed.
        if process.stdin is not None:
            process.stdin.close()


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError:
        raise ModelFileError(f"{path} cannot be read", field="local_model", mend="run `arauto models pull`") from None
    if head != _MAGIC:
        raise ModelFileError(f"{path} is not a GGUF file", field="local_model", mend="run `arauto models pull`")
