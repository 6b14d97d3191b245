"""From an empty database to a released candidate, as a person does it, in both languages; buttons by keyboard."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from arauto.core.i18n import catalogue
from arauto.core.settings import Secret, Settings
from arauto.loop import NewTurn, Turn
from arauto.loop.turns import Sample
from arauto.server import running

pytestmark = pytest.mark.browser

PROMPT = {
    "pt-BR": "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos.",
    "en": "Create a digital ad for a smartwatch focused on health, for people from 25 to 40 years.",
}
WRITTEN = {
    "pt-BR": (
        "O smartwatch que acompanha você",
        "Um smartwatch para a sua rotina.",
        "Pessoa num parque com relógio no pulso",
    ),
    "en": (
        "The smartwatch that keeps up",
        "A smartwatch for your day.",
        "A person in a park with a watch on the wrist",
    ),
}
EDITED = {"pt-BR": "Seu smartwatch, todo dia", "en": "Your smartwatch, every day"}
BAD = {"pt-BR": "O melhor smartwatch do mundo", "en": "The best smartwatch in the world"}
CANDIDATE = {"pt-BR": "Viva o dia com o smartwatch.", "en": "Walk your day with the smartwatch."}
AFTER = {"pt-BR": "Smartwatch no seu ritmo", "en": "A smartwatch at your pace"}


class Writer:
    """A scripted writer behind the seam of OpenAI-compatible endpoints: it always says the same text."""

    def __init__(self, language):
        title, description, image = WRITTEN[language]
        text = json.dumps({"title": title, "description": description, "image_suggestion": image})
        body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def empty(postgres, template, tmp_path, language):
    """A server on an empty database, whose text engine is scripted."""
    name = f"flow_{language[:2].lower()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    with Writer(language) as writer:
        settings = Settings(
            home=tmp_path / "home", database_url=Secret(make_conninfo(postgres, dbname=name)), port=0, rate_limit=0,
            audience=False, text_engine="openai", openai_url=writer.url, openai_model="script",
        )  # fmt: skip
        with running(settings) as server:
            yield server, settings


@pytest.mark.parametrize("language", ["pt-BR", "en"])
async def test_from_nothing_to_a_released_candidate(empty, visit, language):
    server, settings = empty
    words = {key.removeprefix("dashboard."): text for key, text in catalogue(language).items()}

    def press(page, key):
        return page.get_by_role("button", name=words[key], exact=True).first.press("Enter")

    async with visit("", locale=language) as page:
        await page.goto(f"{server.url}/login")
        await page.fill("#token", server.token)
        await page.press("#token", "Enter")
        await page.wait_for_url("**/dashboard")
        # Nothing is here; the page says how to begin.
        await page.get_by_role("link", name=words["nav_new"]).last.press("Enter")
        await page.fill("#prompt", PROMPT[language])
        await page.reload()
        assert await page.input_value("#prompt") == PROMPT[language]
        await press(page, "new_start")
        await page.wait_for_url("**/brief")
        assert await page.input_value("#age_low") == "25"

        # A fault is told beside its field while one types, and nothing is lost by a reload.
        await page.fill("#link", "shop.example")
        await page.wait_for_selector("#link[aria-invalid=true]")
        assert words["f_link_bad"] in await page.inner_text("#link-said")
        await page.reload()
        assert await page.input_value("#link") == "shop.example"
        await page.fill("#link", "https://shop.example/watch")
        await page.wait_for_selector("#link:not([aria-invalid])")
        await page.select_option("#language", language)
        await press(page, "brief_apply")
        await page.wait_for_url("**/texts")

        # The engine's text comes in while one looks; the second ask of one text for ever the same ends by itself.
        await page.select_option("#amount", "2")
        await press(page, "write_more")
        await page.wait_for_selector("#t-e")
        assert await page.input_value("#t-e-title") == WRITTEN[language][0]
        await page.fill("#t-a-title", BAD[language])
        await page.wait_for_selector("#t-a-title[aria-invalid=true]")
        await page.fill("#t-a-title", EDITED[language])
        await page.wait_for_selector("#t-a-title:not([aria-invalid])")
        await page.press("#t-a-title", "Enter")
        await page.wait_for_url("**/texts?done=saved")
        for name in "bcd":
            await page.get_by_role("button", name=f"{words['text_leave']}: {name}").click()
            await page.get_by_role("button", name=f"{words['text_take']}: {name}").wait_for()
        await page.get_by_role("link", name=words["texts_go_on"]).click()
        await page.wait_for_url("**/plan")
        await press(page, "plan_apply")
        await page.wait_for_url("**/launch")
        await press(page, "go_live")
        await page.wait_for_url("**/launch?done=launched")

        # Pasted into a page, it is seen to work without asking.
        snippet = await page.inner_text("#snippet")
        assert f'src="{server.url}/arauto.js"' in snippet
        slug = snippet.split('data-arauto="')[1].split('"')[0]
        shop = await page.context.new_page()
        await shop.goto(f"{server.url}/demo?campaign={slug}")
        await shop.wait_for_selector("[data-arauto-variant]")
        await page.wait_for_selector(".works")
        assert words["works"] in await page.inner_text(".works")
        await shop.close()

        # A turn of GPO (made beforehand: the tests of its room run one) is compared, and a text of it released.
        number = page.url.split("/campaigns/")[1].split("/")[0]
        folder = settings.home / "gpo" / number / "1"
        folder.mkdir(parents=True)
        sample = Sample(
            context="smartwatch", before="a b c", after=AFTER[language], worth_before=-3.5, worth_after=-3.2
        )
        turn = Turn(run="1", asked=NewTurn(), stage="done", samples=[sample])
        (folder / "turn.json").write_bytes(msgspec.json.encode(turn))
        await page.goto(f"{server.url}/dashboard/campaigns/{number}/gpo")
        await page.get_by_role("button", name=words["gpo_take"]).click()
        await page.wait_for_selector("#t-candidate-title")
        assert await page.input_value("#t-candidate-title") == AFTER[language]
        await page.fill("#t-candidate-description", CANDIDATE[language])
        await press(page, "gpo_stage")
        await page.wait_for_url("**/gpo?done=staged")
        await page.get_by_role("link", name=words["gpo_release"]).click()
        await page.wait_for_url("**/rollout")
        await page.get_by_role("checkbox", name=AFTER[language]).check()
        await press(page, "start_release")
        await page.wait_for_selector("form[action$='/rollback']", state="attached")
        await page.locator("details:has(form[action$='/rollback']) > summary").press("Enter")
        await press(page, "roll_back_now")
        await page.wait_for_selector("form[action$='/rollback']", state="detached")
