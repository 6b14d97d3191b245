"""Malformed bodies against the public routes, in process: how each was answered, and that none made a 500.

Bodies are made from good ones, because noise alone ends in the parser: types are swapped, numbers are driven to their
ends, fields are dropped, doubled, renamed and nested, receipts are bent, text is filled with what breaks databases and
terminals, and at last bytes are flipped, cut and repeated.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from arauto.core.ids import uuid7
from arauto.core.settings import Secret, load_settings
from arauto.loop import NewCampaign, Runtime, create_campaign
from arauto.server.worker import make_front

BODIES = 120_000
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**40, 0.0, -0.0, 1e308, 5e-324, 0.1 + 0.2,
    "", " ", "\0", "\ud800", "\udfff", "\u202e", "\ufeff", "\x7f", "\n", "a" * 65, "x" * 5000, "é" * 100, "😀" * 40,
    "' OR 1=1 --", "{{7*7}}", "<script>alert(1)</script>", "../../etc/passwd", "%00", "NaN", "Infinity", "-0", "1e400",
    "9" * 400, "1e-400", "sNaN", "null", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff",
    [], {}, [[]], [None] * 50, {"": ""}, {"a": {"b": {"c": {}}}}, {"\0": 1}, {"__proto__": 1}, {"type": "impression"},
)  # fmt: skip
TYPES = ("impression", "view", "click", "cart", "purchase", "rating", "web_vital", "custom", "nonsense", "", None)


class Mutator:
    """Makes requests to attack with: method, path with query, headers, body. The same ``seed`` gives the same ones."""

    def __init__(self, *, seed: int, key: str, campaign: str, receipt: str, now_ms: int) -> None:
        self._random = random.Random(seed)
        self._key = key
        self._campaign = campaign
        self._receipt = receipt
        self._now = now_ms

    def next(self) -> tuple[str, str, dict[str, str], bytes]:
        """One request."""
        chance = self._random.random
        path, body = ("/v1/decide", self._query()) if chance() < 0.35 else ("/v1/events", self._batch())
        for _ in range(self._random.choice((0, 0, 1, 1, 1, 2, 3))):
            body = self._bend(body)
        raw = json.dumps(body, ensure_ascii=chance() < 0.7).encode("utf-8", "surrogatepass")
        for _ in range(self._random.choice((0, 0, 0, 0, 1, 2))):
            raw = self._break(raw)
        if chance() < 0.1:
            path += "?key=" + quote(str(self._hostile())[:200], errors="replace")
        headers = {}
        if chance() < 0.2:
            headers["sec-gpc"] = str(self._random.choice(("1", "0", "", "true")))
        if chance() < 0.2:
            headers["origin"] = str(self._random.choice(("null", "", "https://evil.example", "http://x:0", "a b")))
        if chance() < 0.05:
            headers["content-length"] = str(self._random.choice(("-1", "abc", "", "0", "99999999999999999999")))
        return (
            "POST" if chance() < 0.97 else self._random.choice(("GET", "PUT", "OPTIONS", "HEAD", "")),
            path,
            headers,
            raw,
        )

    def _hostile(self) -> Any:
        # A copy: what is bent further must not bend the list itself.
        return deepcopy(self._random.choice(HOSTILE))

    def _query(self) -> dict[str, Any]:
        query: dict[str, Any] = {"key": self._key, "campaign": self._campaign}
        if self._random.random() < 0.5:
            query |= {"visitor": str(self._id()), "consent": "granted", "device": "mobile"}
        return query

    def _batch(self) -> dict[str, Any]:
        events = [self._event() for _ in range(self._random.choice((1, 1, 1, 2, 3, 8)))]
        batch: dict[str, Any] = {"key": self._key, "events": events}
        if self._random.random() < 0.5:
            batch["consent"] = "granted"
        return batch

    def _event(self) -> dict[str, Any]:
        kind = self._random.choice(TYPES)
        fields: dict[Any, dict[str, Any]] = {
            "view": {"item": "i1"},
            "cart": {"item": "i1"},
            "purchase": {"value": "19.90", "currency": "BRL", "order": "o1"},
            "rating": {"score": 5},
            "web_vital": {"metric": "LCP", "reading": 1234.5},
            "custom": {"name": "x", "props": {"a": 1, "b": "c"}},
        }
        event = {"type": kind, "id": str(self._id()), "at": self._now, **fields.get(kind, {})}
        if self._random.random() < 0.7:
            event["receipt"] = self._receipt
        if self._random.random() < 0.3:
            event["visitor"] = str(self._id())
        return event

    def _id(self) -> str:
        random = self._random.getrandbits(74)
        high = self._now << 16 | 0x7000 | random >> 62
        whole = f"{high << 64 | 0x8000000000000000 | random & 0x3FFFFFFFFFFFFFFF:032x}"
        return f"{whole[:8]}-{whole[8:12]}-{whole[12:16]}-{whole[16:20]}-{whole[20:]}"

    def _bend(self, body: Any) -> Any:
        """Change one place of the document."""
        spots: list[tuple[Any, Any]] = []

        def look(value: Any) -> None:
            if isinstance(value, dict):
                spots.extend((value, name) for name in value)
                for item in value.values():
                    look(item)
            elif isinstance(value, list):
                spots.extend((value, place) for place in range(len(value)))
                for item in value:
                    look(item)

        look(body)
        if not spots or self._random.random() < 0.02:
            return self._hostile()
        holder, name = self._random.choice(spots)
        ways: tuple[Callable[[Any, Any], None], ...] = (
            self._replace,
            self._replace,
            self._drop,
            self._rename,
            self._bend_text,
        )
        self._random.choice(ways)(holder, name)
        return body

    def _replace(self, holder: Any, name: Any) -> None:
        holder[name] = self._hostile()

    def _drop(self, holder: Any, name: Any) -> None:
        del holder[name]

    def _rename(self, holder: Any, name: Any) -> None:
        if isinstance(holder, dict):
            holder[str(self._hostile())[:70]] = holder.pop(name)
        else:
            holder.extend([holder[name]] * self._random.choice((1, 2, 600)))

    def _bend_text(self, holder: Any, name: Any) -> None:
        text = str(holder[name])
        place = self._random.randrange(len(text) + 1)
        holder[name] = text[:place] + self._random.choice(("", "A", "\0", "é", "-", "\ud83d")) + text[place + 1 :]

    def _break(self, raw: bytes) -> bytes:
        """Change the bytes themselves."""
        if not raw:
            return raw
        place = self._random.randrange(len(raw))
        return self._random.choice(
            (
                raw[:place],
                raw[:place] + bytes([self._random.randrange(256)]) + raw[place + 1 :],
                raw[:place] + raw,
                raw + b"\0" * 9,
                raw[:place] + b"[" * 3000 + raw[place:],
                b"\xef\xbb\xbf" + raw,
                raw[:place] + b"\\u0000" + raw[place:],
            )
        )


class _Exchange:
    """granian's protocol object, for one request."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0

    async def __call__(self) -> bytes:
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body

    async def client_disconnect(self) -> None:
        await asyncio.Event().wait()

    def response_empty(self, status: int, _headers: object) -> None:
        self.status = status

    def response_bytes(self, status: int, _headers: object, _body: bytes) -> None:
        self.status = status

    def response_stream(self, status: int, _headers: object) -> None:
        self.status = status


