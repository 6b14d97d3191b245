"""How often somebody may be wrong at the door: by address and account, by address, and by account."""

from __future__ import annotations

from collections.abc import Callable

MINUTE_MS = 60_000
PAIR, ADDRESS, ACCOUNT = 10, 30, 100
"""Wrong tries a minute of one address for one account; of one address; for one account, wherever they come from. The
last is high: nobody shuts somebody else out by being wrong in their name a few times."""
MOST = 20_000
"""Keys remembered at most; past it those that were wrong longest ago are forgotten."""


class Patience:
    """Counts wrong tries of the last minute, in token buckets that fill by the time since."""

    def __init__(self, now_ms: Callable[[], int], most: int = MOST) -> None:
        self._now_ms = now_ms
        self._most = most
        # When each key has its whole allowance back; in the order of the last wrong try.
        self._full: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._full)

    def over(self, address: str, account: str) -> bool:
        """Whether another try is not looked at now."""
        now = self._now_ms()
        return any(
            self._full.get(key, 0.0) - now > MINUTE_MS * (1 - 0.5 / most) for key, most in _keys(address, account)
        )

    def wrong(self, address: str, account: str) -> None:
        """A try was wrong."""
        now = self._now_ms()
        for key, most in _keys(address, account):
            full = max(self._full.pop(key, 0.0), now) + MINUTE_MS / most
            self._full[key] = full
        while len(self._full) > self._most:
            del self._full[next(iter(self._full))]


def _keys(address: str, account: str) -> tuple[tuple[tuple[str, str], int], ...]:
    # Without a name it is the administrator's: that token cannot be guessed, and nobody else's wrong tries stop it.
    own = (((address, account), PAIR), ((address, "\n"), ADDRESS))
    return (*own, (("\n", account), ACCOUNT)) if account else own
