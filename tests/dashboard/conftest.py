import httpx
import msgspec
import pytest

from arauto.core.clock import FakeClock
from arauto.core.settings import Secret
from arauto.dashboard import create_dashboard
from arauto.loop import Runtime
from tests.conftest import NOW_MS

TOKEN = "the-token-of-the-test"
HOST = "http://arauto.test"


@pytest.fixture
async def runtime(settings):
    settings = msgspec.structs.replace(settings, admin_token=Secret(TOKEN))
    opened = await Runtime.open(settings, clock=FakeClock(NOW_MS))
    opened.tallies.instant_s = 60.0
    yield opened
    await opened.close()


@pytest.fixture
async def web(runtime):
    """A browser without a session."""
    transport = httpx.ASGITransport(create_dashboard(runtime))
    async with httpx.AsyncClient(transport=transport, base_url=HOST, headers={"Accept-Language": "en"}) as client:
        yield client


@pytest.fixture
async def inside(web):
    """A browser that has signed in."""
    answer = await web.post("/login", data={"token": TOKEN}, headers={"Origin": HOST})
    assert answer.status_code == 200
    return web
