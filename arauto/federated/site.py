"""What a browser fetches of this room."""

from __future__ import annotations

from importlib import resources

MODULE = "arauto-federated.js"


def module() -> bytes:
    """The browser's client, as it is served."""
    return resources.files("arauto.federated").joinpath(f"static/{MODULE}").read_bytes()
