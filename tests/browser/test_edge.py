"""The edge modules in a real Chromium: the same integers as Python, consent, silence, never a broken page."""

import asyncio
import base64
import gzip
import hashlib
import random
import re
from contextlib import contextmanager
from importlib import resources

import msgspec
import pytest

from arauto.edge import MODULES, PEERS, Asset, EdgeModel, assets, example, file_name, generate, serving, shipped
from arauto.edge.recipe import Golden, judge
from tests.browser.conftest import until
from tools.typescript import NoCompilerError, check_types

pytestmark = pytest.mark.browser

STATIC = resources.files("arauto.edge").joinpath("static")
BAD = "Chegou quebrado, quero meu dinheiro de volta"
GOOD = "Amei, chegou antes do prazo!"
SORRY = "Sentimos muito"
DEFAULT = "Bem-vindo"
EDGE = "const edge = await import('/arauto-edge.js');"


def page(attributes='data-consent="granted"', head="", model=None):
    """The example's files, with the script tag as told."""
    files = dict(example(model))
    body = files[""].body.decode().replace('src="arauto-edge.js"', f'src="arauto-edge.js" {attributes}')
    files[""] = Asset(body.replace("<script", head + "<script", 1).encode(), files[""].kind)
    return files


@contextmanager
def site(attributes='data-consent="granted"', change=None, **more):
    files = page(attributes, **more)
    if change:
        change(files)
    with serving(files) as url:
        yield url


async def ready(tab):
    return await tab.evaluate(f"async () => {{ {EDGE} return edge.ready }}")


async def greeting(tab):
    return await tab.inner_text("h1")


async def test_typing_changes_the_welcome_and_no_request_is_made(visit):
    with site() as url:
        async with visit(url) as tab:
            assert await ready(tab)
            asked = []
            tab.context.on("request", lambda request: asked.append(request.url))
            for text, words in ((BAD, SORRY), (GOOD, "Que bom"), (BAD, SORRY)):
                await tab.fill("#message", text)
                await until(lambda words=words: starts(tab, words))
            await tab.click("#forget")
            assert await greeting(tab) == "Bem-vindo à Loja do Bairro"
            assert asked == []
            assert await tab.inner_text("#requests") == "0"


async def starts(tab, words):
    return (await greeting(tab)).startswith(words)


async def test_the_golden_vectors_hold_in_the_browser(visit):
    vectors = msgspec.json.decode(
        resources.files("arauto.edge").joinpath("data/sentiment.golden.json").read_bytes(), type=list[Golden]
    )
    rng = random.Random(6)
    ranges = ((32, 0x250), (0x2000, 0xD7FF), (0xFFFF, 0x1FAFF))
    noise = ["".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(60))) for _ in range(300)]
    vectors += [judge(shipped(), text) for text in [*noise, *(one.text for one in generate(300, 44)), "bom " * 1500]]
    with site() as url:
        async with visit(url) as tab:
            assert await ready(tab)
            said = await tab.evaluate(
                f"async (texts) => {{ {EDGE} const out = []; "
                "for (const text of texts) out.push(await edge.predict(text, 9000)); return out }",
                [one.text for one in vectors],
            )
    assert [(a["n"], a["logits"], a["shares"], a["label"]) for a in said] == [
        (b.n, list(b.logits), list(b.shares), b.label) for b in vectors
    ]


async def test_nothing_typed_leaves_by_any_way(visit):
    """Canaries, whole, hashed and in pieces, in whatever the page sends, says or keeps."""
    rng = random.Random(9)
    canaries = ["".join(rng.choices("bcdfghjklmnpqrstvwxz", k=14)) for _ in range(150)]
    out = []
    with site() as url:
        async with visit(url) as tab:
            assert await ready(tab)
            listen_in(tab, out)
            for canary in canaries:
                await tab.fill("#message", f"{canary} odiei")
                await tab.evaluate(
                    f"async () => {{ {EDGE} edge.browsed([1, 0, 0]); edge.rank([{{vector: [1, 0, 0]}}, {{}}]) }}"
                )
            await until(lambda: starts(tab, SORRY))
            out.append(await tab.evaluate(KEPT))
    said = "\n".join(out)
    for canary in canaries:
        hashes = {hashlib.sha256(canary.encode()).hexdigest()[:12], base64.b64encode(canary.encode()).decode()[:12]}
        pieces = {canary[at : at + 8] for at in range(len(canary) - 7)}
        assert not any(trace in said for trace in hashes | pieces)


