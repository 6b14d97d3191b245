"""The pictures of a campaign's making, from brief to GPO; called by ``tools/docs.py``."""

from __future__ import annotations

import csv
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from arauto.server import Running

PROMPT = {
    "pt-BR": "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos, por"
    " R$ 1.299,90.",
    "en": "Create a digital ad for a smartwatch focused on health, for people from 25 to 40 years, at R$ 1,299.90.",
}
SUPERLATIVE = {"pt-BR": "O melhor smartwatch do mundo", "en": "The best smartwatch in the world"}
LOOKS = (("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light"))
KIT_S, TURN_S = 400_000, 400_000
_WORTH = {"hoje": 0.3, "novo": 0.2, "simples": 0.0, "velho": -0.2, "comum": -0.35}
_THINGS = ("relógio", "tênis", "livro", "café", "bolsa", "lâmpada")

Open = Callable[[Browser, str, dict[str, int], str], Awaitable[Page]]
SignIn = Callable[[Page, Running], Awaitable[None]]


def write_feedback(home: Path) -> None:
    """A made-up table of tests for GPO: what a word is worth is known, so a model can be right about it."""
    draw = random.Random(5)  # noqa: S311
    folder = home / "feedback"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "simulated.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["test_id", "text", "impressions", "clicks", "context"])
        for test in range(160):
            thing, level = draw.choice(_THINGS), 0.03 * 2 ** draw.uniform(-0.4, 0.4)
            for _ in range(4):
                first, second = draw.sample(list(_WORTH), 2)
                rate = level * 2.7 ** (_WORTH[first] + _WORTH[second])
                clicks = sum(draw.random() < rate for _ in range(3000))
                table.writerow([f"t{test}", f"{first} {thing} {second}", 3000, clicks, thing])


async def draw_flows(browser: Browser, server: Running, home: Path, images: Path, open_: Open, sign_in: SignIn) -> None:
    """Go the way once in each language, and take every screen of it in light, dark and on a phone."""
    write_feedback(home)
    for language in PROMPT:
        page = await open_(browser, language, {"width": 1280, "height": 900}, "light")
        await sign_in(page, server)
        await page.goto(f"{server.url}/dashboard/new")
        await page.fill("#prompt", PROMPT[language])
        await _look(page, images, f"new-light.{language}")
        await page.locator("form[action$='/start'] button").click()
        await page.wait_for_url("**/brief")
        base = page.url.removesuffix("/brief")
        await page.fill("#link", "shop.example")
        await page.wait_for_selector("#link-said")
        await _looks(browser, page, images, "brief", language, open_)
        await page.fill("#link", "https://shop.example/watch")
        await page.wait_for_selector("#link:not([aria-invalid])")
        await page.select_option("#language", language)
        await page.locator("form[action$='/apply'] button").click()
        await page.wait_for_url("**/texts")
        await page.locator("form[action$='/kit'] button").click()
        await page.wait_for_selector("form[action$='/kit']", state="detached")
        await page.fill("#t-b-title", SUPERLATIVE[language])
        await page.wait_for_selector("#t-b-title-said")
        await page.wait_for_selector("form[action$='/kit']", timeout=KIT_S)
        await _looks(browser, page, images, "texts", language, open_)
        await page.locator("#t-b button[formaction$='/undo']").click()
        await page.goto(f"{base}/plan")
        await page.check("[name=ramp][value=steps]")
        await page.wait_for_selector("#steps")
        await _looks(browser, page, images, "plan", language, open_)
        await page.locator("form[action$='/apply'] button").click()
        await page.wait_for_url("**/launch")
        await page.locator("form[action$='/go'] button").click()
        await page.wait_for_url("**/launch?done=launched")
        await _looks(browser, page, images, "launch", language, open_)
        for name in ("gallery", "policy"):
            await page.goto(f"{base}/{name}")
            await _looks(browser, page, images, name, language, open_)
        await page.goto(f"{base}/gpo")
        await page.select_option("#data", "simulated.csv")
        await page.select_option("#iterations", "8")
        await page.locator("form[action$='/start'] button").click()
        await page.wait_for_selector("form[action$='/take']", timeout=TURN_S)
        await _looks(browser, page, images, "gpo", language, open_)
        await page.context.close()


async def _looks(browser: Browser, page: Page, images: Path, name: str, language: str, open_: Open) -> None:
    state: Any = await page.context.storage_state()
    for look, width, scheme in LOOKS:
        other = await open_(browser, language, {"width": width, "height": 900}, scheme)
        await other.context.add_cookies(state["cookies"])
        await other.goto(page.url.partition("?")[0])
        await _look(other, images, f"{name}-{look}.{language}")
        await other.context.close()


async def _look(page: Page, images: Path, name: str) -> None:
    await page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach((one) => one.loading = 'eager')")
    await page.wait_for_timeout(600)
    # A gallery of a whole kit is as long as a street: its beginning is enough.
    height = min(await page.evaluate("document.documentElement.scrollHeight"), 2600)
    clip: Any = {"x": 0, "y": 0, "width": page.viewport_size["width"] if page.viewport_size else 1280, "height": height}
    await page.screenshot(path=images / f"{name}.png", full_page=True, clip=clip, animations="disabled")
