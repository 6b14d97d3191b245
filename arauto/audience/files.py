"""Files that appear whole or not at all: a body, and beside it a JSON description with the body's SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from arauto.core.errors import ModelFileError
from arauto.core.files import write_whole


def write_sealed(path: Path | str, body: bytes, about: Mapping[str, Any]) -> str:
    """Write ``body`` to ``path`` and ``about`` beside it. Returns the SHA-256.

    The description is written last and names the body: a reader that finds the two apart knows that a write was cut.
    """
    path, sha256 = Path(path), hashlib.sha256(body).hexdigest()
    write_whole(path, body)
    described = {**about, "sha256": sha256, "bytes": len(body)}
    write_whole(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(described), indent=2))
    return sha256


def read_sealed(path: Path | str) -> tuple[bytes, dict[str, Any]]:
    """The body and its description.

    Raises:
        ModelFileError: one of them is missing, or the body is not the one described.
    """
    path = Path(path)
    try:
        about = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=dict[str, Any])
        body = path.read_bytes()
    except (OSError, msgspec.MsgspecError) as failure:
        raise ModelFileError(f"{path} cannot be read: {failure}", field="file", mend="write it again") from None
    if hashlib.sha256(body).hexdigest() != about.get("sha256"):
        raise ModelFileError(f"{path} is cut short or altered", field="file", mend="write it again")
    return body, about
