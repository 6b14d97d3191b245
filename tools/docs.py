"""The pictures of the documentation: ``python tools/docs.py`` draws ``docs/images/`` anew from a server of its own.

The campaign is the README's, its texts are the slot writer's, its visitors are simulated; the pictures say so.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from arauto.core.settings import Settings
from arauto.loop import Remote, Simulation
from arauto.server import Running, running

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.browser import ARGUMENTS, find_browser
from tools.flows import draw_flows

IMAGES = Path(__file__).parents[1] / "docs" / "images"
BRIEF = (
    "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos. Forneça título,"
    " descrição curta e uma sugestão de imagem que destaque monitoramento de batimentos."
)
ROUNDS, VISITORS, PAUSE_S = 14, 220, 11.0
"""Rounds of visitors, and the pause between them: the share of the traffic is written down every ten seconds."""

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LANGUAGES = ("pt-BR", "en")


async def draw(server: Running, executable: Path) -> None:
    """Fill a campaign with visitors, then take every picture."""
    async with Remote(server.url, key="", token=server.token) as admin:
        draft = await admin.draft({"brief": {"prompt": BRIEF}, "plan": {"simulated": True, "seed": 5}})
        campaign = await admin.move(draft.id, "live")
        key = next(site.key for site in await admin.sites() if site.id == campaign.site_id)
    async with Remote(server.url, key=key) as remote:
        simulation = Simulation(remote, campaign.slug, seed=3)
        for place in range(ROUNDS):
            sys.stdout.write(f"\rSimulated visitors: {place * VISITORS} of {ROUNDS * VISITORS}")
            sys.stdout.flush()
            await simulation.run(VISITORS, first=place * VISITORS)
            await asyncio.sleep(PAUSE_S)
    sys.stdout.write("\n")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(executable), args=list(ARGUMENTS))
        for language in LANGUAGES:
            for name, viewport, scheme in (
                ("light", DESKTOP, "light"),
                ("dark", DESKTOP, "dark"),
                ("phone", PHONE, "light"),
            ):
                page = await _open(browser, language, viewport, scheme)
                await _sign_in(page, server)
                await page.goto(f"{server.url}/dashboard/campaigns/{campaign.id}")
                await _take(page, f"dashboard-{name}.{language}", full=True)
                if name == "light":
                    await page.set_viewport_size({"width": DESKTOP["width"], "height": 300})
                    await page.goto(f"{server.url}/dashboard")
                    await _take(page, f"campaigns.{language}")
                await page.context.close()
            for name, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
                page = await _open(browser, language, viewport, "light")
                await page.goto(f"{server.url}/demo")
                await page.wait_for_selector("[data-arauto-variant]")
                await page.wait_for_timeout(2500)
                await _take(page, f"demo-{name}.{language}")
                await page.context.close()
        await browser.close()


async def draw_making(server: Running, home: Path, executable: Path) -> None:
    """Make a campaign, from a sentence to a candidate, and take every screen on the way."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(executable), args=list(ARGUMENTS))
        (IMAGES / "making").mkdir(exist_ok=True)
        await draw_flows(browser, server, home, IMAGES / "making", _open, _sign_in)
        await browser.close()


async def _open(browser: Browser, language: str, viewport: dict[str, int], scheme: str) -> Page:
    context = await browser.new_context(
        locale=language,
        viewport={"width": viewport["width"], "height": viewport["height"]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    return await context.new_page()


async def _sign_in(page: Page, server: Running) -> None:
    await page.goto(f"{server.url}/login")
    await page.fill("#token", server.token)
    await page.press("#token", "Enter")
    await page.wait_for_url("**/dashboard")


async def _take(page: Page, name: str, *, full: bool = False) -> None:
    path = IMAGES / f"{name}.png"
    await page.screenshot(path=path, full_page=full, animations="disabled")
    sys.stdout.write(f"{path.relative_to(IMAGES.parents[1])}\n")


def main() -> None:
    """Start a server in a folder that goes away again, and draw."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    executable = find_browser()
    with (
        tempfile.TemporaryDirectory(prefix="arauto-docs-") as home,
        running(Settings(home=Path(home), port=0, rate_limit=0, text_engine="slot")) as server,
    ):
        asyncio.run(draw(server, executable))
    # The making of a campaign begins with an empty database.
    with (
        tempfile.TemporaryDirectory(prefix="arauto-docs-") as home,
        running(Settings(home=Path(home), port=0, rate_limit=0, text_engine="slot")) as server,
    ):
        asyncio.run(draw_making(server, Path(home), executable))


if __name__ == "__main__":
    main()
