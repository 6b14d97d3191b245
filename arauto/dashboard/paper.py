"""A page as PDF, by the browser that is on the machine: the same style sheet, for print."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from arauto.core.errors import EngineError, InputError
from arauto.core.files import write_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "msedge")
NAMED = "CHROMIUM_PATH"
"""Environment variable: the browser to take."""
PATIENCE_S = 120.0


def find_browser() -> str:
    """The path of a Chromium, Chrome or Edge: the one :data:`NAMED`, else one on the PATH.

    Raises:
        InputError: there is none.
    """
    found = os.environ.get(NAMED) or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None or shutil.which(found) is None:
        raise InputError(
            "needs Chromium, Chrome or Edge, and none was found",
            field="pdf",
            mend=f"install one, name it in {NAMED}, or write a page with --html and print that",
        )
    return found


def write_pdf(page: str, path: Path) -> None:
    """Print ``page``, a HTML file that needs nothing else, to ``path``.

    Raises:
        InputError: there is no browser.
        EngineError: the browser did not print.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="arauto-pdf-") as folder:
        source, printed = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_text(page, "utf-8")
        # The page is ours, in a folder of its own; containers often forbid the browser's own sandbox.
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-extensions",
            "--disable-background-networking",
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={printed}",
            source.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as failure:
            raise _failed(type(failure).__name__) from None
        if done.returncode or not printed.exists():
            told = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise _failed(told[-1][:200] if told else f"it ended with {done.returncode}")
        write_whole(path, printed.read_bytes())


def _failed(what: str) -> EngineError:
    return EngineError(
        f"the browser did not print: {what}", field="pdf", mend="write a page with --html and print that"
    )
