"""Calls to an endpoint: the budget holds, answers are kept, faults end clearly; voice, pictures, httpx."""

import asyncio
import base64
import json
from decimal import Decimal

import httpx
import msgspec
import numpy as np
import pytest

from arauto.core.brief import Brief
from arauto.core.errors import EngineError, SettingError
from arauto.core.settings import Secret, Settings, load_settings
from arauto.creative import Ask, ModelStore, OpenAIEngine, Writer, choose_engine, compose_message
from arauto.creative.engines import (
    Budget,
    Cache,
    Cost,
    DiffusersImage,
    Endpoint,
    ImageAsk,
    OpenAIImage,
    OpenAIVoice,
    Prices,
    ScriptedImage,
    choose_image,
)
from arauto.creative.engines.wire import Answer, WireFault

BRIEF = Brief(product="smartwatch", focus="saúde")
MESSAGE = compose_message(BRIEF)
USAGE = {"prompt_tokens": 300, "completion_tokens": 40}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def chat(text=None, usage=USAGE):
    copy = {
        "title": "O seu dia no pulso",
        "description": "O smartwatch fica com você.",
        "image_suggestion": "Pessoa no parque",
    }
    whole = {"choices": [{"message": {"content": text or json.dumps(copy)}}]}
    return Answer(200, json.dumps(whole | ({"usage": usage} if usage else {})).encode(), None)


class Script:
    """A wire that answers in turn; the last item for ever. An item may be an exception."""

    def __init__(self, *answers):
        self.answers, self.posts, self.flying, self.most = list(answers), [], 0, 0

    async def post(self, url, headers, content, *, seconds, most):
        self.posts.append((url, headers, json.loads(content)))
        self.flying += 1
        self.most = max(self.most, self.flying)
        await asyncio.sleep(0)
        self.flying -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self):
        self.posts.append("closed")


async def no_pause(seconds):
    assert 0 <= seconds <= 30


def endpoint_of(*answers, **options):
    wire = Script(*answers)
    return Endpoint("https://host.example/v1/", Secret("k"), wire=wire, sleep=no_pause, **options), wire


def ask(turn=0):
    return Ask(brief=BRIEF, message=MESSAGE, seed=1, turn=turn)


def engine_of(endpoint):
    return OpenAIEngine("", Secret(""), "m", endpoint=endpoint)


async def test_what_is_used_is_booked():
    budget = Budget(tokens=100_000, money=Decimal(10), prices=Prices(tokens_in=Decimal(1), tokens_out=Decimal(2)))
    endpoint, _ = endpoint_of(chat(), budget=budget)
    await engine_of(endpoint).write(ask())
    assert budget.spent_tokens == 340
    assert budget.spent == Decimal(380) / 1_000_000


@pytest.mark.parametrize(
    ("answers", "tokens"),
    [
        ((Answer(429, b"", 0.0), chat()), 340),
        ((Answer(500, b"", None), chat()), 340),
        ((WireFault("refused", sent=False), chat()), 340),
    ],
)
async def test_what_was_not_done_costs_nothing(answers, tokens):
    budget = Budget(tokens=100_000)
    endpoint, _ = endpoint_of(*answers, budget=budget)
    await engine_of(endpoint).write(ask())
    assert budget.spent_tokens == tokens


@pytest.mark.parametrize("trouble", [WireFault("cut", sent=True), Answer(200, b"{", None)])
async def test_what_may_have_been_done_counts_in_full(trouble):
    budget = Budget(tokens=100_000)
    endpoint, wire = endpoint_of(trouble, chat(), budget=budget)
    await engine_of(endpoint).write(ask())
    assert len(wire.posts) == 2
    assert budget.spent_tokens > 340 + 1000


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 10**9, "completion_tokens": 1}])
async def test_silence_and_nonsense_count_as_the_bound(usage):
    budget = Budget(tokens=10_000)
    endpoint, _ = endpoint_of(chat(usage=usage), budget=budget)
    await engine_of(endpoint).write(ask())
    assert 1000 < budget.spent_tokens < 10_000


async def test_the_cap_is_never_passed_however_many_ask_at_once():
    budget = Budget(tokens=20_000)
    endpoint, wire = endpoint_of(chat(), budget=budget, in_flight=64)
    engine = engine_of(endpoint)
    ends = await asyncio.gather(*(engine.write(ask(turn)) for turn in range(300)), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, EngineError)]
    assert {error.field for error in errors} == {"openai_max_tokens"}
    assert len(wire.posts) == 300 - len(errors)
    assert budget.spent_tokens <= 20_000
    assert budget.spent_tokens == 340 * len(wire.posts)


async def test_money_has_a_cap_too():
    endpoint, wire = endpoint_of(chat(), budget=Budget(money=Decimal("0.001"), prices=Prices(tokens_out=Decimal(10))))
    with pytest.raises(EngineError) as caught:
        await engine_of(endpoint).write(ask())
    assert caught.value.field == "openai_max_spend"
    assert wire.posts == []


def test_a_reservation_is_given_back():
    budget = Budget(money=Decimal(1), prices=Prices(picture=Decimal("0.4"), characters=Decimal(15)))
    picture = Cost(pictures=1)
    budget.reserve(picture)
    budget.reserve(picture)
    with pytest.raises(EngineError):
        budget.reserve(picture)
    budget.settle(picture, Cost())
    budget.reserve(picture)
    budget.settle(picture, picture)
    budget.settle(picture, Cost(characters=1000))
    assert budget.spent == Decimal("0.415")


async def test_no_more_in_flight_than_allowed_and_none_lost():
    endpoint, wire = endpoint_of(chat(), in_flight=7)
    drafts = await asyncio.gather(*(engine_of(endpoint).write(ask(turn)) for turn in range(60)))
    assert len(drafts) == 60
    assert 1 < wire.most <= 7


