"""The pictures of the documentation: ``python tools/docs.py`` draws ``docs/images/`` anew from a server of its own.

The campaign is the README's, its texts are the slot writer's, its visitors are simulated; the pictures say so.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
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
SCREENS = (
    "campaigns/{watch}/experiment",
    "campaigns/{watch}/bandit",
    "campaigns/{watch}/funnel",
    "campaigns/{test}/rollout",
    "campaigns/{watch}/gallery",
    "campaigns/{watch}/policy",
    "new",
    "archive",
    "audit",
    "users",
    "privacy",
    "edge",
    "federated",
)
"""The other screens: each once as a picture, and all of them on one sheet as they look dark, and on a phone."""
SHEET = {"dark": (4, 400), "phone": (7, 230)}
"""Columns of such a sheet, and the width of each picture on it."""
COLOURS = 256


async def draw(server: Running, executable: Path) -> None:
    """Fill a campaign with visitors, then take every picture."""
    async with Remote(server.url, key="", token=server.token) as admin:
        draft = await admin.draft({"brief": {"prompt": BRIEF}, "plan": {"simulated": True, "seed": 5, "cpm": 18.5}})
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
    names = {"watch": campaign.id, "test": await _release(server)}
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
                    await _take(page, f"campaigns.{language}", full=True)
                if (language, name) in (("en", "light"), ("pt-BR", "dark"), ("pt-BR", "phone")):
                    await _take_screens(page, server, names, name)
                await page.context.close()
            for name, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
                page = await _open(browser, language, viewport, "light")
                await page.goto(f"{server.url}/demo")
                await page.wait_for_selector("[data-arauto-variant]")
                await page.wait_for_timeout(2500)
                await _take(page, f"demo-{name}.{language}")
                await page.context.close()
        await browser.close()


async def _release(server: Running) -> int:
    """A second campaign, with fixed shares, in the midst of a release. Its number."""
    async with httpx.AsyncClient(
        base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=60
    ) as admin:

        async def ask(path: str, **body: Any) -> Any:
            answer = await admin.post(path, json=body)
            answer.raise_for_status()
            return answer.json()

        plan = {"simulated": True, "seed": 7, "allocation": "uniform", "cpm": 22.0}
        made = await ask("/v1/campaigns", brief={"prompt": BRIEF}, slug="headline", name="Headline test", plan=plan)
        await ask(f"/v1/campaigns/{made['id']}/state", state="live")
        key = (await admin.get("/v1/sites")).json()[0]["key"]
        copy = {"title": "Seu coração no pulso", "description": "Batimentos, dia e noite.", "image_suggestion": "Pulso"}
        await ask(f"/v1/campaigns/{made['id']}/releases", copies=[copy], steps=[0.1, 0.25, 0.5, 1.0])
    async with Remote(server.url, key=key) as remote:
        await Simulation(remote, "headline", seed=4).run(4 * VISITORS)
    return int(made["id"])


async def _take_screens(page: Page, server: Running, names: dict[str, int], look: str) -> None:
    """Each screen as a picture of its own, or (``dark``, ``phone``) all on a sheet."""
    taken = []
    for path in SCREENS:
        await page.goto(f"{server.url}/dashboard/{path.format(**names)}")
        await page.wait_for_timeout(300)
        name = f"screen-{path.rpartition('/')[2]}.en"
        if look == "light":
            await _take(page, name, full=True)
        else:
            taken.append(await page.screenshot(full_page=look == "dark", animations="disabled"))
    if taken:
        _sheet(taken, IMAGES / f"screens-{look}.pt-BR.png", *SHEET[look])


def _sheet(pictures: list[bytes], path: Path, columns: int, width: int) -> None:
    """Pictures side by side, each at ``width`` and cut below a page and a half."""
    images = [Image.open(io.BytesIO(one)).convert("RGB") for one in pictures]
    images = [one.resize((width, round(one.height * width / one.width)), Image.Resampling.LANCZOS) for one in images]
    most = round(width * 1.15) if columns == SHEET["dark"][0] else 10**6
    rows = [images[first : first + columns] for first in range(0, len(images), columns)]
    heights = [min(max(one.height for one in row), most) for row in rows]
    sheet = Image.new("RGB", (columns * (width + 12) + 12, sum(heights) + 12 * len(rows) + 12), "#8a908d")
    for line, row in enumerate(rows):
        top = 12 + sum(heights[:line]) + 12 * line
        for place, one in enumerate(row):
            at = (12 + place * (width + 12), top)
            sheet.paste(one.crop((0, 0, width, min(one.height, heights[line]))), at)
    _save(sheet, path)


def _save(image: Image.Image, path: Path) -> None:
    """As PNG of few colours, which is a third as large and looks the same."""
    image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(IMAGES.parents[1])}\n")


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
    taken = await page.screenshot(full_page=full, animations="disabled")
    _save(Image.open(io.BytesIO(taken)), IMAGES / f"{name}.png")


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
