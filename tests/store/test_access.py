"""Secrets are made once and checked by their hashes."""

from __future__ import annotations

import asyncio

from arauto.core.clock import FakeClock
from arauto.core.settings import Settings
from arauto.store import Store


async def test_every_process_has_the_same_receipt_secret(settings: Settings, store: Store) -> None:
    async with await Store.open(settings) as other:
        secrets = await asyncio.gather(*(s.receipt_secret() for s in (store, other) * 5))
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 32


async def test_the_admin_token_is_told_once(settings: Settings, store: Store) -> None:
    assert not await store.check_admin_token("")
    async with await Store.open(settings) as other:
        told = await asyncio.gather(*(s.admin_token() for s in (store, other) * 5))
    (token,) = [t for t in told if t is not None]
    assert len(token) >= 43
    assert await store.check_admin_token(token)
    assert not await store.check_admin_token(token + "x")
    assert not await store.check_admin_token("\ud800")


async def test_a_login_code_opens_once_and_for_ten_minutes(settings: Settings) -> None:
    clock = FakeClock()
    async with await Store.open(settings, clock=clock) as store:
        first, second = await store.new_login_code(), await store.new_login_code()
        assert not await store.use_login_code("guess")
        used = await asyncio.gather(*(store.use_login_code(first) for _ in range(5)))
        assert sorted(used) == [False] * 4 + [True]
        clock.advance(600_000)
        assert not await store.use_login_code(second)
        third = await store.new_login_code()
        clock.advance(599_999)
        assert await store.use_login_code(third)