class _Headers:
    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        self.get = values.get

    def items(self) -> list[tuple[str, str]]:
        return list(self._values.items())


async def attack(front: Any, mutator: Mutator, count: int) -> Counter[int]:
    """Send ``count`` requests to ``front``; the number of answers by status."""
    tally: Counter[int] = Counter()
    for _ in range(count):
        method, url, headers, body = mutator.next()
        path, _, query = url.partition("?")
        scope = SimpleNamespace(
            proto="http",
            http_version="1.1",
            client="203.0.113.9:4711",
            server="127.0.0.1:8800",
            scheme="http",
            method=method,
            path=path,
            query_string=query,
            headers=_Headers({"host": "arauto.example", "content-length": str(len(body)), **headers}),
        )
        exchange = _Exchange(body)
        await front(scope, exchange)
        tally[exchange.status] += 1
    return tally


@asynccontextmanager
async def server() -> AsyncIterator[tuple[Any, Mutator]]:
    """A server in this process on an empty database, and a mutator that knows its key and a receipt."""
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(environ={}, home=Path(home), rate_limit=0, admin_token=Secret("x"))
        runtime = await Runtime.open(settings)
        try:
            new = NewCampaign(brief={"product": "watch"})
            created = await create_campaign(runtime.store, settings, new, actor="bench")
            await runtime.store.catalogue.set_campaign_state(created.campaign.id, "live", "bench")
            await runtime.sync(all_over=True)
            site = await runtime.store.catalogue.site(created.campaign.site_id)
            front, _ = make_front(settings, runtime)
            now = runtime.clock.now_ms()
            receipt = runtime.book.sign_facts(
                uuid7(now).bytes, created.campaign.id, created.variants[0].id, 0.25, 1, 0, bytes(8)
            ).decode()
            yield front, Mutator(seed=1, key=site.key, campaign=created.campaign.slug, receipt=receipt, now_ms=now)
        finally:
            await runtime.close()


async def _main() -> dict[str, Any]:
    async with server() as (front, mutator):
        began = time.perf_counter()
        tally = await attack(front, mutator, BODIES)
        seconds = time.perf_counter() - began
    failed = sum(count for status, count in tally.items() if status >= 500)
    return {
        "requests": BODIES,
        "seconds": round(seconds, 1),
        "by_status": {str(status): count for status, count in sorted(tally.items())},
        "server_errors": failed,
        "passed": failed == 0,
    }


def main() -> dict[str, Any]:
    """How each of the bodies was answered."""
    return asyncio.run(_main())
