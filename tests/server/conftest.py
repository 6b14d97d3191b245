import msgspec
import pytest

from arauto.core.clock import FakeClock
from arauto.core.settings import Secret
from arauto.loop import Runtime
from arauto.server.worker import make_front
from tests.conftest import NOW_MS
from tests.server.rsgi import call
from tests.server.world import World

TOKEN = "the-token-of-the-test"


@pytest.fixture
async def world(settings):
    """A server in this process: ``await world(method, url, body, headers)``, and what it stands on."""
    settings = msgspec.structs.replace(settings, admin_token=Secret(TOKEN), rate_limit=0)
    clock = FakeClock(NOW_MS)
    runtime = await Runtime.open(settings, clock=clock)
    front, _ = make_front(settings, runtime)
    yield World(settings, runtime, clock, front, call, TOKEN)
    await runtime.close()
