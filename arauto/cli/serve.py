"""``arauto up``, ``arauto down``, ``arauto worker``: the server and its background work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path

import click
import msgspec
import psutil

import arauto
from arauto.cli.common import console, settings_of
from arauto.core.errors import ConflictError, StoreError
from arauto.core.ready import readiness
from arauto.core.settings import Settings
from arauto.server import Started, do_jobs, serve, to_environ

_PATIENCE_S = 60


class Running(msgspec.Struct):
    """What ``arauto up --detach`` leaves in ``home/server.json``."""

    pid: int
    url: str


@click.command()
@click.option("--host", help="Address to listen on (setting `host`).")
@click.option("--port", type=int, help="Port to listen on (setting `port`).")
@click.option("--workers", type=int, help="Server processes (setting `workers`).")
@click.option("--detach", "-d", is_flag=True, help="Go on in the background; `arauto down` ends it.")
def up(host: str | None, port: int | None, workers: int | None, *, detach: bool) -> None:
    """Start the server: decisions, events, dashboard and background jobs."""
    settings = settings_of(host=host, port=port, workers=workers)
    if detach:
        with arauto.open(settings) as app:
            token = app.first_admin_token()
        running = start_detached(settings)
        if token:
            _show_token(token)
        console.print(f"Arauto is up at [bold]{running.url}[/] (process {running.pid}). End it with: arauto down")
        return
    serve(settings, _announce)


def _announce(started: Started) -> None:
    if started.token:
        _show_token(started.token)
    console.print(f"Arauto is up at [bold]{started.url}[/]. Open the dashboard: arauto login")


def _show_token(token: str) -> None:
    console.print("Admin token, shown only this once; keep it safe:")
    click.echo(token)


@click.command()
def down() -> None:
    """Stop the server that `arauto up --detach` started."""
    settings = settings_of()
    stopped = stop_detached(settings)
    console.print("Arauto is down." if stopped else "No server of this folder is running.")


@click.command()
def worker() -> None:
    """Run background jobs only: on a second machine, or beside a server that has its hands full."""
    os.environ.update(to_environ(settings_of()))
    do_jobs()


def start_detached(settings: Settings) -> Running:
    """Start ``arauto up`` in a session of its own and wait until it is ready.

    Raises:
        ConflictError: one is running already.
        StoreError: it ended, or was not ready in time; the last lines of its log are in the message.
    """
    place = settings.home / "server.json"
    if (running := _read(place)) is not None and _alive(running.pid):
        raise ConflictError(f"a server is running at {running.url}", field="up", mend="stop it first: arauto down")
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "server.log"
    environ = os.environ | {"ARAUTO_HOST": settings.host, "ARAUTO_PORT": str(settings.port)}
    environ |= {"ARAUTO_WORKERS": str(settings.workers), "ARAUTO_HOME": str(settings.home.resolve())}
    if settings.admin_token:
        environ["ARAUTO_ADMIN_TOKEN"] = settings.admin_token.reveal()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "arauto.cli", "up"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ, start_new_session=True,
        )  # fmt: skip
    running = Running(process.pid, f"http://{settings.host}:{settings.port}")
    place.write_bytes(msgspec.json.encode(running))
    _wait_until_ready(running, process, log)
    return running


def stop_detached(settings: Settings) -> bool:
    """Ask the detached server to end and wait for it. False when there is none."""
    place = settings.home / "server.json"
    running = _read(place)
    if running is None or not _alive(running.pid):
        place.unlink(missing_ok=True)
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE_S
    while _alive(running.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    place.unlink(missing_ok=True)
    return True


def _wait_until_ready(running: Running, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if readiness(running.url, seconds=2) == HTTPStatus.OK:
            return
        time.sleep(0.1)
    tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-12:])
    raise StoreError(f"the server did not become ready:\n{tail}", field="up", mend=f"read the whole log: {log}")


def _read(place: Path) -> Running | None:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not count."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
