from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.core.errors import RateLimitError, SettingError
from arauto.server.front import Front
from arauto.server.limits import Addresses, Limiter
from tests.server.world import ORIGIN


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


def test_an_allowance_is_used_up_and_grows_back():
    time = Time()
    limiter = Limiter(6, now=time)
    for _ in range(6):
        limiter.take("a")
    with pytest.raises(RateLimitError) as caught:
        limiter.take("a")
    assert caught.value.retry_after == 10
    limiter.take("b")
    time.now += 10
    limiter.take("a")
    with pytest.raises(RateLimitError):
        limiter.take("a")
    time.now += 60
    for _ in range(6):
        limiter.take("a")


@given(st.integers(1, 50), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_no_more_than_the_allowance_passes(per_minute, pauses):
    time, passed = Time(), []
    limiter = Limiter(per_minute, now=time)
    for pause in pauses:
        time.now += pause
        with suppress(RateLimitError):
            limiter.take("a")
            passed.append(time.now)
    # A bucket that holds n and fills with n a minute passes at most 2 n in any minute.
    for start in passed:
        assert sum(start <= moment < start + 60 for moment in passed) <= 2 * per_minute


def test_no_limit_remembers_nobody():
    limiter = Limiter(0)
    for _ in range(1000):
        limiter.take("a")
    assert len(limiter) == 0


def test_memory_is_bounded():
    time = Time()
    limiter = Limiter(60, now=time, most=100)
    for number in range(1000):
        limiter.take(str(number))
        assert len(limiter) <= 100
    time.now += 61
    limiter.take("after")
    assert len(limiter) <= 2


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9:5000", None, "203.0.113.9"),
        ("203.0.113.9:5000", "198.51.100.1", "203.0.113.9"),
        ("10.1.2.3:5000", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3:5000", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3:5000", "198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.1.2.3:5000", "10.9.9.8, 10.9.9.9", "10.9.9.8"),
        ("10.1.2.3:5000", "", "10.1.2.3"),
        ("10.1.2.3:5000", None, "10.1.2.3"),
        ("10.1.2.3:5000", "nonsense", "nonsense"),
        ("10.1.2.3:5000", "[2001:db8:1:2:3::4]:99", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3::4]:5000", None, "2001:db8:1:2::/64"),
        ("[::ffff:203.0.113.9]:5000", None, "203.0.113.9"),
        ("[fe80::zz]:5000", None, "fe80::zz"),
        ("", None, ""),
    ],
)
def test_whose_request_it_is(peer, forwarded, address):
    assert Addresses(["10.0.0.0/8"]).of(peer, forwarded) == address


def test_a_proxy_that_is_no_address_is_a_bad_setting():
    with pytest.raises(SettingError) as caught:
        Addresses(["proxy.example"])
    assert caught.value.field == "trusted_proxies"


async def test_public_routes_are_limited_by_address(world):
    await world.launch()
    limited = world.front._limiter = Limiter(2)
    assert isinstance(world.front, Front)
    for _ in range(2):
        await world.decide()
    query = {"key": world.key, "campaign": world.slug}
    answer = await world("POST", "/v1/decide", query, {"origin": ORIGIN})
    assert (answer.status, answer.headers["retry-after"]) == (429, "30")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert (await world("POST", "/v1/decide", query, client="198.51.100.7:1")).status == 200
    assert len(limited) == 2
