"""Every screen in a real browser: no serious violation that axe-core finds, nothing wider than the window; flows."""

import asyncio
import re
from importlib import resources

import msgspec
import pytest

from arauto.core.errors import EngineError, InputError
from arauto.dashboard import render_report_html, write_pdf
from arauto.dashboard.access import table
from arauto.loop import Report
from tests.browser.conftest import until
from tests.browser.test_dashboard import TOO_WIDE, desk, session  # noqa: F401
from tools.browser import find_browser

pytestmark = pytest.mark.browser

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = """axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations
  .filter(({impact}) => impact === 'serious' || impact === 'critical')
  .map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 200)}`))"""


def screens(campaign):
    return [
        re.sub(r"\{\w+:int\}", str(campaign), path)
        for (path, method), entry in table().items()
        if entry.kind == "page" and method == "GET"
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("locale", "looks"), [("en-US", [("light", 1280)]), ("pt-BR", [("dark", 1280), ("light", 360)])]
)
async def test_no_screen_has_a_serious_violation(shop, desk, locale, looks):  # noqa: F811
    await shop.visits(12, clicks=4, load=300)
    view = desk(locale=locale)
    async with view as page:
        for path in screens(shop.campaign):
            answer = await page.goto(shop.url + path)
            assert answer.status == 200, path
            assert await page.get_attribute("html", "lang") == ("en" if locale == "en-US" else "pt-BR")
            await page.evaluate(AXE)
            for scheme, width in looks:
                await page.emulate_media(color_scheme=scheme)
                await page.set_viewport_size({"width": width, "height": 800})
                assert await page.evaluate(SERIOUS) == [], (path, scheme, width)
                assert await page.evaluate(TOO_WIDE) == [], (path, scheme, width)
        await page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x.png>')")
        assert "image-alt" in str(await page.evaluate(SERIOUS)), "axe does look"
        view.problems.clear()


async def test_someone_is_invited_and_holds_a_release_and_is_in_the_log(shop, desk, visit):  # noqa: F811
    """The administrator invites an approver, who chooses a password, releases, holds, rolls back; all by keyboard and
    eye, with words only."""
    await shop.ask(
        "POST",
        f"/v1/campaigns/{shop.campaign}/variants",
        copies=[{"title": "Título c", "description": "Descrição c", "image_suggestion": "Um relógio"}],
    )
    report = await shop.report()
    spare = next(one for one in report["variants"] if one["name"] == "c")
    await shop.ask("POST", f"/v1/variants/{spare['id']}/state", state="retired")
    name = f"ana.{shop.campaign}@loja.example"
    async with desk() as admin:
        await admin.get_by_role("link", name="Users").click()
        await admin.get_by_label("Name or mail address").fill(name)
        await admin.locator("#role").select_option("approver")
        await admin.get_by_role("button", name="Make the invitation").click()
        # Whole, as it is sent: the page adds the server's address.
        whole = "document.querySelector('code.whole').textContent.startsWith('http')"
        await until(lambda: admin.evaluate(whole))
        link = await admin.locator("code.whole").inner_text()
    async with visit(link, locale="pt-BR") as page:
        await page.get_by_label("Nova senha", exact=True).fill("quatro palavras bem comuns")
        await page.get_by_label("Repita a nova senha").fill("quatro palavras bem comuns")
        await page.get_by_role("button", name="Entrar").click()
        await page.wait_for_url("**/dashboard")
        assert not await page.get_by_role("link", name="Usuários").is_visible()
        await page.goto(f"{shop.url}/dashboard/campaigns/{shop.campaign}/rollout")
        await page.get_by_label(re.compile("Título c")).check()
        await page.get_by_role("button", name="Iniciar liberação").click()
        assert "A liberação começou" in await page.get_by_role("status").last.inner_text()
        await page.get_by_role("button", name="Parar aqui").click()
        await page.get_by_role("button", name="Continuar").click()
        await page.get_by_text("Reverter…").click()
        await page.get_by_role("button", name="Reverter agora").click()
        await page.get_by_text("revertida", exact=True).first.wait_for()
        await page.get_by_role("link", name="Auditoria").click()
        told = await page.locator("table.log").inner_text()
        assert name in told
        assert "liberação revertida" in told


async def test_the_menu_folds_away_on_a_phone_and_themes_stay(shop, desk):  # noqa: F811
    async with desk(viewport={"width": 390, "height": 800}) as page:
        link = page.get_by_role("link", name="Archive")
        assert not await link.is_visible()
        menu = page.get_by_role("button", name="Menu")
        await menu.press("Enter")
        assert await menu.get_attribute("aria-expanded") == "true"
        await link.click()
        await page.get_by_role("heading", name="Archive").wait_for()
        ground = "getComputedStyle(document.body).backgroundColor"
        light = await page.evaluate(ground)
        await page.get_by_role("link", name="Dark").click()
        assert await page.evaluate(ground) != light
        await page.goto(f"{shop.url}/dashboard")
        assert await page.evaluate(ground) != light


async def test_changes_are_pushed_and_a_half_filled_form_stays(shop, desk):  # noqa: F811
    """One request for the stream, none after; what was typed is not lost when the numbers change."""
    async with desk() as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "/experiment/live?" in request.url else None)
        await page.goto(f"{shop.url}/dashboard/campaigns/{shop.campaign}/experiment")
        await shop.visits(8, clicks=2)
        await until(lambda: page.evaluate("document.querySelectorAll('table.cards tbody tr').length === 2"))
        await page.locator("#control").select_option("b")
        await shop.visits(8, clicks=2)
        rows = "[...document.querySelectorAll('table.cards tbody tr')]"
        seen = f"{rows}.reduce((sum, row) => sum + +row.cells[1].innerText, 0)"
        await until(lambda: page.evaluate(f"{seen} === 16"), seconds=40)
        assert await page.locator("#control").input_value() == "b"
        assert len(asked) == 1


async def test_a_report_is_printed_to_a_pdf(shop, tmp_path, monkeypatch):
    await shop.visits(6, clicks=2)
    report = msgspec.convert(await shop.report(), Report)
    monkeypatch.setenv("CHROMIUM_PATH", str(await asyncio.to_thread(find_browser)))
    for language in ("pt-BR", "en"):
        path = tmp_path / f"{language}.pdf"
        await asyncio.to_thread(write_pdf, render_report_html(report, language), path)
        printed = path.read_bytes()
        assert printed.startswith(b"%PDF-")
        assert len(printed) > 10_000
    monkeypatch.setenv("CHROMIUM_PATH", "/nowhere/chromium")
    with pytest.raises(InputError, match="none was found"):
        write_pdf("", tmp_path / "x.pdf")
    monkeypatch.setenv("CHROMIUM_PATH", "/bin/false")
    with pytest.raises(EngineError, match="did not print"):
        write_pdf("", tmp_path / "x.pdf")
