"""A stock Firefox, driven by WebDriver BiDi (w3c.github.io/webdriver-bidi) over its own socket: no driver program.

Just what the edge room's measurement needs: open a page, run a script in it, hear of its requests.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("firefox-esr", "firefox")
_PREFS = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


def find_firefox() -> Path:
    """The path of a Firefox.

    Raises:
        SystemExit: there is none; the message says the mend.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return Path(path)
    raise SystemExit("no Firefox is on the PATH. Mend: apt-get install firefox-esr")


class Firefox:
    """A running Firefox with one tab. ``requests`` are the addresses that it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tab = ""
        self.version = ""
        self.requests: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        """A command's result.

        Raises:
            RuntimeError: Firefox answered with an error.
        """
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], 120)

    async def listen(self) -> None:
        """Take in answers and events until the socket closes."""
        async for message in self._socket:
            told = message.json()
            if told.get("method") == "network.beforeRequestSent":
                self.requests.append(told["params"]["request"]["url"])
            elif (answer := self._answers.pop(told.get("id") or 0, None)) is not None:
                if told["type"] == "success":
                    answer.set_result(told["result"])
                else:
                    answer.set_exception(RuntimeError(f"{told['error']}: {told['message']}"))

    async def begin(self) -> None:
        """Open the session and find the tab."""
        session = await self.send("session.new", capabilities={})
        self.version = session["capabilities"]["browserVersion"]
        tree = await self.send("browsingContext.getTree")
        self._tab = tree["contexts"][0]["context"]
        await self.send("session.subscribe", events=["network.beforeRequestSent"])

    async def goto(self, url: str) -> None:
        """Load a page to its end."""
        await self.send("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression, awaited where it is a promise.

        Raises:
            RuntimeError: it threw.
        """
        said = await self.send(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._tab},
            awaitPromise=True,
        )
        if said["type"] != "success":
            raise RuntimeError(said["exceptionDetails"]["text"])
        return said["result"].get("value")

    async def preload(self, function: str) -> str:
        """Run a function in each new page before its own scripts; gives the handle that removes it."""
        return str((await self.send("script.addPreloadScript", functionDeclaration=function))["script"])


@asynccontextmanager
async def firefox(prefs: Mapping[str, Any] = {}) -> AsyncIterator[Firefox]:
    """A Firefox without a window and with a fresh profile, while the block runs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in {**_PREFS, **prefs}.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines), "utf-8")
        process = await asyncio.create_subprocess_exec(
            str(find_firefox()),
            *("--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile, "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = await asyncio.wait_for(_address(process), 60)
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{address}/session", max_msg_size=0) as ws,
            ):
                browser = Firefox(ws)
                hearing = asyncio.create_task(browser.listen())
                await browser.begin()
                yield browser
                hearing.cancel()
        finally:
            process.terminate()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    if process.stderr is None:
        raise RuntimeError("Firefox has no output")
    async for line in process.stderr:
        if found := re.search(rb"(ws://[^\s]+)", line):
            return found[1].decode()
    raise RuntimeError("Firefox ended without a word")
