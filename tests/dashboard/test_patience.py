"""The door's patience: whoever is wrong too often waits, and nobody else does."""

import pytest

from arauto.core.clock import FakeClock
from arauto.dashboard.patience import ACCOUNT, ADDRESS, MINUTE_MS, PAIR, Patience
from tests.dashboard.test_access import FROM_HERE, browser


@pytest.fixture
def clock():
    return FakeClock(1_790_000_000_000)


def wrong(patience, times, address, account):
    for _ in range(times):
        patience.wrong(address, account)


def test_a_pair_waits_and_nobody_else(clock):
    patience = Patience(clock.now_ms)
    wrong(patience, PAIR - 1, "1.1.1.1", "ana")
    assert not patience.over("1.1.1.1", "ana")
    patience.wrong("1.1.1.1", "ana")
    assert patience.over("1.1.1.1", "ana")
    for address, account in (("1.1.1.1", "bob"), ("2.2.2.2", "ana"), ("1.1.1.1", "")):
        assert not patience.over(address, account)
    clock.advance(MINUTE_MS // PAIR)
    assert not patience.over("1.1.1.1", "ana")
    patience.wrong("1.1.1.1", "ana")
    assert patience.over("1.1.1.1", "ana")
    clock.advance(MINUTE_MS)
    wrong(patience, PAIR - 1, "1.1.1.1", "ana")
    assert not patience.over("1.1.1.1", "ana")


def test_many_names_from_one_address_and_one_name_from_many(clock):
    patience = Patience(clock.now_ms)
    for place in range(ADDRESS):
        patience.wrong("1.1.1.1", f"name{place}")
    assert patience.over("1.1.1.1", "another")
    assert not patience.over("2.2.2.2", "another")
    for place in range(ACCOUNT):
        patience.wrong(f"10.0.0.{place}", "ana")
    assert patience.over("3.3.3.3", "ana")
    assert not patience.over("3.3.3.3", "bob")
    # The administrator's token is nobody's to lock.
    for place in range(ACCOUNT):
        patience.wrong(f"10.0.0.{place}", "")
    assert not patience.over("3.3.3.3", "")


def test_what_is_remembered_is_bounded(clock):
    patience = Patience(clock.now_ms, most=30)
    wrong(patience, PAIR, "1.1.1.1", "ana")
    for place in range(100):
        patience.wrong(f"10.0.0.{place}", "bob")
        patience.wrong("1.1.1.1", "ana")
    assert len(patience) == 30
    assert patience.over("1.1.1.1", "ana")


async def test_at_the_door(runtime):
    async with await browser(runtime) as web:
        for _ in range(PAIR):
            bad = await web.post("/login", data={"name": "ana", "password": "x" * 12}, headers=FROM_HERE)
            assert bad.status_code == 401
        late = await web.post("/login", data={"name": "ana", "password": "x" * 12}, headers=FROM_HERE)
        assert (late.status_code, 'value="ana"' in late.text) == (429, True)
        token = runtime.settings.admin_token.reveal()
        good = await web.post("/login", data={"token": token}, headers=FROM_HERE)
        assert good.status_code == 200
