"""The edge modules in Chromium: parity, times with and without throttling, page-load cost, canaries."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Any

import numpy as np
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from arauto.edge import Asset, Example, example, serving, shipped
from tools.browser import ARGUMENTS, find_browser

CANARIES = 10_000
LOADS = 30
# Chrome DevTools' preset: 9 Mbit/s down, 1.5 up, each less a tenth; 60 ms, times 2.75
FAST_4G = {"offline": False, "downloadThroughput": 9e6 / 8 * 0.9, "uploadThroughput": 1.5e6 / 8 * 0.9, "latency": 165}
EDGE = "const edge = await import('/arauto-edge.js');"
SCRIPT = b'<script type="module" src="arauto-edge.js"'


async def agreement(texts: list[Example]) -> dict[str, Any]:
    """What needs no calm: the same integers, and silence."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(find_browser()), args=list(ARGUMENTS))
        with serving(_page()) as url:
            found: dict[str, Any] = {
                "browser": f"Chromium {browser.version}",
                "parity": await _parity(browser, url, [one.text for one in texts][:10_000]),
                "canaries": await _canaries(browser, url),
            }
        await browser.close()
    found["promises"] = {
        "JavaScript = Python on 10,000 texts": found["parity"]["different"] == 0,
        "no canary left": found["canaries"]["left"] == 0,
    }
    return found


async def times(texts: list[Example]) -> dict[str, Any]:
    """What needs a calm machine."""
    some = [one.text for one in texts]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(find_browser()), args=list(ARGUMENTS))
        with serving(_page()) as url, serving(_page(sdk=False)) as bare:
            found: dict[str, Any] = {
                "browser": f"Chromium {browser.version}",
                "prediction_ms": {rate: await _times(browser, url, int(rate), some[::7]) for rate in ("1", "4")},
                "first_result_ms_fast_4g_4x": await _first(browser, url),
                "typed_to_changed_ms_4x": await _typed(browser, url),
                "page_load": {"with": await _loads(browser, url), "without": await _loads(browser, bare)},
            }
        await browser.close()
    cost = found["page_load"]
    spread = cost["without"]["lcp_spread"] + cost["with"]["lcp_spread"]
    found["promises"] = {
        "p99 ≤ 1 ms a prediction": found["prediction_ms"]["1"]["p99"] <= 1,
        "p99 ≤ 5 ms a prediction at 4×": found["prediction_ms"]["4"]["p99"] <= 5,
        "first result ≤ 1 s on Fast-4G at 4×": found["first_result_ms_fast_4g_4x"]["p50"] <= 1000,
        "typed → changed p99 ≤ 50 ms at 4×": found["typed_to_changed_ms_4x"]["p99"] <= 50,
        "LCP within noise": abs(cost["with"]["lcp_p50"] - cost["without"]["lcp_p50"]) <= spread,
        "INP within noise": abs(cost["with"]["inp_p50"] - cost["without"]["inp_p50"]) <= 8,
    }
    return found


def _page(*, sdk: bool = True) -> dict[str, Asset]:
    files = dict(example())
    body = files[""].body.replace(SCRIPT, SCRIPT + b' data-consent="granted"')
    if not sdk:
        lines = body.splitlines(keepends=True)
        body = b"".join(line for line in lines if b"<script" not in line and b"modulepreload" not in line)
    files[""] = Asset(body, files[""].kind)
    return files


async def _open(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(url)
    if not await page.evaluate(f"async () => {{ {EDGE} return edge.ready }}"):
        raise SystemExit("the model did not load in the browser")
    return page


async def _throttle(page: Page, rate: int, *, network: bool = False) -> None:
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": rate})
    if network:
        await session.send("Network.enable")
        await session.send("Network.emulateNetworkConditions", FAST_4G)


def _quantiles(took: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(took, q)), 3) for q in (50, 95, 99)} | {"n": len(took)}


async def _parity(browser: Browser, url: str, texts: list[str]) -> dict[str, int]:
    context = await browser.new_context()
    page = await _open(context, url)
    different = 0
    for at in range(0, len(texts), 500):
        some = texts[at : at + 500]
        said = await page.evaluate(
            f"async (texts) => {{ {EDGE} const out = []; "
            "for (const text of texts) out.push(await edge.predict(text, 60000)); return out }",
            some,
        )
        for text, answer in zip(some, said, strict=True):
            own = shipped().predict(text)
            different += [*own.logits, *own.shares] != [*answer["logits"], *answer["shares"]]
    await context.close()
    return {"texts": len(texts), "different": different}


async def _times(browser: Browser, url: str, rate: int, texts: list[str]) -> dict[str, float]:
    """On the page's own thread, which is the one that the throttle slows. Timers there step by 0.1 ms."""
    context = await browser.new_context()
    page = await _open(context, url)
    await _throttle(page, rate)
    took = await page.evaluate(
        """async (texts) => {
          const core = await import('/arauto-edge-core.js');
          const name = performance.getEntriesByType('resource').map((e) => e.name).find((n) => n.endsWith('.bin'));
          const model = core.open(await (await fetch(name)).arrayBuffer());
          for (const text of texts.slice(0, 100)) model.predict(text);
          return texts.map((text) => {
            const t = performance.now();
            model.predict(text);
            return performance.now() - t;
          });
        }""",
        texts,
    )
    await context.close()
    return _quantiles(took)


