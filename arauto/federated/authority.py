"""What a coordinator signs with and lets clients in by, derived from one secret that its database does not hold.

A token lets one client of one site into one round. It is a MAC over (round, site, number) with ``number`` below the
site's quota, so no list of tokens is kept: asked again, the same come out, and no site can make more than its quota.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arauto.core.errors import AuthError, InputError, SettingError
from arauto.core.settings import Settings

FILE = "federated.secret"
LEAST = 32
"""Bytes that a secret has at least."""
MOST_QUOTA = 20_000
_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Ticket(NamedTuple):
    """What a token says: which site let the client in, as its how-manieth."""

    site: str
    number: int

    def __str__(self) -> str:
        return f"{self.site}/{self.number}"


class Authority:
    """The signing key and the tokens of one installation. All of it comes from ``secret``: keep that, and back it up
    apart from the database."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < LEAST:
            raise SettingError(f"has {len(secret)} bytes", field="federated_secret", mend=f"give {LEAST} or more")
        self._secret = secret
        self.key = Ed25519PrivateKey.from_private_bytes(self._derive(b"fed signing key"))
        """Signs every round: clients learn its public half once, from a channel of their own."""

    def __repr__(self) -> str:
        return "Authority(***)"

    def _derive(self, purpose: bytes, *parts: bytes) -> bytes:
        told = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        key = hashlib.sha256(self._secret).digest()
        return hashlib.blake2b(told, digest_size=32, key=key, person=purpose).digest()

    def token(self, round_id: str, ticket: Ticket) -> str:
        """The token of a ticket: ``site.number.mac``."""
        mac = self._derive(b"fed join", round_id.encode(), ticket.site.encode(), b"%d" % ticket.number)
        return f"{ticket.site}.{ticket.number}.{base64.urlsafe_b64encode(mac[:24]).decode()}"

    def ticket(self, round_id: str, token: str) -> Ticket:
        """What a token says, if it is of this round and ours.

        Raises:
            AuthError: it is not.
        """
        site, _, rest = token.partition(".")
        number, _, _ = rest.partition(".")
        if _SITE.fullmatch(site) and number.isdecimal() and len(number) <= 5:
            ticket = Ticket(site, int(number))
            if hmac.compare_digest(self.token(round_id, ticket).encode(), token.encode("utf-8", "replace")):
                return ticket
        raise AuthError("is no token of this round", field="token", mend="ask the site for one")


def new_site_key(name: str, quota: int) -> tuple[str, bytes]:
    """A key for a site, to be told once, and what is kept of it.

    Raises:
        InputError: the name or the quota cannot be used.
    """
    if not _SITE.fullmatch(name):
        raise InputError(f"is {name!r}", field="site", mend="up to 40 of a-z, 0-9 and -, not beginning with -")
    if not 1 <= quota <= MOST_QUOTA:
        raise InputError(f"is {quota}", field="quota", mend=f"1 … {MOST_QUOTA}")
    key = secrets.token_urlsafe(32)
    return key, key_hash(key)


def key_hash(key: str) -> bytes:
    """What is kept of a site's key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def open_authority(settings: Settings) -> Authority:
    """From the setting ``federated_secret``, or else from the file ``federated.secret`` in ``home``, made at first use.

    Raises:
        SettingError: the secret is too short, or the file cannot be used.
    """
    if settings.federated_secret:
        return Authority(settings.federated_secret.reveal().encode())
    path = settings.home / FILE
    try:
        if not path.exists():
            _make(path)
        return Authority(path.read_bytes())
    except OSError as failure:
        raise SettingError(
            f"{path}: {failure.strerror}", field="federated_secret", mend="make the folder writable, or set the secret"
        ) from None


def _make(path: Path) -> None:
    """A fresh secret, for the owner's eyes; of several that make one at the same time, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent)  # readable by the owner only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(LEAST))
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        Path(part).unlink()
