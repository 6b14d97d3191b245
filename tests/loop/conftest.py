import pytest

from arauto.core.clock import FakeClock
from arauto.loop import Runtime
from tests.conftest import NOW_MS


@pytest.fixture
async def clock():
    return FakeClock(NOW_MS)


@pytest.fixture
async def runtime(settings, clock):
    opened = await Runtime.open(settings, clock=clock)
    yield opened
    await opened.close()
