"""ASGI behind RSGI: whole bodies, streams, and clients that leave."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from arauto.server.bridge import Bridge
from tests.server.rsgi import Protocol, call


async def echo(request: Request):
    body = await request.body()
    return JSONResponse(
        {
            "body": body.decode(),
            "path": request.url.path,
            "query": request.url.query,
            "client": list(request.client),
            "host": request.headers["host"],
            "name": request.path_params["name"],
        }
    )


async def test_a_request_arrives_as_it_was_and_its_answer_leaves_in_one():
    front = Bridge(Starlette(routes=[Route("/a/{name}", echo, methods=["POST"])]))
    answer = await call(front, "POST", "/a/caf%C3%A9?x=%20y&z", [b"one ", b"two"], {"x-a": "b"}, client="[::1]:99")
    assert answer.json() == {
        "body": "one two",
        "path": "/a/café",
        "query": "x=%20y&z",
        "client": ["::1", 99],
        "host": "arauto.example",
        "name": "café",
    }
    assert (answer.status, answer.streamed) == (200, False)


async def test_a_stream_leaves_part_by_part():
    going = asyncio.Event()

    async def parts():
        yield b"one "
        await going.wait()
        yield b"two"

    async def page(_):
        return StreamingResponse(parts(), media_type="text/event-stream")

    protocol = Protocol([])
    task = asyncio.create_task(call(Bridge(Starlette(routes=[Route("/", page)])), "GET", "/", protocol=protocol))
    async with asyncio.timeout(60):
        while protocol.answer is None or protocol.answer.body != b"one ":  # noqa: ASYNC110
            await asyncio.sleep(0)
    going.set()
    answer = await task
    assert (answer.body, answer.streamed) == (b"one two", True)
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("silent", [False, True])
async def test_a_client_that_leaves_ends_the_stream(silent):
    async def parts():
        yield b"one"
        while True:
            await (asyncio.Event().wait() if silent else asyncio.sleep(0))
            yield b"more"

    async def page(_):
        return StreamingResponse(parts())

    protocol = Protocol([])
    task = asyncio.create_task(call(Bridge(Starlette(routes=[Route("/", page)])), "GET", "/", protocol=protocol))
    async with asyncio.timeout(60):
        while protocol.answer is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        protocol.gone.set()
        assert (await task).body.startswith(b"one")


async def test_a_parting_client_is_an_os_error_to_the_application():
    seen = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                protocol.gone.set()
        except OSError as error:
            seen.append(error)

    protocol = Protocol([])
    await call(Bridge(app), "GET", "/", protocol=protocol)
    assert len(seen) == 1


async def test_what_is_to_be_done_afterwards_is_done():
    done = []

    async def page(_):
        return Response("x", background=BackgroundTask(lambda: done.append(1)))

    assert (await call(Bridge(Starlette(routes=[Route("/", page)])), "GET", "/")).body == b"x"
    assert done == [1]


@pytest.mark.parametrize("began", [False, True])
async def test_an_application_that_raises_is_a_500_and_its_words_stay_out_of_the_log(began, caplog):
    async def app(_scope, _receive, send):
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("secret of a visitor")

    answer = await call(Bridge(app), "GET", "/")
    assert (answer.status, answer.body) == (500, b"")
    assert "RuntimeError at" in caplog.text
    assert "secret" not in caplog.text


async def test_an_application_that_answers_nothing_has_gone_wrong():
    async def app(_scope, receive, _send):
        await receive()

    assert (await call(Bridge(app), "GET", "/")).status == 500
