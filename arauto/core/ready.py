"""Asking a server whether it is ready."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


def readiness(url: str, seconds: float = 5.0) -> int | None:
    """The status of ``/readyz`` at ``url`` (``http://host:port``); None when nobody answers within ``seconds``.

    By the standard library: a client of httpx first reads its certificates, which costs more than a server's answer,
    and this is asked over and over while one starts.
    """
    address = urlsplit(url)
    with closing(HTTPConnection(address.hostname or "", address.port, timeout=seconds)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