KEPT = """async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href,
  await caches.keys(), await indexedDB.databases(), performance.getEntries().map((e) => e.name)])"""


def listen_in(tab, out):
    tab.context.on("request", lambda request: out.append(f"{request.url} {request.headers} {request.post_data or ''}"))
    tab.on("console", lambda message: out.append(message.text))
    tab.on("websocket", lambda socket: out.append(f"socket {socket.url}"))


async def test_without_a_choice_a_banner_asks_and_no_is_as_near_as_yes(visit):
    with site("") as url:
        async with visit(url) as tab:
            buttons = tab.locator("[data-arauto-banner] button")
            assert await buttons.all_inner_texts() == ["Recusar", "Aceitar"]
            boxes = [await buttons.nth(place).bounding_box() for place in (0, 1)]
            assert boxes[0]["height"] == boxes[1]["height"]
            await buttons.first.click()
            await tab.fill("#message", BAD)
            await tab.wait_for_timeout(300)
            assert (await greeting(tab)).startswith(DEFAULT)
            await tab.reload()
            assert await buttons.count() == 0, "a no is remembered"
            assert not any(".bin" in name for name in await fetched(tab))


async def fetched(tab):
    return await tab.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")


async def test_yes_can_be_taken_back(visit):
    with site("") as url:
        async with visit(url) as tab:
            await tab.click("text=Aceitar")
            assert await ready(tab)
            await tab.fill("#message", BAD)
            await until(lambda: starts(tab, SORRY))
            await tab.evaluate(f"async () => {{ {EDGE} edge.browsed([1, 2]); edge.consent('denied') }}")
            assert (await greeting(tab)).startswith(DEFAULT)
            assert await tab.evaluate(
                f"async () => {{ {EDGE} return [edge.inferred(), await edge.predict('bom')] }}"
            ) == [
                {"mood": None, "vector": [], "seen": 0},
                None,
            ]


async def test_global_privacy_control_wins_over_all(visit):
    with site('data-consent="granted"') as url:
        async with visit(url, gpc=True) as tab:
            await tab.evaluate(f"async () => {{ {EDGE} edge.consent('granted') }}")
            await tab.fill("#message", BAD)
            await tab.wait_for_timeout(500)
            assert (await greeting(tab)).startswith(DEFAULT)
            assert not any(".bin" in name for name in await fetched(tab))


