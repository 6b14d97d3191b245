"""The edge modules in Firefox: the same integers, silence, times, and a page that no fault breaks."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from arauto.edge import Asset, example, file_name, serving, shipped
from tools.firefox import Firefox, firefox

EDGE = "import('/arauto-edge.js')"
DEFAULT = "Bem-vindo"
GREETING = "document.querySelector('h1').innerText.trim()"
_TYPE = """(async (text, ms) => {
  const field = document.getElementById('message');
  field.value = text;
  field.dispatchEvent(new Event('input', {bubbles: true}));
  const h1 = document.querySelector('h1'), before = h1.innerText, until = performance.now() + ms;
  while (h1.innerText === before && performance.now() < until) await new Promise((done) => setTimeout(done, 20));
  return h1.innerText.trim();
})"""
Files = dict[str, Asset]


async def in_firefox(texts: list[str]) -> dict[str, Any]:
    """All that is measured there."""
    async with firefox() as browser:
        with serving(_page()) as url:
            found = {"browser": f"Firefox {browser.version}", **await _works(browser, url, texts)}
        found["faults"] = {name: await _fault(browser, change) for name, change in _FAULTS.items()}
        found["faults"]["offline"] = await _offline(browser)
        found["faults"]["modules blocked"] = await _blocked(browser)
    async with firefox({"dom.storage.enabled": False}) as browser:
        with serving(_page()) as url:
            await browser.goto(url)
            await browser.evaluate(f"{EDGE}.then((edge) => edge.ready)")
            said = json.loads(await browser.evaluate(f"{_TYPE}('odiei, horrível', 5000)"))
            found["faults"]["storage denied"] = "works" if said.startswith("Sentimos") else said
    return found


def _page() -> Files:
    files = dict(example())
    body = files[""].body.replace(b'src="arauto-edge.js"', b'src="arauto-edge.js" data-consent="granted"')
    files[""] = Asset(body, files[""].kind)
    return files


async def _works(browser: Firefox, url: str, texts: list[str]) -> dict[str, Any]:
    await browser.goto(url)
    ready = json.loads(await browser.evaluate(f"{EDGE}.then((edge) => edge.ready)"))
    before = len(browser.requests)
    greeting = json.loads(await browser.evaluate(f"{_TYPE}('Chegou quebrado, quero meu dinheiro de volta', 5000)"))
    different = 0
    for at in range(0, len(texts), 500):
        some = texts[at : at + 500]
        said = json.loads(
            await browser.evaluate(
                f"{EDGE}.then(async (edge) => {{ const out = [];"
                f" for (const text of {json.dumps(some)}) out.push(await edge.predict(text, 60000)); return out }})"
            )
        )
        for text, answer in zip(some, said, strict=True):
            own = shipped().predict(text)
            different += [*own.logits, *own.shares] != [*answer["logits"], *answer["shares"]]
    took = json.loads(
        await browser.evaluate(
            f"""(async (texts) => {{
              const core = await import('/arauto-edge-core.js');
              const model = core.open(await (await fetch('/{file_name(shipped())}')).arrayBuffer());
              for (const text of texts.slice(0, 200)) model.predict(text);
              const began = performance.now();
              for (const text of texts) model.predict(text);
              return (performance.now() - began) / texts.length;
            }})({json.dumps(texts[::7])})"""
        )
    )
    return {
        "ready": ready,
        "welcome_changed": not greeting.startswith(DEFAULT),
        "parity": {"texts": len(texts), "different": different},
        "mean_prediction_ms": round(float(np.round(took, 4)), 4),
        "requests_while_typing": len([asked for asked in browser.requests[before:] if not asked.endswith(".bin")]),
    }


def _without(ending: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        for name in [name for name in files if name.endswith(ending)]:
            del files[name]

    return change


def _corrupted(files: Files) -> None:
    name = file_name(shipped())
    files[name] = Asset(files[name].body[:-1] + b"\0", files[name].kind)


def _old(files: Files) -> None:
    """A whole file under its right hash, with a manifest of another format."""
    raw = shipped().to_bytes().replace(b'"format":1', b'"format":0', 1)
    name = file_name(shipped())
    new = f"sentiment.{hashlib.sha256(raw).hexdigest()}.bin"
    files[new] = Asset(raw, files.pop(name).kind)
    files[""] = Asset(files[""].body.replace(name.encode(), new.encode()), files[""].kind)


_FAULTS: dict[str, Callable[[Files], None]] = {
    "corrupted model": _corrupted,
    "old manifest": _old,
    "no model": _without(".bin"),
    "no core module": _without("core.js"),
}


async def _fault(browser: Firefox, change: Callable[[Files], None]) -> str:
    files = _page()
    change(files)
    with serving(files) as url:
        await browser.goto(url)
        return _verdict(json.loads(await browser.evaluate(f"{_TYPE}('odiei, horrível', 700)")))


async def _offline(browser: Firefox) -> str:
    """The page is there, and the network goes before the model is asked for."""
    handle = await browser.preload("() => { window.fetch = () => Promise.reject(new TypeError('NetworkError')) }")
    with serving(_page()) as url:
        await browser.goto(url)
        said = json.loads(await browser.evaluate(f"{_TYPE}('odiei, horrível', 700)"))
    await browser.send("script.removePreloadScript", script=handle)
    return _verdict(said)


async def _blocked(browser: Firefox) -> str:
    """By the page's own content security policy."""
    with serving(_page(), policy="script-src 'none'") as url:
        await browser.goto(url)
        return _verdict(json.loads(await browser.evaluate(GREETING)))


def _verdict(said: str) -> str:
    return "default message" if said.startswith(DEFAULT) else f"shows: {said}"


def main() -> dict[str, Any]:
    """Firefox alone."""
    from bench.edge import texts

    return asyncio.run(in_firefox([one.text for one in texts()][:10_000]))
