"""What a round costs a browser at k = 30, d = 32,768, with the CPU throttled four times, in a real Chromium."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.async_api import async_playwright

from arauto.edge import Asset, serving
from arauto.federated import MODULE, Client, Coordinator, Offer, Privacy, module
from arauto.federated.coordinator import public_key
from tools.browser import ARGUMENTS, find_browser

CLIENTS, NEIGHBOURS, DIM, REPEATS, THROTTLE = 40, 30, 32_768, 5, 4
MILLISECONDS, BYTES = 250.0, 6000
_PAGE = Asset(b"<!doctype html><title>round</title>", "text/html")
_STEP = """async ([method, frame]) => {
    const unhex = (text) => f.unhex(text);
    const given = frame ? [unhex(frame)] : [];
    if (method === 'masked') given.push(words);
    const began = performance.now();
    const made = await client[method](...given);
    return [performance.now() - began, f.hex(made)];
}"""


async def one_round(page: Any) -> dict[str, float]:
    key = Ed25519PrivateKey.generate()
    offer = Offer(
        round="00" * 16, task="bench", model="00" * 32, dim=DIM, quantum=1.0, neighbours=NEIGHBOURS, threshold=17,
        least=CLIENTS, live=20, closes_ms=0, key=public_key(key).hex(), privacy=Privacy(clip=1.0),
    )  # fmt: skip
    coordinator = Coordinator(offer, key)
    await page.evaluate(
        """async ([offer, key, dim]) => {
            globalThis.f = await import('/arauto-federated.js');
            globalThis.words = new Uint32Array(dim);
            globalThis.client = await f.Client.open(f.unhex(offer), f.unhex(key));
        }""",
        [coordinator.frame.hex(), offer.key, DIM],
    )
    took: dict[str, float] = {}

    async def say(method: str, frame: bytes | None = None) -> None:
        took[method], made = await page.evaluate(_STEP, [method, frame and frame.hex()])
        coordinator.take(bytes.fromhex(made))

    crowd = [Client(coordinator.frame, public_key(key)) for _ in range(CLIENTS - 1)]
    await say("join")
    for one in crowd:
        coordinator.take(one.join())
    coordinator.advance()
    await say("shares", coordinator.roster())
    for one in crowd:
        coordinator.take(one.shares(coordinator.roster()))
    coordinator.advance()
    mine = next(n for n in range(CLIENTS) if n not in {one.position for one in crowd})
    await say("masked", coordinator.inbox(mine))
    for one in crowd:
        coordinator.take(one.masked(coordinator.inbox(one.position), np.zeros(DIM, np.uint32)))
    coordinator.advance()
    await say("unmask", coordinator.ask())
    return took


async def measure() -> list[dict[str, float]]:
    path = await asyncio.to_thread(find_browser)
    files = {"": _PAGE, MODULE: Asset(module(), "text/javascript")}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(path), args=list(ARGUMENTS))
        page = await browser.new_page()
        with serving(files) as url:
            await page.goto(url)
            session = await page.context.new_cdp_session(page)
            await session.send("Emulation.setCPUThrottlingRate", {"rate": THROTTLE})
            rounds = [await one_round(page) for _ in range(REPEATS)]
        await browser.close()
    return rounds


def main() -> dict[str, Any]:
    rounds = asyncio.run(measure())
    median = {step: round(float(np.median([one[step] for one in rounds])), 1) for step in rounds[0]}
    whole = round(float(np.median([sum(one.values()) for one in rounds])), 1)
    size = len(gzip.compress(module(), 9))
    return {
        "neighbours": NEIGHBOURS,
        "dim": DIM,
        "throttle": THROTTLE,
        "ms": {**median, "whole": whole},
        "gzipped_bytes": size,
        "passed": whole <= MILLISECONDS and size <= BYTES,
    }