async def test_an_answer_is_kept_by_what_was_asked(tmp_path):
    cache = Cache(tmp_path / "cache")
    endpoint, wire = endpoint_of(chat(), cache=cache)
    engine = engine_of(endpoint)
    first = await engine.write(ask())
    assert await engine.write(ask()) == first
    await engine.write(ask(turn=1))
    assert len(wire.posts) == 2
    assert b"Bearer" not in b"".join(file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.write_bytes(b"spoilt")
    await engine.write(ask())
    assert len(wire.posts) == 3


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    cache.put(Cache.key(b"a"), b"b")
    assert cache.get(Cache.key(b"a")) is None
    assert Cache.key(b"ab", b"c") != Cache.key(b"a", b"bc")


async def test_every_brief_ends_in_texts_or_a_clear_error():
    faults = [Answer(429, b"", 0.0), WireFault("hung", sent=True), Answer(200, b"<html>", None), Answer(503, b"", None)]
    endpoint, _ = endpoint_of(*(faults * 3 + [chat()]) * 10, chat())
    ends = await asyncio.gather(
        *(Writer(engine_of(endpoint)).write(BRIEF, 1, seed=seed) for seed in range(30)), return_exceptions=True
    )
    for end in ends:
        if isinstance(end, EngineError):
            assert end.field == "openai_url"
            assert end.mend
        else:
            assert not isinstance(end, BaseException)
            assert end.accepted or end.refused


async def test_a_voice():
    samples = (np.sin(np.arange(24_000) / 20) * 8000).astype("<i2").tobytes()
    budget = Budget(prices=Prices(characters=Decimal(15)))
    endpoint, wire = endpoint_of(
        Answer(200, b'{"error": "busy, try again later, this is text and no sound"}' * 200, None),
        Answer(200, samples, None),
        budget=budget,
    )
    voice = OpenAIVoice(endpoint, "tts", "nova")
    sound = await voice.say("Saiba mais.", "pt-BR", 1.1)
    assert len(sound) == pytest.approx(44_100, rel=0.02)
    url, headers, body = wire.posts[1]
    assert url == "https://host.example/v1/audio/speech"
    assert headers["Authorization"] == "Bearer k"
    assert (body["voice"], body["speed"], body["input"]) == ("nova", 1.1, "Saiba mais.")
    assert budget.spent == Decimal(15 * 11 * 2) / 1_000_000
    await voice.close()
    assert wire.posts[-1] == "closed"


async def test_a_picture():
    good = Answer(200, json.dumps({"data": [{"b64_json": base64.b64encode(PNG).decode()}]}).encode(), None)
    script = Answer(
        200, json.dumps({"data": [{"b64_json": base64.b64encode(b"<svg onload=x>").decode()}]}).encode(), None
    )
    endpoint, wire = endpoint_of(Answer(200, b'{"data": []}', None), script, good)
    image = OpenAIImage(endpoint, "draw")
    assert await image.draw(ImageAsk(prompt="um relógio", width=512, height=768)) == PNG
    assert wire.posts[0][2]["size"] == "512x768"
    assert len(wire.posts) == 3
    refusing, _ = endpoint_of(Answer(400, b"", None))
    with pytest.raises(EngineError, match="400"):
        await OpenAIImage(refusing, "draw").draw(ImageAsk(prompt="x"))
    await image.close()


async def test_scripted_pictures_and_missing_library(monkeypatch):
    scripted = ScriptedImage([PNG, EngineError("no")])
    assert await scripted.draw(ImageAsk(prompt="x")) == PNG
    for match in ("no", "at its end"):
        with pytest.raises(EngineError, match=match):
            await scripted.draw(ImageAsk(prompt="x"))
    await scripted.close()
    monkeypatch.setattr("arauto.creative.engines.image.importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match="not installed"):
        DiffusersImage("model")


def test_names_that_are_missing():
    endpoint, _ = endpoint_of(chat())
    with pytest.raises(SettingError, match="openai_voice_model"):
        OpenAIVoice(endpoint, "", "nova")
    with pytest.raises(SettingError, match="openai_image_model"):
        OpenAIImage(endpoint, "")
    assert repr(endpoint) == "Endpoint('https://host.example/v1')"


def test_the_settings_make_one_endpoint(tmp_path):
    settings = Settings(
        home=tmp_path,
        openai_url="https://host.example/v1",
        openai_model="m",
        openai_image_model="i",
        openai_max_tokens=5,
    )
    text, image = choose_engine(settings, ModelStore(settings)), choose_image(settings)
    assert image is not None
    assert text._endpoint is image._endpoint
    with pytest.raises(EngineError, match="tokens are spent"):
        text._endpoint.budget.reserve(Cost(tokens_in=6))
    assert choose_image(msgspec.structs.replace(settings, openai_image_model="")) is None
    with pytest.raises(SettingError, match="openai_max_spend"):
        load_settings(tmp_path, {"ARAUTO_OPENAI_MAX_SPEND": "-1"})


async def test_httpx_tells_what_was_sent():
    for failure, sent in ((httpx.ConnectError("x"), False), (httpx.ReadError("x"), True)):

        def handle(request, failure=failure):
            raise failure

        endpoint = Endpoint(
            "https://host.example/v1",
            Secret(""),
            transport=httpx.MockTransport(handle),
            sleep=no_pause,
            budget=Budget(tokens=10**6),
        )
        with pytest.raises(EngineError, match="5 times"):
            await engine_of(endpoint).write(ask())
        assert (endpoint.budget.spent_tokens > 0) == sent
        await endpoint.close()
