"""A scripted stand-in for the server: for what a real one cannot be told to do (be slow, fail, answer malice)."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import arauto.server
from arauto.core.ids import uuid7
from arauto.edge import served

STATIC = Path(arauto.server.__file__).parent / "static"

PAGE = """<!doctype html><html lang="en"><title>A page</title>
<script type="module" src="{script}"{key}{more}></script>
<style>body{{margin:0}} .tall{{height:200vh}}</style>
{body}"""

COPY = {"title": "Um título", "description": "Uma descrição", "image_suggestion": "Uma imagem"}


class Stub:
    def __init__(self):
        self.pages: dict[str, str] = {}
        self.asked: list[dict] = []
        self.batches: list[dict] = []
        self.erased: list[str] = []
        self.copy = dict(COPY)
        self.link = "https://shop.example/watch"
        self.cta = "Saiba mais"
        self.slow = 0.0
        self.decide_status = 200
        self.events_status = 200
        self.erase_status = 200
        self._wake = threading.Event()

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._wake.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def page(
        self,
        body='<div data-arauto="watch" id="slot">default</div>',
        more="",
        path="/page",
        script="/arauto.js",
        key="pk_test",
    ):
        """Serve a page with ``body`` at ``path``; ``more`` are attributes of the script tag."""
        self.pages[path] = PAGE.format(
            body=body, more=f" {more}" if more else "", script=script, key=f' data-key="{key}"' if key else ""
        )
        return self.url + path

    def events(self, *types):
        """What was accepted so far, of these types, by type and then in order; each id once."""
        once = {event["id"]: event for batch in self.batches for event in batch["events"]}
        return [event for event in once.values() if not types or event["type"] in types]

    def types(self):
        return sorted(event["type"] for event in self.events() if event["type"] != "web_vital")

    def _decision(self, query):
        return {
            "decision": str(uuid7()),
            "campaign": query["campaign"],
            "variant": "a",
            "copy": self.copy,
            "call_to_action": self.cta,
            "link": self.link,
            "propensity": 0.5,
            "policy_version": 1,
            "receipt": f"receipt-{len(self.asked)}",
            "simulated": False,
        }

    def _handler(stub):  # noqa: C901, N805 -- one small server; the `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", kind="application/json"):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Access-Control-Allow-Methods", "DELETE")
                self.end_headers()
                self.wfile.write(body)

            def do_OPTIONS(self):
                self.answer(204)

            def do_GET(self):
                path = urlsplit(self.path).path
                if path == "/arauto.js":
                    return self.answer(200, (STATIC / "arauto.js").read_bytes(), "text/javascript")
                if asset := served().get(path.removeprefix("/edge/")):
                    return self.answer(200, asset.body, asset.kind)
                if path in stub.pages:
                    return self.answer(200, stub.pages[path].encode(), "text/html; charset=utf-8")
                return self.answer(404)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"].startswith("text/plain")
                if self.path == "/v1/decide":
                    stub.asked.append(body)
                    if stub.slow:
                        stub._wake.wait(stub.slow)
                    return self.answer(stub.decide_status, json.dumps(stub._decision(body)).encode())
                if self.path == "/v1/candidates":
                    stub.asked.append(body)
                    each = [stub._decision(body) | {"variant": name, "receipt": f"receipt-{name}"} for name in "abc"]
                    several = {"candidates": each, "shares": [0.5, 0.25, 0.25], "floor": 0.2}
                    return self.answer(stub.decide_status, json.dumps(several).encode())
                if stub.events_status < 500:
                    stub.batches.append(body)
                return self.answer(stub.events_status, b"{}")

            def do_DELETE(self):
                if stub.erase_status == 200:
                    stub.erased.append(str(UUID(urlsplit(self.path).path.rsplit("/", 1)[1])))
                self.answer(stub.erase_status, b"{}")

        return Handler
