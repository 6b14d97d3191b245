"""How much one address may ask, and which address it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil

from starlette.requests import HTTPConnection

from arauto.core.errors import RateLimitError, SettingError

WINDOW_S = 60.0
MOST = 100_000
"""Addresses remembered at most."""

Network = IPv4Network | IPv6Network


class Limiter:
    """A token bucket per address, kept as the one number of the generic cell rate algorithm (ITU-T I.371, annex A).

    ``per_minute`` requests may come at once; then one more every 60/``per_minute`` seconds. 0: no limit.
    """

    def __init__(self, per_minute: int, *, now: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self.on = per_minute > 0
        self._now = now
        self._most = most
        self._step = WINDOW_S / per_minute if per_minute else 0.0
        # When each address would have its whole allowance back.
        self._full: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full)

    def take(self, address: str) -> None:
        """Count one request of ``address``.

        Raises:
            RateLimitError: it has used up its allowance.
        """
        if not self.on:
            return
        now = self._now()
        full = max(self._full.get(address, 0.0), now) + self._step
        if full - now > WINDOW_S + 1e-9:
            wait = ceil(full - now - WINDOW_S)
            raise RateLimitError("too many requests from this address", mend=f"come back in {wait} s", retry_after=wait)
        if len(self._full) >= self._most and address not in self._full:
            self._forget(now)
        self._full[address] = full

    def _forget(self, now: float) -> None:
        """Make room: first those whose allowance is whole again, then the oldest tenth."""
        self._full = {address: full for address, full in self._full.items() if full > now}
        for address in list(self._full)[: len(self._full) - self._most * 9 // 10]:
            del self._full[address]


class Addresses:
    """Whose request it is: the peer, or behind proxies that are ``trusted`` the address that they report.

    Addresses of IPv6 are cut to their network of 64 bits, which is what one customer gets.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        try:
            self._networks: tuple[Network, ...] = tuple(ip_network(one, strict=False) for one in trusted)
        except ValueError as failure:
            raise SettingError(
                str(failure), field="trusted_proxies", mend="give addresses or networks such as 10.0.0.0/8"
            ) from None
        self._trusts = lru_cache(maxsize=1024)(self._is_trusted)

    def of(self, peer: str, forwarded: str | None) -> str:
        """``peer`` is ``host:port``; ``forwarded`` the ``X-Forwarded-For`` header, whose last part the proxy wrote."""
        if not self._networks:
            return _customer_at(peer)
        address = _host(peer)
        if not self._trusts(address):
            return _customer(address)
        for part in reversed((forwarded or "").split(",")):
            reported = _host(part.strip())
            if not reported:
                break
            address = reported
            if not self._trusts(address):
                break
        return _customer(address)

    def of_request(self, request: HTTPConnection) -> str:
        """The same of a request of Starlette's."""
        peer = f"{request.client.host}:{request.client.port}" if request.client else ""
        return self.of(peer, request.headers.get("x-forwarded-for"))

    def _is_trusted(self, address: str) -> bool:
        try:
            host = ip_address(address)
        except ValueError:
            return False
        return any(host in network for network in self._networks if network.version == host.version)


def _host(text: str) -> str:
    """The host of ``1.2.3.4:5``, ``[::1]:5``, ``::1`` or ``1.2.3.4``."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    head, _, port = text.rpartition(":")
    return head if head and ":" not in head and port.isdigit() else text


@lru_cache(maxsize=4096)
def _customer_at(peer: str) -> str:
    return _customer(_host(peer))


@lru_cache(maxsize=4096)
def _customer(address: str) -> str:
    if ":" not in address:
        return address[:64]
    try:
        host = IPv6Address(address)
    except ValueError:
        return address[:64]
    if host.ipv4_mapped:
        return str(host.ipv4_mapped)
    return str(IPv6Network((int(host) >> 64 << 64, 64)))
