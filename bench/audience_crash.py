"""``kill -9`` of the server in the middle of 10,000 updates: afterwards everyone's neighbours are those of a run that
nobody disturbed. Then a visitor is erased, the server killed once more, and the visitor looked for.

Both runs are sent the same events with the same ids, in the same bodies; a body that is not acknowledged is sent again.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import psycopg

from arauto.core.ids import uuid7
from arauto.core.settings import Secret, Settings
from arauto.loop import Remote
from arauto.server import claim_port
from arauto.store.embedded import EmbeddedPostgres
from bench.crash import TOKEN, Server, until_ready

VISITORS, TASTES, ITEMS = 500, 10, 400
UPDATES, TOGETHER = 10_000, 20
KILLS = 4
ADMIN = {"authorization": f"Bearer {TOKEN}"}
ERASED = 7


def person(number: int) -> str:
    return str(UUID(int=(number + 1) << 80 | 0x4000_8000_0000_0000_0001))


def bodies(seed: int) -> list[dict[str, Any]]:
    """10,000 views, twenty of one visitor's in each body. Each visitor has a taste."""
    dice, now = random.Random(seed), time.time_ns() // 1_000_000
    made = []
    for number in range(UPDATES // TOGETHER):
        who = number % VISITORS if number < VISITORS else dice.randrange(VISITORS)
        own = [who % TASTES + TASTES * dice.randrange(ITEMS // TASTES) for _ in range(TOGETHER)]
        made.append(
            {
                "consent": "granted",
                "events": [
                    {
                        "type": "view",
                        "id": str(uuid7(now)),
                        "at": now + place,
                        "visitor": person(who),
                        "item": f"i{item}",
                    }
                    for place, item in enumerate(own)
                ],
            }
        )
    return made


async def send(http: httpx.AsyncClient, key: str, parts: list[dict[str, Any]]) -> None:
    """Bodies, each until it is acknowledged."""
    for part in parts:
        while True:
            try:
                answer = await http.post("/v1/events", content=msgspec.json.encode({"key": key, **part}))
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                break
            if answer.status_code != 503:
                raise RuntimeError(answer.text[:300])
            await asyncio.sleep(0.1)


async def neighbours(http: httpx.AsyncClient) -> dict[str, list[tuple[str, float]]]:
    """Everyone's ten nearest; waits until the audience is there after a start."""
    found: dict[str, list[tuple[str, float]]] = {}
    for number in range(VISITORS):
        for _ in range(600):
            answer = await http.get(f"/v1/visitors/{person(number)}/neighbours?k=10", headers=ADMIN)
            if answer.status_code == 200:
                break
            if number == ERASED:
                return found
            await asyncio.sleep(0.1)
        found[person(number)] = [(one["visitor"], one["similarity"]) for one in answer.json()["neighbours"]]
    return found


def split(parts: list[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    size = len(parts) // count
    return [parts[size * one : size * (one + 1) if one < count - 1 else None] for one in range(count)]


async def run(parts: list[dict[str, Any]], kills: int, settings: Settings, server: Server) -> dict[str, Any]:
    """One run: the events, the kills, everyone's neighbours; then the erasure."""
    await until_ready(server)
    async with Remote(server.url, key="", token=TOKEN) as admin:
        site = (await admin.sites())[0] if await admin.sites() else None
        if site is None:
            await admin.draft({"brief": {"product": "crash test"}})
            site = (await admin.sites())[0]
    recovery: list[float] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for part in split(parts, kills + 1):
            # The last of each part are under way when the server dies.
            sending = [asyncio.create_task(send(http, site.key, part[place::4])) for place in range(4)]
            if len(recovery) < kills:
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                began = time.perf_counter()
                server.kill()
                server.start()
                await until_ready(server)
                recovery.append(round(time.perf_counter() - began, 2))
            await asyncio.gather(*sending)
        near = await neighbours(http)
        found: dict[str, Any] = {"near": near, "recovery_s": recovery}
        if kills:
            found["erased_but_found"] = await erase(http, site.key, settings, server)
    return found


async def erase(http: httpx.AsyncClient, key: str, settings: Settings, server: Server) -> dict[str, Any]:
    """Where the erased visitor still is, after another kill."""
    gone = person(ERASED)
    answer = await http.delete(f"/v1/visitors/{gone}?key={key}")
    if answer.status_code != 200:
        return {"refused": answer.text[:300]}
    server.kill()
    server.start()
    await until_ready(server)
    await asyncio.sleep(2)
    around = 0
    for number in range(ERASED % TASTES, VISITORS, TASTES):
        if number != ERASED:
            answer = await http.get(f"/v1/visitors/{person(number)}/neighbours?k=49", headers=ADMIN)
            around += gone in answer.text
    own = await http.get(f"/v1/visitors/{gone}/neighbours", headers=ADMIN)
    export = await http.get(f"/v1/visitors/{gone}?key={key}")
    with psycopg.connect(EmbeddedPostgres(settings.home / "postgres").dsn) as connection:
        states = connection.execute("SELECT count(*) FROM visitor_states WHERE visitor_id = %s", [gone]).fetchone()
        events = connection.execute("SELECT count(*) FROM events WHERE visitor_id = %s", [gone]).fetchone()
    return {
        "neighbour_of_others": around,
        "own_neighbours": own.status_code != 404,
        "export": export.status_code != 404,
        "saved_states": states[0] if states else 0,
        "events": events[0] if events else 0,
    }


def whole(parts: list[dict[str, Any]], kills: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="arauto-crash-") as folder:
        # The database's own user must be able to enter.
        Path(folder).chmod(0o755)
        settings = Settings(
            home=Path(folder) / "home", port=claim_port("127.0.0.1", 0), rate_limit=0, admin_token=Secret(TOKEN)
        )
        server = Server(settings, Path(folder) / "server.log")
        try:
            return asyncio.run(run(parts, kills, settings, server))
        finally:
            server.stop()


def differences(
    one: dict[str, list[tuple[str, float]]], other: dict[str, list[tuple[str, float]]]
) -> tuple[int, float]:
    """How many visitors have other neighbours (who are equally near may change places), and the largest difference of
    similarity."""
    apart, most = 0, 0.0
    for who in one.keys() | other.keys():
        a, b = one.get(who, []), other.get(who, [])
        if len(a) != len(b):
            apart += 1
            continue
        most = max([most, *(abs(x - y) for (_, x), (_, y) in zip(a, b, strict=True))])
        edge = a[-1][1] + 1e-5 if a else 0.0
        apart += {name for name, near in a if near > edge} != {name for name, near in b if near > edge}
    return apart, most


def main(seed: int = 0) -> dict[str, Any]:
    parts = bodies(seed)
    disturbed = whole(parts, KILLS)
    calm = whole(parts, 0)
    apart, most = differences(disturbed["near"], calm["near"])
    gone = disturbed["erased_but_found"]
    return {
        "updates": UPDATES,
        "visitors": len(calm["near"]),
        "kills": KILLS,
        "recovery_s": disturbed["recovery_s"],
        "visitors_with_other_neighbours": apart,
        "largest_difference": most,
        "erased_but_found": gone,
        "passed": apart == 0 and most < 1e-5 and len(calm["near"]) == VISITORS and not any(gone.values()),
    }
