"""The embedded language model: llama.cpp in this process (package ``xllamacpp``, extra ``arauto[local]``).

One thread of its own does the loading and the writing, so that the event loop never waits. The prompt's long common
beginning stays in the model's cache between drafts.
"""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arauto.core.errors import EngineError, ModelFileError
from arauto.creative.prompts import MAX_TOKENS, Prompt, guided_schema, make_prompt, read_answer
from arauto.creative.types import Ask, Draft, UnreadableAnswer

CONTEXT_TOKENS = 2048
TEMPERATURE = 0.45
_MAGIC = b"GGUF"
_SIGACTION_BYTES = 512  # more than any platform's struct sigaction


class LocalEngine:
    """A GGUF model at ``path``, loaded at the first draft. ``threads``: one is best on a small, busy machine.

    Memory: about 1.8 GB for the default model. ``close`` gives it back.
    """

    name = "local"

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.model = path.stem
        self._path = path
        self._threads = threads
        self._server: Any = None
        self._stop = threading.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="arauto-model")

    def __repr__(self) -> str:
        return f"LocalEngine({str(self._path)!r}, threads={self._threads})"

    async def write(self, ask: Ask) -> Draft:
        prompt = make_prompt(ask)
        work = asyncio.get_running_loop().run_in_executor(self._worker, self._generate, prompt, guided_schema(ask), ask)
        try:
            text = await asyncio.shield(work)
        except asyncio.CancelledError:
            # The thread cannot be interrupted; it ends at the next token.
            self._stop.set()
            raise
        return Draft(copy=read_answer(text, ask.message), prompt_sha256=prompt.sha256)

    async def close(self) -> None:
        self._stop.set()
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _shut(self) -> None:
        # In the model's own thread, after what it is doing.
        self._worker.submit(setattr, self, "_server", None).result()
        self._worker.shutdown()

    def _generate(self, prompt: Prompt, schema: dict[str, Any], ask: Ask) -> str:
        if self._server is None:
            self._server = _load(self._path, self._threads)
        if self._stop.is_set():
            return ""
        pieces: list[str] = []
        problems: list[str] = []

        def take(event: Any) -> bool:
            if not isinstance(event, dict) or "choices" not in event:
                problems.append(str(event)[:200])
                return True
            pieces.extend(choice.get("delta", {}).get("content") or "" for choice in event["choices"])
            return self._stop.is_set()

        self._server.handle_chat_completions(
            {
                "messages": list(prompt.messages),
                "max_tokens": MAX_TOKENS,
                "temperature": TEMPERATURE,
                "top_p": 0.95,
                "seed": ask.sampling_seed,
                "cache_prompt": True,
                "stream": True,
                "response_format": {"type": "json_schema", "json_schema": {"name": "ad", "schema": schema}},
            },
            take,
        )
        if problems:
            raise EngineError(
                f"the model refused the prompt: {problems[0]}", field="local_model", mend="use the default model"
            )
        if not any(pieces):
            raise UnreadableAnswer("the model answered nothing")
        return "".join(pieces)


def _load(path: Path, threads: int) -> Any:
    """A running model, silent, that listens to nobody but us."""
    _check_file(path)
    import xllamacpp  # type: ignore[import-not-found, import-untyped, unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    params.warmup = False
    # The library opens a port on the loopback that we do not use: locked with a key that nobody knows, and no pages.
    params.api_keys = [secrets.token_urlsafe(32)]
    params.ui = False
    params.endpoint_slots = False
    try:
        with _own_signals():
            return xllamacpp.Server(params)
    except Exception as failure:
        raise ModelFileError(
            f"{path} cannot be loaded: {str(failure)[:200]}", field="local_model", mend="run `arauto models verify`"
        ) from None


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError:
        raise ModelFileError(f"{path} cannot be read", field="local_model", mend="run `arauto models pull`") from None
    if head != _MAGIC:
        raise ModelFileError(f"{path} is not a GGUF file", field="local_model", mend="run `arauto models pull`")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of SIGINT and SIGTERM, which the library takes for itself when it starts.

    Through the C library, because it takes them there, and because only the main thread may use :mod:`signal`.
    """
    libc = ctypes.CDLL(None) if hasattr(signal, "SIGKILL") else None
    if libc is None or not hasattr(libc, "sigaction"):  # pragma: no cover  (Windows)
        yield
        return
    kept = {number: ctypes.create_string_buffer(_SIGACTION_BYTES) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in kept.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)
