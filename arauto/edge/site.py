"""What a browser fetches of this room: two modules, the model under its hash, and an example page that shows them."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import msgspec

from arauto.edge.convert import to_onnx, to_tfjs
from arauto.edge.model import EdgeModel, from_bytes

RELEASE = "arauto-edge-release.js"
"""Lets a campaign of the server choose the model; served beside the two modules, fetched only where a page asks."""
PEERS = "arauto-edge-peers.js"
"""Joins the model to TensorFlow.js or onnxruntime-web; no page needs it else."""
_REMARKS = re.compile(rb"(?m)^\s+|^ *//.*\n|/\*\* .*? \*/[ \n]?")
"""What a browser has no need of: comments on lines of their own, types, and the spaces before a line."""
MODULES = ("arauto-edge.js", "arauto-edge-core.js")
_EXAMPLE = ("example.html", "example.css", "example.js")
_KINDS = {"js": "text/javascript; charset=utf-8", "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8"}
POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self' blob:; connect-src 'self'; style-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The example page's content security policy: nothing is evaluated, no inline script or style, no foreign host."""


class Asset(msgspec.Struct, frozen=True):
    """A file to serve. ``immutable``: its name holds the hash of what is in it."""

    body: bytes
    kind: str
    immutable: bool = False

    @property
    def tag(self) -> str:
        """The entity tag."""
        return f'"{sha256(self.body).hexdigest()[:16]}"'

    @property
    def squeezed(self) -> bytes:
        """The body by gzip."""
        return _squeezed(self.body)


@cache
def shipped() -> EdgeModel:
    """The sentiment model for Portuguese and English that comes with Arauto."""
    return from_bytes(resources.files("arauto.edge").joinpath("data/sentiment.bin").read_bytes(), "sentiment.bin")


def file_name(model: EdgeModel) -> str:
    """The name under which a model is served: ``NAME.SHA256.bin``. The page checks what it fetched against it."""
    return f"{model.manifest.name}.{model.sha256}.bin"


@cache
def assets(model: EdgeModel | None = None) -> Mapping[str, Asset]:
    """The files that a page needs, by name: the modules and ``model`` (the shipped one)."""
    model = model or shipped()
    files = {name: Asset(_static(name), _KINDS["js"]) for name in MODULES}
    return files | {file_name(model): Asset(model.to_bytes(), "application/octet-stream", immutable=True)}


@cache
def served() -> Mapping[str, Asset]:
    """What a server has under ``/edge/``: :func:`assets` of the shipped model, and the module that releases others."""
    return {**assets(), RELEASE: Asset(_static(RELEASE), _KINDS["js"])}


def peers(model: EdgeModel | None, kind: str) -> Mapping[str, bytes]:
    """The files for another runtime: ``onnx`` or ``tfjs``.

    Raises:
        InputError: the package onnx is needed, and not installed.
    """
    model = model or shipped()
    files = to_tfjs(model) if kind == "tfjs" else {"model.onnx": to_onnx(model)}
    manifest = msgspec.json.format(msgspec.json.encode(model.manifest))
    return {**files, "manifest.json": manifest, **{name: _static(name) for name in (PEERS, "arauto-edge-core.js")}}


def example(model: EdgeModel | None = None) -> Mapping[str, Asset]:
    """:func:`assets`, and the example page with its style and script."""
    model = model or shipped()
    files = {name: Asset(_static(name), _KINDS[name.rpartition(".")[2]]) for name in _EXAMPLE}
    page = files.pop("example.html")
    files[""] = Asset(page.body.replace(b"MODEL", file_name(model).encode()), page.kind)
    return {**assets(model), **files}


def _static(name: str) -> bytes:
    body = resources.files("arauto.edge").joinpath(f"static/{name}").read_bytes()
    return _REMARKS.sub(b"", body) if name.endswith(".js") else body


@cache
def _squeezed(body: bytes) -> bytes:
    return gzip.compress(body, 9)


@contextmanager
def serving(files: Mapping[str, Asset], port: int = 0, *, policy: str = POLICY) -> Iterator[str]:
    """Serve ``files`` on localhost while the block runs; gives the address. For a demonstration, not for a shop."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            asset = files.get(urlsplit(self.path).path[1:])
            body = asset.body if asset else b"not here"
            self.send_response(200 if asset else 404)
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body = _squeezed(body)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Type", asset.kind if asset else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", policy)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header(
                "Cache-Control",
                "public, max-age=31536000, immutable" if asset and asset.immutable else "public, max-age=300",
            )
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
