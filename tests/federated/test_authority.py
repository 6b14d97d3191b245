"""Who signs, and who may join: one secret outside the database; tokens that let one client each in."""

import httpx
import numpy as np
import pytest

from arauto.core.errors import AuthError, ConflictError, InputError, NotFoundError, SettingError
from arauto.core.settings import Secret, Settings
from arauto.federated import Authority, Client, Rounds, noise_for, open_authority, take_part
from arauto.federated.authority import Ticket
from arauto.federated.wire import RefusedError
from arauto.server.federated import application
from arauto.server.limits import Limiter
from tests.federated.rounds import AUTHORITY

DIM = 8
PRIVACY = noise_for(8, 1e-6, 2, 1.0, 1 / 4096, DIM, 4)
ROUND = "00" * 16


def test_a_token_lets_in_whom_it_names_and_nobody_else():
    token = AUTHORITY.token(ROUND, Ticket("shop", 7))
    assert AUTHORITY.ticket(ROUND, token) == ("shop", 7)
    others = [token[:-1] + "x", token.replace(".7.", ".8."), token.replace("shop", "show"), "", "shop.7", "é.7.x"]
    for wrong in [*others, token + "=", f"SHOP{token[4:]}", token.replace(".7.", ".07."), token.replace(".7.", ".٧.")]:
        with pytest.raises(AuthError):
            AUTHORITY.ticket(ROUND, wrong)
    with pytest.raises(AuthError):
        AUTHORITY.ticket("11" * 16, token)
    with pytest.raises(AuthError):
        Authority(bytes(32)).ticket(ROUND, token)


def test_the_secret_is_made_once_and_shows_itself_to_its_owner_only(tmp_path):
    settings = Settings(home=tmp_path / "home")
    made = open_authority(settings)
    path = settings.home / "federated.secret"
    assert path.stat().st_mode & 0o077 == 0
    assert open_authority(settings).key.public_key() == made.key.public_key()
    assert repr(made) == "Authority(***)"
    assert list(settings.home.iterdir()) == [path]
    given = open_authority(Settings(home=tmp_path, federated_secret=Secret("s" * 32)))
    assert given.key.public_key() != made.key.public_key()
    with pytest.raises(SettingError, match="bytes"):
        open_authority(Settings(home=tmp_path, federated_secret=Secret("short")))
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingError):
        open_authority(settings)


@pytest.fixture
async def closed(store):
    rounds = Rounds(store, AUTHORITY)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=9.0)
    key = await rounds.new_site("shop", 2)
    round_id = await rounds.open("ctr", clients=9, quantum=1 / 4096, privacy=PRIVACY, live=5)
    return store, rounds, round_id, key


async def join(rounds, round_id):
    frame = (await rounds.coordinator(round_id)).frame
    return Client(frame, bytes.fromhex((await rounds.coordinator(round_id)).offer.key)).join()


async def test_joining_takes_a_token_and_a_site_has_only_so_many(closed):
    store, rounds, round_id, key = closed
    with pytest.raises(AuthError, match="takes a token"):
        await rounds.take(round_id, await join(rounds, round_id))
    one, two, *more = await rounds.tokens(round_id, key, 0, 1000)
    assert more == []
    assert await rounds.tokens(round_id, key, 1) == [two]
    first = await join(rounds, round_id)
    await rounds.take(round_id, first, one)
    assert await rounds.take(round_id, first, one) == "again"
    with pytest.raises(RefusedError, match="token"):
        await rounds.take(round_id, await join(rounds, round_id), one)
    beyond = AUTHORITY.token(round_id, Ticket("shop", 2))
    with pytest.raises(AuthError, match="may not let"):
        await rounds.take(round_id, await join(rounds, round_id), beyond)
    await store.federated.revoke_site("shop")
    with pytest.raises(AuthError):
        await rounds.take(round_id, await join(rounds, round_id), two)
    with pytest.raises(AuthError):
        await rounds.tokens(round_id, key)
    assert [site.name for site in await store.federated.sites()] == ["shop"]
    renewed = await rounds.new_site("shop", 3)
    assert len(await rounds.tokens(round_id, renewed, 0, 9)) == 3
    await rounds.take(round_id, await join(rounds, round_id), two)
    await rounds.advance(round_id)
    with pytest.raises(ConflictError, match="joining"):
        await rounds.tokens(round_id, renewed)


async def test_no_key_is_in_the_database(closed):
    store, _, round_id, key = closed
    dumped = repr(await store.federated.round(round_id)) + repr(await store.federated.sites())
    assert AUTHORITY.key.private_bytes_raw().hex() not in dumped
    assert key not in dumped
    with pytest.raises(ConflictError, match="another secret"):
        await Rounds(store, Authority(bytes(32))).coordinator(round_id)


async def test_sites_that_cannot_be(closed):
    store, rounds, _, _ = closed
    for name, quota in (("Shop", 1), ("", 1), ("shop", 0), ("s" * 41, 1)):
        with pytest.raises(InputError):
            await rounds.new_site(name, quota)
    with pytest.raises(NotFoundError):
        await store.federated.revoke_site("nobody")


async def test_tokens_over_http_and_a_limit_by_address(closed):
    store, rounds, round_id, key = closed
    at = f"/v1/federated/rounds/{round_id}"
    transport = httpx.ASGITransport(application(store, rounds, limiter=Limiter(5, now=lambda: 0.0)))
    async with httpx.AsyncClient(transport=transport, base_url="https://coordinator") as http:
        headers = {"Authorization": f"Bearer {key}"}
        told = await http.get(f"{at}/tokens", params={"count": "5"}, headers=headers)
        assert len(told.json()["tokens"]) == 2
        assert (await http.get(f"{at}/tokens", params={"count": "-1"}, headers=headers)).status_code == 422
        assert (await http.get(f"{at}/tokens")).status_code == 401
        assert (await http.post(f"{at}/messages", content=await join(rounds, round_id))).status_code == 401
        bearer = {"Authorization": f"Bearer {told.json()['tokens'][0]}"}
        assert (
            await http.post(f"{at}/messages", content=await join(rounds, round_id), headers=bearer)
        ).status_code == 200
        many = await http.get(f"{at}/offer")
        assert many.status_code == 429
        assert int(many.headers["retry-after"]) > 0


async def test_a_token_is_told_to_nobody_without_tls():
    async with httpx.AsyncClient(base_url="http://coordinator.example") as http:
        with pytest.raises(InputError, match="TLS"):
            await take_part(http, ROUND, bytes(32), lambda _: None, spend=lambda _: None, token="a.1.b")


async def test_messages_are_forgotten_and_receipts_stay(store):
    class Clock:
        now = 1_000

        def now_ms(self):
            return self.now

    rounds = Rounds(store, AUTHORITY)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=9.0, free=True)
    round_id = await rounds.open("ctr", clients=9, quantum=1 / 4096, privacy=PRIVACY, live=5)
    for _ in range(3):
        await rounds.take(round_id, await join(rounds, round_id))
    assert await rounds.advance(round_id) == "failed"
    later = Clock()
    later.now = (await store.federated.round(round_id)).ended_ms + 86_400_001
    await Rounds(store, AUTHORITY, clock=later).tick()
    assert await store.federated.messages(round_id) == []
    assert (await store.federated.round(round_id)).joined == 3
    assert (await Rounds(store, AUTHORITY).coordinator(round_id)).phase == "failed"
