"""``arauto`` and Python with everything imported already, for tests that type many commands.

A server imports the product once; each command is a fork of it, with the words, folder, environment and files of the
one who called. What differs from a fresh process is that imports cost nothing: pages of the docs run a hundred commands
in less time. The README, and the tests of the terminal, start real processes.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

CALLER = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"!"], [0, 1, 2])
    server.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(8)))
"""
# Not polars: it starts threads, which a fork would not have.
IMPORTED = (
    *("arauto.cli.audience", "arauto.cli.campaign", "arauto.cli.data", "arauto.cli.experiment", "arauto.cli.federated"),
    *("arauto.cli.gpo", "arauto.cli.keep", "arauto.cli.kit", "arauto.cli.models", "arauto.cli.release"),
    *("arauto.cli.serve", "arauto.cli.visitor", "arauto.server", "safetensors.torch", "transformers"),
)


def warm(folder: Path, environ: dict[str, str], keeper: int) -> Path:
    """A folder for the front of ``PATH``: its ``arauto`` and its ``code`` (as ``python -c``) are warm.

    Made by the first process of a run that asks, for all of them: what it imports costs as much as a page. It stays
    until the process ``keeper`` is gone, and takes the folder along.
    """
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _start(folder, environ, keeper)
    return folder


def _start(folder: Path, environ: dict[str, str], keeper: int) -> None:
    folder.mkdir()
    address = str(folder / "s")
    for name in ("arauto", "code"):
        caller = folder / name
        caller.write_text(CALLER.format(python=sys.executable, address=address))
        caller.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, address, str(keeper)],
        env=environ, cwd="/", stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.read(1) == b"!", "it did not start"
    # It outlives whoever started it.
    server.returncode = 0


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def serve(address: str, keeper: int) -> Callable[[], object]:
    """Fork for each caller. Returns in the fork only: what it is to do."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        os.write(1, b"!")
        listener.settimeout(1)
        while _lives(keeper):
            try:
                caller, _ = listener.accept()
            except TimeoutError:
                continue
            with caller:
                if os.fork() == 0:
                    listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return answer(caller)
    folder = Path(address).parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
    return lambda: None


def answer(caller: socket.socket) -> Callable[[], object]:
    """Of two processes one waits and tells how the other ended; the other returns what it is to do."""
    _, files, _, _ = socket.recv_fds(caller, 1, 3)
    words, folder, environ = json.loads(b"".join(iter(lambda: caller.recv(65_536), b"")))
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        caller.sendall(str(os.waitstatus_to_exitcode(status) & 0xFF).encode())
        os._exit(0)
    caller.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[:] = words
    # Whoever is started by ``multiprocessing`` imports the main module again: this one is none of theirs.
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    if Path(words[0]).name == "arauto":
        return import_module("arauto.cli").main
    sys.path.insert(0, "")
    return lambda: exec(compile(words[1], "<string>", "exec"), module.__dict__)


def end(work: Callable[[], object]) -> None:
    """Do it, and all that is to be done at exit, but leave the taking apart of so much memory to the system."""
    status: object = 1
    try:
        status = work()
    except SystemExit as left:
        status = left.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    end(serve(sys.argv[1], int(sys.argv[2])))
