"""Answers kept by the hash of what was asked: the same question is not paid twice, and gives the same kit again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


class Cache:
    """A folder of answers. A file has its final name only when it is whole; one that cannot be read is a miss."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(*parts: bytes) -> str:
        """The hash of what was asked: address and body, never the key of the endpoint."""
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    def get(self, key: str) -> bytes | None:
        """The answer, or None."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def put(self, key: str, answer: bytes) -> None:
        """Keep ``answer``. A full disk keeps nothing, and is no error: the answer is here already."""
        path = self._path(key)
        partial = path.with_suffix(f".{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(answer)
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key[2:]
