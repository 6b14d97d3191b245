"""A stub of an OpenAI-compatible endpoint in a process of its own: answers after a while, well or badly.

``/ok/…`` always answers well; ``/faults/…`` is busy, broken, hanging or cut as often as well. ``GET /tally`` tells
what it has done. Hand-written HTTP, so that one core is enough to answer thousands a second.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import ClassVar, cast

import uvloop

TITLES = ("O seu dia no pulso", "Saúde que acompanha você", "Um relógio para quem se cuida", "Menos pressa, mais saúde")
TEXTS = (
    "O smartwatch fica com você da manhã à noite. Veja os detalhes com calma.",
    "Conheça o smartwatch por dentro e descubra se ele combina com a sua rotina.",
    "Um olhar no pulso e o dia continua. Leia tudo sobre o smartwatch antes de escolher.",
    "Caminhar, descansar, recomeçar: o smartwatch vai junto, do seu jeito.",
)
PICTURES = ("Pessoa caminhando no parque ao sol da manhã", "Mesa clara com um relógio e um caderno aberto")
USAGE = {"prompt_tokens": 400, "completion_tokens": 60, "total_tokens": 460}


def answer(turn: int) -> bytes:
    """A chat completion with the ``turn``-th copy."""
    copy = {"title": TITLES[turn % 4], "description": TEXTS[turn // 4 % 4], "image_suggestion": PICTURES[turn % 2]}
    message = {"role": "assistant", "content": json.dumps(copy)}
    return json.dumps({"choices": [{"index": 0, "message": message}], "usage": USAGE}).encode()


ANSWERS = [answer(turn) for turn in range(16)]
"""Made once: the stub shares two cores with what is measured."""


class Stub(asyncio.Protocol):
    """One connection. ``delay`` in seconds."""

    delay = 0.2
    tally: ClassVar[dict[str, int]] = {}
    draw = random.Random(1)
    number = 0

    def __init__(self) -> None:
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 : head.find(b"\r", at) if head.find(b"\r", at) > 0 else end]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.answer(self.buffer[:end])
            self.buffer = self.buffer[end + 4 + length :]

    def answer(self, head: bytes) -> None:
        if head.startswith(b"GET"):
            self.send(200, json.dumps(self.tally).encode())
            return
        kind = "ok"
        if b"/faults/" in head[:80]:
            kind = self.draw.choices(("ok", "429", "500", "broken", "hang", "cut"), weights=(64, 12, 9, 8, 2, 5))[0]
        self.tally[kind] = self.tally.get(kind, 0) + 1
        asyncio.get_running_loop().call_later(self.delay, self.finish, kind)

    def finish(self, kind: str) -> None:
        if kind == "hang" or self.transport.is_closing():
            return
        if kind == "cut":
            self.transport.close()
        elif kind in ("429", "500"):
            self.send(int(kind), b'{"error": {}}', b"Retry-After: 0\r\n" if kind == "429" else b"")
        else:
            Stub.number += 1
            self.tally["tokens"] = self.tally.get("tokens", 0) + USAGE["total_tokens"]
            body = ANSWERS[Stub.number % len(ANSWERS)]
            self.send(200, body[: len(body) // 2] if kind == "broken" else body)

    def send(self, status: int, body: bytes, more: bytes = b"") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode()
        self.transport.write(head + more + b"\r\n" + body)


async def serve(port: int) -> None:
    """Until the input closes."""
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(0))
