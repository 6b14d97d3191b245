"""A report as PDF: printed by a Chromium of this machine from the report's own HTML, which loads and runs nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

from arauto.dashboard.words import RefusedError

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
SETTING = "CHROMIUM_PATH"
PRINT_S = 60.0
_one = asyncio.Semaphore(1)
"""One at a time: each costs a browser."""


def find_printer() -> str | None:
    """The path of a Chromium or Chrome: of ``CHROMIUM_PATH``, else on the PATH; None when there is none."""
    named = os.environ.get(SETTING)
    if named:
        return named if os.access(named, os.X_OK) else None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


async def print_pdf(page: str) -> bytes:
    """The page on paper (A4 or letter, as the browser has it).

    Raises:
        RefusedError: there is no browser here, or it did not print.
    """
    printer = find_printer()
    if printer is None:
        raise RefusedError("no_browser", "pdf")
    async with _one:
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="arauto-pdf-")
        try:
            return await _print(printer, page, Path(folder))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _print(printer: str, page: str, folder: Path) -> bytes:
    source, target = folder / "report.html", folder / "report.pdf"
    await asyncio.to_thread(source.write_text, page, "utf-8")
    # A browser run by root, as in a container, refuses to start inside its sandbox.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        printer, "--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run", *sandbox,
        "--no-pdf-header-footer", f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={target}", source.as_uri(),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PRINT_S):
            await process.wait()
    except TimeoutError:
        raise RefusedError("not_printed", "pdf") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    try:
        return await asyncio.to_thread(target.read_bytes)
    except OSError:
        raise RefusedError("not_printed", "pdf") from None
