"""The TypeScript compiler that checks arauto.js: the one on the PATH, or one that npm puts beside this Python.

It stays outside the repository and outside the product; a machine without Node simply cannot run this check.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "typescript@7.0.2"
OPTIONS = ("--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "esnext")
LIBRARIES = ("--lib", "es2022,dom,dom.iterable")


class NoCompilerError(Exception):
    """There is no compiler, and why."""


def find_tsc() -> Path:
    """The compiler's path; npm installs it where it is missing.

    Raises:
        NoCompilerError: there is no Node here, or npm could not fetch the package.
    """
    if own := shutil.which("tsc"):
        return Path(own)
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        raise NoCompilerError("no Node on this machine, so the types of arauto.js are not checked")
    home = Path(sys.prefix) / "typescript" / PACKAGE
    path = home / "node_modules" / ".bin" / "tsc"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if not path.exists():
            raise NoCompilerError(f"npm could not install {PACKAGE}: {done.stderr.strip()[-300:]}")
    return path


def check_types(*files: Path) -> str:
    """What the compiler says of ``files`` under its strict rules; empty when all is well.

    Raises:
        NoCompilerError: as :func:`find_tsc`.
    """
    command = [str(find_tsc()), *OPTIONS, *LIBRARIES, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return "" if done.returncode == 0 else done.stdout + done.stderr
