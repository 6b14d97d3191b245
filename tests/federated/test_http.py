"""The coordinator over HTTP, and clients that reach it."""

import asyncio

import httpx
import numpy as np
import pytest

from arauto.core.errors import AuthError, ConflictError, InputError, NotFoundError
from arauto.federated import Ledger, Rounds, encode, noise_for, take_part
from arauto.federated.wire import RefusedError
from arauto.server.federated import application, keep_moving
from tests.federated.rounds import AUTHORITY

DIM = 8
PRIVACY = noise_for(8, 1e-6, 2, 1.0, 1 / 4096, DIM, 4)


@pytest.fixture
async def stage(store):
    rounds = Rounds(store, AUTHORITY)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=9.0, free=True)
    round_id = await rounds.open("ctr", clients=9, quantum=1 / 4096, privacy=PRIVACY, live=5)
    transport = httpx.ASGITransport(application(store, rounds))
    async with httpx.AsyncClient(transport=transport, base_url="https://coordinator") as http:
        yield store, rounds, round_id, http


async def until(rounds, round_id):
    while (await rounds.coordinator(round_id)).count() < 9:  # noqa: ASYNC110  another task fills it
        await asyncio.sleep(0.05)


async def test_nine_clients_take_part(stage):
    store, rounds, round_id, http = stage
    pinned = bytes.fromhex((await rounds.coordinator(round_id)).offer.key)
    assert (await http.get("/v1/federated/rounds")).json() == [{"round": round_id, "task": "ctr", "phase": "join"}]
    ledgers = [Ledger(None, epsilon=9.0) for _ in range(9)]
    parts = [
        asyncio.create_task(
            take_part(http, round_id, pinned, lambda offer: encode(np.full(DIM, 0.1), offer), spend=one.spend)
        )
        for one in ledgers
    ]
    await until(rounds, round_id)
    await rounds.advance(round_id)

    async def over():
        return (await store.federated.round(round_id)).phase == "done"

    await keep_moving(rounds, over)
    found = await asyncio.gather(*parts)
    assert {one.receipt.live for one in found} == {9}
    assert all(one.spent > 0 for one in ledgers)
    weights = (await http.get("/v1/federated/models/ctr")).content
    assert np.frombuffer(weights, "<f4").shape == (DIM,)
    assert (await http.get(f"/v1/federated/rounds/{round_id}")).json()["phase"] == "done"
    assert b"Client" in (await http.get("/arauto-federated.js")).content


async def test_what_cannot_be_answered(stage):
    _, rounds, round_id, http = stage
    at = f"/v1/federated/rounds/{round_id}"
    assert (await http.get(f"{at}/roster")).status_code == 204
    assert (await http.get(f"{at}/secrets")).status_code == 422
    assert (await http.get(f"{at}/inbox")).status_code == 422
    assert (await http.get("/v1/federated/rounds/00")).status_code == 404
    refused = await http.post(f"{at}/messages", content=b"nonsense")
    assert (refused.status_code, refused.json()["code"]) == (422, "refused")
    pinned = bytes.fromhex((await rounds.coordinator(round_id)).offer.key)
    with pytest.raises(RefusedError, match="not signed with the key") as wrong:
        await take_part(http, round_id, bytes(32), lambda _: None, spend=lambda _: None)
    assert wrong.value.field == "key"
    with pytest.raises(ConflictError, match="nothing came"):
        await take_part(http, round_id, pinned, lambda _: None, spend=lambda _: None, patience_s=0.2)
    with pytest.raises(NotFoundError, match="no round"):
        await take_part(http, "00" * 16, pinned, lambda _: None, spend=lambda _: None)
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as nowhere:
        with pytest.raises(ConflictError, match="cannot be reached"):
            await take_part(nowhere, round_id, pinned, lambda _: None, spend=lambda _: None)
    await rounds.advance(round_id)
    with pytest.raises(ConflictError, match="failed"):
        await take_part(http, round_id, pinned, lambda _: None, spend=lambda _: None)


async def test_a_body_without_end_is_cut(stage, monkeypatch):
    monkeypatch.setattr("arauto.server.federated.MOST", 10)
    _, _, round_id, http = stage
    assert (await http.post(f"/v1/federated/rounds/{round_id}/messages", content=bytes(11))).status_code == 413


def too_long(_):
    raise InputError("has 9 numbers, 8 are asked", field="update")


async def test_what_cannot_be_sent_is_known_before_joining(stage):
    _, rounds, round_id, http = stage
    pinned = bytes.fromhex((await rounds.coordinator(round_id)).offer.key)
    with pytest.raises(InputError, match="9 numbers"):
        await take_part(http, round_id, pinned, too_long, spend=lambda _: None)
    assert (await rounds.coordinator(round_id)).count() == 0
    broke = Ledger(None, epsilon=0.1)
    with pytest.raises(RefusedError, match="budget"):
        await take_part(http, round_id, pinned, broke.check, spend=broke.spend)
    assert (await rounds.coordinator(round_id)).count() == 0


async def test_a_client_without_a_token_is_told_where_to_get_one(store):
    rounds = Rounds(store, AUTHORITY)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=9.0)
    round_id = await rounds.open("ctr", clients=9, quantum=1 / 4096, privacy=PRIVACY, live=5)
    pinned = bytes.fromhex((await rounds.coordinator(round_id)).offer.key)
    transport = httpx.ASGITransport(application(store, rounds))
    async with httpx.AsyncClient(transport=transport, base_url="https://coordinator") as http:
        with pytest.raises(AuthError) as wrong:
            await take_part(http, round_id, pinned, lambda _: None, spend=lambda _: None)
    assert "--token" in (wrong.value.mend or "")
