import pytest

from arauto.core.clock import FakeClock
from arauto.loop import Runtime


@pytest.fixture
async def clock():
    return FakeClock(1_790_000_000_000)


@pytest.fixture
async def runtime(settings, clock):
    opened = await Runtime.open(settings, clock=clock)
    yield opened
    await opened.close()