async def _first(browser: Browser, url: str, runs: int = 9) -> dict[str, float]:
    """From navigation until the greeting has changed for a text that is in the field already, nothing cached."""
    took = []
    for _ in range(runs):
        context = await browser.new_context()
        page = await context.new_page()
        await _throttle(page, 4, network=True)
        await page.add_init_script(
            "window.first = 0; document.addEventListener('DOMContentLoaded',"
            "  () => document.getElementById('message').value = 'odiei, horrível');"
            "document.addEventListener('arauto-mood', () => window.first ||= performance.now())"
        )
        await page.goto(url, wait_until="commit")
        look = "const look = () => window.first ? done(window.first) : setTimeout(look, 5); look()"
        took.append(await page.evaluate(f"new Promise((done) => {{ {look} }})"))
        await context.close()
    return _quantiles(took)


async def _typed(browser: Browser, url: str) -> dict[str, float]:
    context = await browser.new_context()
    page = await _open(context, url)
    await _throttle(page, 4)
    took = await page.evaluate(
        """async () => {
          const field = document.getElementById('message'), took = [];
          for (let i = 0; i < 300; i++) {
            const changed = new Promise((done) => new MutationObserver((_, eye) => (eye.disconnect(), done()))
              .observe(document.querySelector('h1'), {childList: true}));
            const t = performance.now();
            field.value = i % 2 ? 'Amei, chegou antes do prazo!' : 'Chegou quebrado, quero meu dinheiro de volta';
            field.dispatchEvent(new Event('input'));
            await changed;
            took.push(performance.now() - t);
            await new Promise((done) => setTimeout(done, 20));
          }
          return took }"""
    )
    await context.close()
    return _quantiles(took)


async def _loads(browser: Browser, url: str) -> dict[str, float]:
    """Largest contentful paint, and the longest of three interactions, over fresh loads."""
    paints, waits = [], []
    for _ in range(LOADS):
        context = await browser.new_context()
        page = await context.new_page()
        await page.add_init_script(
            "window.seen = {lcp: 0, inp: 0};"
            "new PerformanceObserver((l) => l.getEntries().forEach((e) => seen.lcp = e.startTime))"
            ".observe({type: 'largest-contentful-paint', buffered: true});"
            "new PerformanceObserver((l) => l.getEntries().forEach((e) => seen.inp = Math.max(seen.inp, e.duration)))"
            ".observe({type: 'event', durationThreshold: 16, buffered: true})"
        )
        await page.goto(url)
        await page.wait_for_timeout(400)
        await page.click("#message")
        await page.keyboard.type("bom")
        await page.wait_for_timeout(200)
        seen = await page.evaluate("window.seen")
        paints.append(seen["lcp"])
        waits.append(seen["inp"])
        await context.close()
    spread = float(np.percentile(paints, 75) - np.percentile(paints, 25))
    return {
        "lcp_p50": round(float(np.median(paints)), 1),
        "lcp_spread": round(spread, 1),
        "inp_p50": float(np.median(waits)),
        "inp_p95": float(np.percentile(waits, 95)),
        "loads": LOADS,
    }


async def _canaries(browser: Browser, url: str) -> dict[str, int]:
    """Type canaries into the page and look for each, its hash and its eight-letter pieces in whatever came out."""
    rng = random.Random(4)
    words = ["".join(rng.choices("bcdfghjklmnpqrstvwxz", k=14)) for _ in range(CANARIES)]
    context = await browser.new_context()
    page = await _open(context, url)
    out: list[str] = []
    context.on("request", lambda request: out.append(f"{request.url} {request.headers} {request.post_data or ''}"))
    page.on("console", lambda message: out.append(message.text))
    page.on("pageerror", lambda error: out.append(str(error)))
    page.on("websocket", lambda socket: out.append(socket.url))
    for at in range(0, CANARIES, 100):
        await page.evaluate(
            f"""async (words) => {{ {EDGE} const field = document.getElementById('message');
            for (const word of words) {{
              field.value = word + ' odiei'; field.dispatchEvent(new Event('input', {{bubbles: true}}));
              await edge.predict(word); edge.browsed([1, 0, 0]); edge.rank([{{vector: [1, 0, 0]}}, {{}}]);
            }} }}""",
            words[at : at + 100],
        )
    out.append(
        await page.evaluate(
            """async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href,
            await caches.keys(), await indexedDB.databases(), performance.getEntries().map((e) => e.name)])"""
        )
    )
    said = "\n".join(out)
    await context.close()
    left = sum(
        any(
            trace in said
            for trace in ({word[at : at + 8] for at in range(7)} | {sha256(word.encode()).hexdigest()[:12]})
        )
        for word in words
    )
    return {
        "typed": CANARIES,
        "left": left,
        "requests_while_typing": len([line for line in out if line.startswith("http")]),
    }