def disclosing(*vendors, ranged=False):
    """The segment of disclosed vendors of a TCF string: type 1, the highest id, then bits or one range."""
    bits = f"001{max(vendors):016b}"
    if ranged:
        bits += f"1{1:012b}1{min(vendors):016b}{max(vendors):016b}"
    else:
        bits += "0" + "".join("01"[number in vendors] for number in range(1, max(vendors) + 1))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    bits += "0" * (-len(bits) % 6)
    return "CQcore." + "".join(alphabet[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


TCF = """window.__tcfapi = (command, version, told) => told({gdprApplies: true, eventStatus: 'tcloaded', tcString: %s,
  purpose: {consents: {1: true, 5: true, 6: %s}}, vendor: {consents: {7: true}}}, true)"""


@pytest.mark.parametrize(
    ("string", "sixth", "yes"),
    [
        (disclosing(3, 7), "true", True),
        (disclosing(5, 9, ranged=True), "true", True),
        (disclosing(3, 8), "true", False),
        (disclosing(8, 9, ranged=True), "true", False),
        (disclosing(3, 5), "true", False),
        ("CQcore", "true", False),
        (disclosing(3, 7), "false", False),
    ],
)
async def test_a_consent_platform_decides(string, sixth, yes, visit):
    with site('data-tcf-vendor="7" data-consent="granted"') as url:
        async with visit("") as tab:
            await tab.add_init_script(TCF % (repr(string), sixth))
            await tab.goto(url)
            assert await tab.evaluate(f"async () => {{ {EDGE} return edge.granted() }}") is yes
            assert await tab.locator("[data-arauto-banner]").count() == 0
            assert await tab.evaluate("localStorage['arauto:consent'] ?? null") is None


async def test_consent_mode_hears_the_default_and_the_choice(visit):
    with site("data-consent-mode") as url:
        async with visit(url) as tab:
            await tab.click("text=Aceitar")
            layer = await tab.evaluate("dataLayer.map((a) => [...a])")
    names = {"ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"}
    assert layer[0] == ["consent", "default", dict.fromkeys(names, "denied")]
    assert layer[-1] == ["consent", "update", dict.fromkeys(names, "granted")]


def without(pattern):
    def change(files):
        for name in [name for name in files if re.search(pattern, name)]:
            del files[name]

    return change


def spoil(files):
    name = file_name(shipped())
    files[name] = Asset(files[name].body[:-1] + b"\0", files[name].kind)


def of_another_format(files):
    """A whole file under its right hash, whose manifest an older runtime cannot read."""
    raw = shipped().to_bytes().replace(b'"format":1', b'"format":9', 1)
    name = file_name(shipped())
    new = f"sentiment.{hashlib.sha256(raw).hexdigest()}.bin"
    files[new] = Asset(raw, files.pop(name).kind)
    files[""] = Asset(files[""].body.replace(name.encode(), new.encode()), files[""].kind)


def unpinned(files):
    name = file_name(shipped())
    files["model.bin"] = files.pop(name)
    files[""] = Asset(files[""].body.replace(name.encode(), b"model.bin"), files[""].kind)


FAULTS = {"no model": without(r"\.bin$"), "altered": spoil, "another format": of_another_format, "unpinned": unpinned,
          "no core": without("core")}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_missing_or_spoilt_leaves_the_default_message(fault, visit):
    with site(change=FAULTS[fault]) as url:
        async with visit(url) as tab:
            assert not await ready(tab)
            await tab.fill("#message", BAD)
            await tab.wait_for_timeout(300)
            assert (await greeting(tab)).startswith(DEFAULT)


async def test_with_modules_blocked_the_page_shows_its_default(visit):
    with site() as url:
        async with visit("") as tab:
            await tab.route("**/*.js", lambda route: route.abort())
            await tab.goto(url)
            assert (await greeting(tab)).startswith(DEFAULT)


async def test_without_storage_it_works_for_the_page(visit):
    deny = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})"
    with site("") as url:
        async with visit("") as tab:
            await tab.add_init_script(deny)
            await tab.goto(url)
            await tab.click("text=Aceitar")
            assert await ready(tab)


async def test_without_workers_the_page_itself_answers(visit):
    with site() as url:
        async with visit("") as tab:
            await tab.add_init_script("delete window.Worker")
            await tab.goto(url)
            assert await ready(tab)
            await tab.fill("#message", BAD)
            await until(lambda: starts(tab, SORRY))


async def test_modules_of_another_origin_work_through_a_blob(visit):
    with site() as home, site() as url:
        async with visit("") as tab:
            page_body = f"""<!doctype html><html lang="en"><h1 data-arauto-greeting><span>Hello</span>
            <template data-mood="negative">Sorry</template></h1><textarea data-arauto-listen id="message"></textarea>
            <script type="module" src="{home}arauto-edge.js" data-consent="granted"
              data-model="{file_name(shipped())}"></script>"""

            async def answer(route):
                got = await route.fetch()
                await route.fulfill(response=got, headers={**got.headers, "access-control-allow-origin": "*"})

            await tab.route(home + "**", answer)
            await tab.route(url, lambda route: route.fulfill(body=page_body, content_type="text/html"))
            await tab.goto(url)
            await tab.wait_for_function("document.querySelector('[data-arauto-heard]')")
            await tab.fill("#message", "It broke, I want a refund")
            await until(lambda: starts(tab, "Sorry"))


