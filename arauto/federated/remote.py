"""A client of a coordinator over HTTP: waits for each frame, sends its four messages, keeps the receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import httpx

from arauto.core.errors import AuthError, ConflictError, InputError, NotFoundError
from arauto.federated.client import Client
from arauto.federated.masks import Words
from arauto.federated.wire import Offer, Receipt, RefusedError

PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
LOCAL = ("localhost", "127.0.0.1", "::1")
_BASE = "/v1/federated/rounds"


class Taken(NamedTuple):
    """What came of taking part: the offer and the coordinator's receipt."""

    offer: Offer
    receipt: Receipt


async def take_part(
    http: httpx.AsyncClient,
    round_id: str,
    pinned: bytes,
    update: Callable[[Offer], Words],
    *,
    spend: Callable[[Offer], None],
    token: str | None = None,
    consent: Callable[[], bool] = lambda: True,
    patience_s: float = 300.0,
) -> Taken:
    """Take part in one round at the base address of ``http``; ``update`` makes the noised words, ``spend`` pays,
    ``token`` lets in.

    Raises:
        AuthError: joining takes a token, and this is none.
        InputError: the address is another machine's, and not TLS: a token would be read on the way.
        NotFoundError: the coordinator knows no such round.
        RefusedError: a side refused.
        ConflictError: the round failed, or nothing came in ``patience_s`` seconds.
    """
    check_address(http.base_url)
    try:
        async with asyncio.timeout(patience_s):
            client = _client(await _frame(http, round_id, "offer"), pinned, spend, consent)
            words = update(client.offer)  # what cannot be sent is known before anyone counts on it
            await _send(http, round_id, client.join(), token)
            await _send(http, round_id, client.shares(await _frame(http, round_id, "roster")))
            inbox = await _frame(http, round_id, f"inbox/{client.position}")
            await _send(http, round_id, client.masked(inbox, words))
            await _send(http, round_id, client.unmask(await _frame(http, round_id, "ask")))
            return Taken(client.offer, client.receipt(await _frame(http, round_id, "receipt")))
    except httpx.HTTPError as failure:
        raise ConflictError(f"the coordinator cannot be reached: {failure}", field="url", mend="try again") from None
    except TimeoutError:
        raise ConflictError(f"nothing came in {patience_s:g} s", field="round", mend="wait for another round") from None


def check_address(url: httpx.URL) -> None:
    """Raises :class:`InputError` unless ``url`` is this machine's, or TLS."""
    if url.scheme != "https" and url.host not in LOCAL:
        raise InputError(f"{url.scheme}://{url.host} is not TLS", field="url", mend="give the https address")


def _client(offer: bytes, pinned: bytes, spend: Callable[[Offer], None], consent: Callable[[], bool]) -> Client:
    try:
        return Client(offer, pinned, spend=spend, consent=consent)
    except RefusedError as wrong:
        if wrong.field != "signature":
            raise
        problem = "the offer was not signed with the key that was given"
        raise RefusedError(problem, field="key", mend="give this coordinator's, or trust it not") from None


async def _frame(http: httpx.AsyncClient, round_id: str, what: str) -> bytes:
    """The frame, once there is one."""
    path = f"{_BASE}/{round_id}/{what}"
    pause = PAUSE_S
    while True:
        answer = await http.get(path)
        if answer.status_code == 200:
            return answer.content
        if answer.status_code == 404:
            raise NotFoundError(_told(answer), field="round", mend=f"GET {_BASE} lists those that are open")
        if answer.status_code not in (204, 429):
            raise ConflictError(_told(answer), field="round", mend="wait for another round")
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE_S, 1.5 * pause)


async def _send(http: httpx.AsyncClient, round_id: str, frame: bytes, token: str | None = None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else None
    answer = await http.post(f"{_BASE}/{round_id}/messages", content=frame, headers=headers)
    if answer.status_code == 401:
        raise AuthError(_told(answer), field="token", mend="ask the site for one, and give it with --token")
    if answer.status_code != 200:
        raise RefusedError(_told(answer), field="message")


def _told(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["problem"])
    except (ValueError, KeyError, TypeError):
        return f"the coordinator answered {answer.status_code}"
