"""A cap on what calls may cost, in money and in tokens: reserved before a call, settled after it, never exceeded.

A reservation is an upper bound: a token is at least a byte of what is sent, and an answer has at most the tokens that
were allowed. What cannot be known afterwards (the connection broke while the endpoint was at work) counts as spent in
full.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from arauto.core.errors import EngineError

MILLION = Decimal(1_000_000)


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """In the currency of the cap: for a million tokens in and out, for a million characters said, for a picture."""

    tokens_in: Decimal = Decimal(0)
    tokens_out: Decimal = Decimal(0)
    characters: Decimal = Decimal(0)
    picture: Decimal = Decimal(0)


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one call."""

    tokens_in: int = 0
    tokens_out: int = 0
    characters: int = 0
    pictures: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def money(self, prices: Prices) -> Decimal:
        """What the call costs at ``prices``."""
        running = self.tokens_in * prices.tokens_in + self.tokens_out * prices.tokens_out
        return (running + self.characters * prices.characters) / MILLION + self.pictures * prices.picture


class Budget:
    """Counts what calls cost. ``money`` and ``tokens`` are the caps; None is no cap.

    It lives in one event loop, where nothing runs between its look and its booking.
    """

    def __init__(
        self, *, money: Decimal | None = None, tokens: int | None = None, prices: Prices | None = None
    ) -> None:
        self._money, self._tokens, self._prices = money, tokens, prices or Prices()
        self.spent = Decimal(0)
        self.spent_tokens = 0
        self._held = Decimal(0)
        self._held_tokens = 0

    def reserve(self, most: Cost) -> None:
        """Set aside what a call may cost at most.

        Raises:
            EngineError: it does not fit; the call must not be made.
        """
        money, tokens = most.money(self._prices), most.tokens
        if self._money is not None and self.spent + self._held + money > self._money:
            raise EngineError(
                f"{self.spent:.4f} of {self._money} are spent, and the next call may cost {money:.4f}",
                field="openai_max_spend",
                mend="raise ARAUTO_OPENAI_MAX_SPEND, or set the engine to local",
            )
        if self._tokens is not None and self.spent_tokens + self._held_tokens + tokens > self._tokens:
            raise EngineError(
                f"{self.spent_tokens} of {self._tokens} tokens are spent, and the next call may need {tokens}",
                field="openai_max_tokens",
                mend="raise ARAUTO_OPENAI_MAX_TOKENS, or set the engine to local",
            )
        self._held += money
        self._held_tokens += tokens

    def settle(self, most: Cost, actual: Cost) -> None:
        """Book ``actual`` in place of the reservation of ``most``."""
        self._held -= most.money(self._prices)
        self._held_tokens -= most.tokens
        self.spent += actual.money(self._prices)
        self.spent_tokens += actual.tokens
