"""The browser that the browser tests and the screenshots drive: the one that is there, or one that is installed now.

``python tools/browser.py`` prints its path. It ends with an error and the mend, and never skips, when none can be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
SETTING = "CHROMIUM_PATH"
ARGUMENTS = ("--no-sandbox", "--disable-background-networking")
"""Containers often forbid Chromium's own sandbox; the tests visit only pages of their own."""


def find_browser() -> Path:
    """The path of a Chromium or Chrome that starts: ``CHROMIUM_PATH``, the PATH, Playwright's own, or a new one.

    Raises:
        SystemExit: when there is none and none can be installed; the message says the mend.
    """
    if named := os.environ.get(SETTING):
        if _starts(Path(named)):
            return Path(named)
        raise SystemExit(f"{SETTING} names {named}, which does not start. Mend: name a Chromium, or unset it.")
    return _present() or _install()


def _present() -> Path | None:
    on_path = (Path(path) for name in NAMES if (path := shutil.which(name)))
    return next(filter(_starts, on_path), None) or next(filter(_starts, _of_playwright()), None)


def _of_playwright() -> list[Path]:
    """Where Playwright keeps the Chromium it downloads, if it has one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return [path] if path.exists() else []


def _install() -> Path:
    """Try each way this machine may allow, and say what each answered when none worked."""
    own = [sys.executable, "-m", "playwright", "install", "chromium"]
    ways = [own]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        ways = [[*own[:-1], "--with-deps", "chromium"], own]
        if apt := shutil.which("apt-get"):
            ways.insert(0, ["sh", "-c", f"{apt} update -qq && {apt} install -y -qq chromium"])
    answers = []
    for way in ways:
        sys.stderr.write(f"No Chromium here. Installing one: {' '.join(way)}\n")
        done = subprocess.run(way, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0 and (path := _present()):
            return path
        answers.append(f"  {' '.join(way)}\n    {(done.stderr or done.stdout).strip()[-300:]}")
    raise SystemExit(
        "No Chromium, and none could be installed:\n"
        + "\n".join(answers)
        + f"\nMend: install Chromium or Chrome, or set {SETTING} to the path of one."
    )


def _starts(path: Path) -> bool:
    """Whether it answers ``--version``: a wrapper without its browser (a snap's stub, say) does not."""
    try:
        done = subprocess.run([str(path), "--version"], capture_output=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.stdout.write(f"{find_browser()}\n")
