"""A thousand clients, six of them tabs of a real Chromium, 30 % vanishing at random steps (two tabs among them): is the
sum exact?"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from playwright.async_api import async_playwright

from arauto.edge import Asset, serving
from arauto.federated import MODULE, Client, Coordinator, module, new_offer
from arauto.federated.wire import Offer, Privacy
from bench.federated_secagg import CPU_SECONDS, Clock
from tools.browser import ARGUMENTS, find_browser

CLIENTS, TABS, DIM, GONE = 1000, 6, 65_536, 0.3
TAB_FATE = {0: "masked", 1: "unmask"}
"""Tab 0 is closed before its vector, tab 1 before it answers."""
STEPS = ("join", "shares", "masked", "unmask")
_PAGE = Asset(b"<!doctype html><title>round</title>", "text/html")
_OPEN = """async ([offer, key, dim, seed]) => {
    globalThis.f = await import('/arauto-federated.js');
    globalThis.words = Uint32Array.from({ length: dim }, (_, n) => Math.imul(n + seed, 2654435761) >>> 0);
    globalThis.client = await f.Client.open(f.unhex(offer), f.unhex(key));
}"""
_SAY = """async ([method, frame]) => {
    const given = frame ? [f.unhex(frame)] : [];
    if (method === 'masked') given.push(words);
    return f.hex(await client[method](...given));
}"""


def words_of(seed: int) -> NDArray[np.uint32]:
    """What a tab sums: the same formula as in the page."""
    return ((np.arange(DIM, dtype=np.uint64) + np.uint64(seed)) * np.uint64(2654435761)).astype(np.uint32)


class Crowd:
    """Clients in Python by number, and tabs before them; all speak alike."""

    def __init__(self, coordinator: Coordinator, pages: list[Any], python: range) -> None:
        self.coordinator, self.pages = coordinator, pages
        self.clients = {n: Client(coordinator.frame, bytes.fromhex(coordinator.offer.key)) for n in python}

    async def say(self, n: int, method: str, *given: Any) -> bytes:
        if n >= TABS:
            said: bytes = getattr(self.clients[n], method)(*given)
            return said
        frame = given[0].hex() if given else None
        return bytes.fromhex(await self.pages[n].evaluate(_SAY, [method, frame]))


def asks(coordinator: Coordinator, step: str, position: int) -> tuple[bytes, ...]:
    """The frame that a client answers in a step."""
    if step == "join":
        return ()
    if step == "masked":
        return (coordinator.inbox(position),)
    return (coordinator.roster() if step == "shares" else coordinator.ask(),)


async def play(pages: list[Any], offer: Offer, key: Ed25519PrivateKey, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    ours = Clock()
    fate = {n: STEPS[draw.integers(4)] for n in range(TABS, CLIENTS) if draw.random() < GONE} | TAB_FATE
    with ours:
        coordinator = Coordinator(offer, key)
    crowd = Crowd(coordinator, pages, range(TABS, CLIENTS))
    for n, page in enumerate(pages):
        await page.evaluate(_OPEN, [coordinator.frame.hex(), offer.key, DIM, n])
    expected = np.zeros(DIM, np.uint32)
    here = list(range(CLIENTS))
    place: dict[int, int] = {}
    for step in STEPS:
        for n in [n for n in here if fate.get(n) == step and n < TABS]:
            await pages[n].close()
        here = [n for n in here if fate.get(n) != step]
        for n in here:
            with ours:
                asked: tuple[Any, ...] = asks(coordinator, step, place.get(n, 0))
            if step == "masked":
                words = words_of(n) if n < TABS else draw.integers(0, 1 << 32, DIM, dtype=np.uint32)
                expected += words
                asked = asked if n < TABS else (*asked, words)
            frame = await crowd.say(n, step, *asked)
            with ours:
                sender = coordinator.take(frame)
            if step == "shares":
                place[n] = int(sender)
        with ours:
            phase = coordinator.advance()
        print(step, len(here), phase, flush=True)
    exact = coordinator.outcome is not None and bool((coordinator.outcome.total == expected).all())
    told: list[int] = []
    if coordinator.outcome is not None:
        receipt = coordinator.outcome.receipt.hex()
        told = [
            await pages[n].evaluate("async (frame) => (await client.receipt(f.unhex(frame))).live", receipt)
            for n in range(TABS)
            if n not in TAB_FATE
        ]
    return {
        "clients": CLIENTS,
        "tabs": TABS,
        "tabs_closed_midway": len(TAB_FATE),
        "dim": DIM,
        "vanished": len(fate),
        "neighbours": offer.neighbours,
        "threshold": offer.threshold,
        "summed": coordinator.outcome.live if coordinator.outcome else 0,
        "tabs_receipts_say": told,
        "exact": exact,
        "reason": coordinator.reason,
        "coordinator_cpu_seconds": round(ours.seconds, 2),
    }


async def measure() -> dict[str, Any]:
    path = await asyncio.to_thread(find_browser)
    key = Ed25519PrivateKey.generate()
    offer = new_offer(
        key, round_id=bytes(16), task="bench", model="00" * 32, dim=DIM, quantum=1.0, privacy=Privacy(clip=1.0),
        clients=CLIENTS,
    )  # fmt: skip
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(path), args=list(ARGUMENTS))
        with serving({"": _PAGE, MODULE: Asset(module(), "text/javascript")}) as url:
            pages = [await (await browser.new_context()).new_page() for _ in range(TABS)]
            for page in pages:
                await page.goto(url)
            found = await play(pages, offer, key, seed=0)
        version = browser.version
        await browser.close()
    return {"chromium": version, **found}


def main() -> dict[str, Any]:
    found = asyncio.run(measure())
    good = {
        "exact": found["exact"],
        "receipts": set(found["tabs_receipts_say"]) == {found["summed"]},
        "cpu": found["coordinator_cpu_seconds"] <= CPU_SECONDS,
    }
    return {**found, "promises": good, "passed": all(good.values())}
