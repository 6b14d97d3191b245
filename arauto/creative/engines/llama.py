"""The local model's own process: loads a GGUF file with llama.cpp and answers requests, one JSON line each.

A process and not a thread, because the library holds Python's lock while it loads (seconds in which nothing else of
the process would run), takes SIGINT and SIGTERM for itself, and would take the process with it if it crashed.
:mod:`arauto.creative.engines.local` runs it as a script; it imports nothing of ours, so that it starts at once.

Lines in: the settings (``path``, ``threads``, ``context``, ``batch``), then one chat request each. Lines out:
``ready``, then ``text`` or ``problem``. It ends when its input does, whatever it is doing: no parent, no child.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import sys
import threading
import time
from typing import Any


def main() -> None:
    """Serve until the input ends."""
    # What the library may print goes nowhere: the protocol has the only copy of the real output.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    try:
        server = load(json.loads(lines.get()))
    except Exception as failure:
        _say(out, {"problem": str(failure)[:300]})
        return
    _say(out, {"ready": True})
    while line := lines.get():
        _say(out, answer(server, json.loads(line)))


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")
    # It ends by itself when it is idle; a draft that nobody waits for any more is cut.
    time.sleep(1)
    os._exit(0)


def _say(out: Any, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def load(settings: dict[str, Any]) -> Any:
    """A running model, silent, that listens to nobody but us."""
    import xllamacpp  # type: ignore[import-not-found, import-untyped, unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.n_ctx = settings["context"]
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = settings["batch"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.verbosity = -1
    params.warmup = False
    # The library opens a port on the loopback that we do not use: locked with a key that nobody knows, and no pages.
    params.api_keys = [secrets.token_urlsafe(32)]
    params.ui = False
    params.endpoint_slots = False
    return xllamacpp.Server(params)


def answer(server: Any, request: dict[str, Any]) -> dict[str, Any]:
    """``text`` of the completion, or the ``problem`` that the library tells."""
    completion = server.handle_chat_completions(request)
    try:
        return {"text": completion["choices"][0]["message"]["content"] or ""}
    except (KeyError, IndexError, TypeError):
        return {"problem": json.dumps(completion, default=str)[:300]}


if __name__ == "__main__":
    main()
