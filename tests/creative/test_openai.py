"""Any OpenAI-compatible endpoint: busy, broken, hanging or with fewer features, and the key is never seen."""

import asyncio
import json
import logging

import httpx
import pytest

from arauto.core.brief import Brief
from arauto.core.errors import EngineError, SettingError
from arauto.core.settings import Secret
from arauto.creative import Ask, OpenAIEngine, UnreadableAnswer, compose_message

KEY = "sk-very-secret-0123456789"
BRIEF = Brief(product="smartwatch", focus="saúde")
ASK = Ask(brief=BRIEF, message=compose_message(BRIEF), seed=3, turn=1)
COPY = {
    "title": "O seu coração no pulso",
    "description": "O smartwatch acompanha o dia.",
    "image_suggestion": "Pessoa no parque ao sol",
}


def completion(content=None):
    text = json.dumps(COPY) if content is None else content
    return httpx.Response(
        200, json={"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    )


class Endpoint:
    """Answers in turn; an item may be a response, an exception, or "hang"."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.pauses = []

    async def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if answer == "hang":
            await asyncio.sleep(3600)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds):
        self.pauses.append(seconds)

    def engine(self, **options):
        transport = httpx.MockTransport(self)
        return OpenAIEngine(
            "https://host.example/v1/", Secret(KEY), "m", transport=transport, sleep=self.sleep, **options
        )

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.requests]


async def test_one_draft():
    endpoint = Endpoint(completion())
    engine = endpoint.engine()
    draft = await engine.write(ASK)
    assert draft.copy.title == COPY["title"]
    assert len(draft.prompt_sha256) == 64
    (request,) = endpoint.requests
    assert str(request.url) == "https://host.example/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    (body,) = endpoint.bodies
    assert (body["model"], body["seed"]) == ("m", ASK.sampling_seed)
    assert body["response_format"]["json_schema"]["strict"] is True
    assert [message["role"] for message in body["messages"]] == ["system", *["user", "assistant"] * 2, "user"]
    await engine.close()


async def test_without_a_key_no_header():
    endpoint = Endpoint(completion())
    engine = OpenAIEngine("http://127.0.0.1:1/v1", Secret(""), "m", transport=httpx.MockTransport(endpoint))
    await engine.write(ASK)
    assert "Authorization" not in endpoint.requests[0].headers
    await engine.close()


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(503),
        httpx.Response(408),
        httpx.Response(200, content=b'{"choices": ['),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"x" * (2 << 20)),
        httpx.ConnectError("refused"),
        httpx.ReadError("cut"),
    ],
    ids=str,
)
async def test_trouble_that_passes_is_waited_out(trouble):
    endpoint = Endpoint(trouble, trouble, completion())
    engine = endpoint.engine()
    assert (await engine.write(ASK)).copy.title == COPY["title"]
    assert len(endpoint.pauses) == 2
    await engine.close()


async def test_the_pauses_grow_and_heed_the_endpoint():
    endpoint = Endpoint(*[httpx.Response(500)] * 3, httpx.Response(429, headers={"Retry-After": "9999"}), completion())
    engine = endpoint.engine()
    await engine.write(ASK)
    for turn, pause in enumerate(endpoint.pauses[:3]):
        assert 0.25 * 2**turn <= pause <= 2**turn
    assert endpoint.pauses[3] == 30
    await engine.close()


async def test_an_endpoint_that_hangs_is_given_up():
    endpoint = Endpoint(*["hang"] * 5)
    engine = endpoint.engine(answer_seconds=0.01)
    with pytest.raises(EngineError, match="did not answer within") as caught:
        await engine.write(ASK)
    assert len(endpoint.requests) == 5
    assert caught.value.mend
    await engine.close()


@pytest.mark.parametrize(
    ("answer", "field"),
    [(401, "openai_key"), (403, "openai_key"), (404, "openai_model"), (418, "openai_url"), (301, "openai_url")],
)
async def test_trouble_that_stays_is_told_at_once(answer, field):
    endpoint = Endpoint(httpx.Response(answer))
    engine = endpoint.engine()
    with pytest.raises(EngineError) as caught:
        await engine.write(ASK)
    assert (caught.value.field, len(endpoint.requests)) == (field, 1)
    await engine.close()


async def test_an_endpoint_with_fewer_features_is_asked_for_less():
    endpoint = Endpoint(
        httpx.Response(400), httpx.Response(422), completion(f"Sure!\n```json\n{json.dumps(COPY)}\n```"), completion()
    )
    engine = endpoint.engine()
    await engine.write(ASK)
    await engine.write(ASK)
    formats = [body.get("response_format", {}).get("type") for body in endpoint.bodies]
    assert formats == ["json_schema", "json_object", None, None]
    await engine.close()


async def test_a_request_that_stays_bad_is_an_error():
    endpoint = Endpoint(*[httpx.Response(400)] * 3)
    engine = endpoint.engine()
    with pytest.raises(EngineError, match="400"):
        await engine.write(ASK)
    await engine.close()


@pytest.mark.parametrize("content", ["", "I will not write that."])
async def test_an_answer_that_is_no_copy(content):
    engine = Endpoint(completion(content)).engine()
    with pytest.raises(UnreadableAnswer):
        await engine.write(ASK)
    await engine.close()


async def test_no_choice_at_all():
    engine = Endpoint(httpx.Response(200, json={"choices": []})).engine()
    with pytest.raises(UnreadableAnswer):
        await engine.write(ASK)
    await engine.close()


async def test_the_key_is_nowhere_to_be_seen(caplog):
    caplog.set_level(logging.DEBUG)
    echo = httpx.Response(500, text=f"bad key {KEY}")
    endpoint = Endpoint(*[echo] * 4, httpx.ConnectError(f"Bearer {KEY}"), httpx.Response(401, text=KEY))
    engine = endpoint.engine()
    said = repr(engine) + str(vars(engine))
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            await engine.write(ASK)
        said += str(caught.value) + repr(caught.value) + str(caught.value.as_problem())
        assert caught.value.__cause__ is None
    assert KEY not in said + caplog.text
    await engine.close()


@pytest.mark.parametrize(
    ("url", "model", "field"),
    [
        ("", "m", "openai_url"),
        ("ftp://host/v1", "m", "openai_url"),
        ("host/v1", "m", "openai_url"),
        ("https://host/v1", "", "openai_model"),
    ],
)
def test_settings_that_cannot_work(url, model, field):
    with pytest.raises(SettingError) as caught:
        OpenAIEngine(url, Secret(KEY), model)
    assert caught.value.field == field