async def test_offers_are_drawn_by_the_probability_that_is_told(visit):
    with site() as url:
        async with visit(url) as tab:
            found = await tab.evaluate(
                f"""async () => {{ {EDGE} await edge.ready;
                const offers = [{{vector: [1, 0]}}, {{vector: [0, 1]}}, {{weights: [1], prior: 0.1}}];
                const even = edge.rank(offers, {{context: [-0.1]}}).shares;
                for (let i = 0; i < 9; i++) edge.browsed([0, 1]);
                const counts = [0, 0, 0]; let told;
                for (let i = 0; i < 4000; i++) {{ told = edge.rank(offers, {{warmth: 0.7}}); counts[told.pick]++;
                  if (told.propensity !== told.shares[told.pick]) throw 0 }}
                return [even, told.shares, counts, edge.inferred()] }}"""
            )
    even, shares, counts, known = found
    assert even == pytest.approx([1 / 3] * 3)
    assert sum(shares) == pytest.approx(1)
    assert shares[1] == max(shares)
    assert min(shares) >= 0.05 / 3
    assert [count / 4000 for count in counts] == pytest.approx(shares, abs=0.04)
    assert known["seen"] == 9
    assert known["vector"] == pytest.approx([0, 1 - 0.7**9])


def test_all_that_is_downloaded_is_under_forty_kilobytes():
    assert sum(len(gzip.compress(asset.body, 9)) for asset in assets().values()) <= 40_000


def test_the_modules_evaluate_nothing_and_send_nothing():
    for name in MODULES:
        source = STATIC.joinpath(name).read_text("utf-8")
        words = (
            "eval(",
            "Function(",
            "innerHTML",
            "document.write",
            "sendBeacon",
            "XMLHttpRequest",
            "WebSocket",
            "cookie",
            "console.",
        )
        assert not [word for word in words if word in source]
    assert STATIC.joinpath(MODULES[0]).read_text("utf-8").count("fetch(") == 1
    assert "fetch" not in STATIC.joinpath(MODULES[1]).read_text("utf-8")


async def test_the_types_hold(tmp_path):
    from pathlib import Path

    files = [Path(str(STATIC)) / name for name in (*MODULES, PEERS, "example.js", "arauto-edge.types.d.ts")]
    try:
        assert await asyncio.to_thread(check_types, *files) == ""
    except NoCompilerError as reason:
        pytest.skip(str(reason))


def test_a_model_is_served_under_its_own_hash():
    assert isinstance(shipped(), EdgeModel)
    assert hashlib.sha256(assets()[file_name(shipped())].body).hexdigest() in file_name(shipped())


async def test_the_efforts_of_predictions_are_numbers_alone(visit):
    with site() as url:
        async with visit(url) as tab:
            assert await ready(tab)
            found = await tab.evaluate(
                f"async () => {{ {EDGE} const before = edge.effort();"
                "for (let i = 0; i < 20; i++) await edge.predict('muito bom'); return [before, edge.effort()] }"
            )
    before, after = found
    assert (before["predictions"], before["late"], before["p95"]) == (0, 0, None)
    assert (after["predictions"], after["late"]) == (20, 0)
    assert 0 <= after["p50"] <= after["p95"]


async def test_a_model_can_be_named_later(visit):
    def unnamed(files):
        files[""] = Asset(re.sub(rb' data-model="[^"]*"', b"", files[""].body), files[""].kind)

    with site(change=unnamed) as url:
        async with visit(url) as tab:
            said = await tab.evaluate(
                f"async () => {{ {EDGE} edge.load('{file_name(shipped())}'); return edge.ready }}"
            )
            assert said
            await tab.fill("#message", BAD)
            await until(lambda: starts(tab, SORRY))


async def test_candidates_are_ranked_with_their_shares_as_the_floor(visit):
    with site() as url:
        async with visit(url) as tab:
            shares = await tab.evaluate(
                f"async () => {{ {EDGE} await edge.ready; for (let i = 0; i < 30; i++) edge.browsed([0, 1]);"
                "return edge.rank([{vector: [9, 0]}, {vector: [0, 9]}], {shares: [0.75, 0.25], floor: 0.2}).shares }"
            )
    assert shares == pytest.approx([0.15, 0.85], abs=1e-3)
    assert shares[0] >= 0.15
