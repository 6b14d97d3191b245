"""HTML5 banners: the layers of a design as pictures that come in one after the other, in a zip that ad servers take.

The words are pictures, so that they look the same everywhere; their text stands in the page's label for those who
listen. The animation ends by itself within three seconds, and is left out for readers who wish for less motion.
"""

from __future__ import annotations

import hashlib
import html
import json
import zipfile
from io import BytesIO

import msgspec
from PIL import Image

from arauto.core.brief import Message
from arauto.core.errors import EngineError
from arauto.core.kit import Asset
from arauto.creative.banner.render import Design, Renderer, within

# Each layer: its file, the roles in it, and when it begins (seconds); None stands still.
_LAYERS: tuple[tuple[str, tuple[str, ...], float | None], ...] = (
    ("ground", ("ground",), None),
    ("picture", ("picture",), 0.1),
    ("words", ("brand", "rule", "headline", "sub"), 0.5),
    ("offer", ("was", "price"), 1.1),
    ("action", ("action", "fine"), 1.6),
)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PAGE = """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="ad.size" content="width={width},height={height}">
<title>{title}</title>
<script>var clickTag = {link};</script>
<style>
html, body {{ margin: 0; }}
#ad {{ position: relative; display: block; width: {width}px; height: {height}px; overflow: hidden;
  cursor: pointer; background: {fill}; }}
#ad img {{ position: absolute; left: 0; top: 0; width: {width}px; height: {height}px; display: block; }}
#ad::after {{ content: ""; position: absolute; inset: 0; border: 1px solid rgba(0, 0, 0, .18); pointer-events: none; }}
{moves}
@keyframes come {{ from {{ opacity: 0; transform: translateY({lift}px); }} to {{ opacity: 1; transform: none; }} }}
@media (prefers-reduced-motion: reduce) {{ #ad img {{ animation: none; }} }}
</style>
</head>
<body>
<a id="ad" href="javascript:void(window.open(window.clickTag))" aria-label="{alt}">
{images}
</a>
</body>
</html>
"""


def bundle(renderer: Renderer, design: Design, static: Asset, image: bytes, message: Message) -> tuple[Asset, bytes]:
    """The HTML5 bundle of a design, as an asset beside its ``static`` one (whose file is ``image``), and its bytes.

    Raises:
        EngineError: when it cannot be made light enough.
    """
    for colours in (0, 128, 48):
        files = _files(renderer, design, static, image, message, colours)
        body = _zip(files)
        if len(body) <= design.place.initial * 1024:
            break
    else:
        raise EngineError(f"{static.id} is too heavy as HTML5", field="banner", mend="use a simpler picture")
    asset = msgspec.structs.replace(
        static,
        id=static.id.replace("banner-", "html5-"),
        path=f"{static.path.rsplit('.', 1)[0]}.zip",
        media_type="application/zip",
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
        duration_s=2.2,
        detail={**static.detail, "files": " ".join(sorted(files))},
    )
    return asset, body


def _files(
    renderer: Renderer, design: Design, static: Asset, image: bytes, message: Message, colours: int
) -> dict[str, bytes]:
    drawn_roles = {text["role"] for text in json.loads(static.detail["drawn"])}
    op_roles = {op.get("role", "ground") for op in design.ops if op["op"] != "stack"}
    files: dict[str, bytes] = {}
    moves, images = [], []
    for name, roles, start in _LAYERS:
        if name != "ground" and not set(roles) & (drawn_roles | op_roles):
            continue
        layer, _ = renderer.draw(design, only=roles)
        files[f"{name}.webp"] = _webp(layer, colours)
        images.append(f'<img id="{name}" src="{name}.webp" alt="">')
        if start is not None:
            moves.append(f"#{name} {{ animation: come .6s ease-out {start}s 1 both; }}")
    ending = static.path.rsplit(".", 1)[1]
    files[f"backup.{ending}"] = within(image, design.place.initial * 300)[0] if colours else image
    width, height = design.place.size
    page = _PAGE.format(
        lang=design.language, width=width, height=height, title=html.escape(static.alt, quote=True),
        link=json.dumps(message.link or "https://example.com/").replace("<", "\\u003c"),
        fill=design.fill, lift=max(4, height // 30), moves="\n".join(moves), images="\n".join(images),
        alt=html.escape(" ".join(static.words.split()), quote=True),
    )  # fmt: skip
    files["index.html"] = page.encode()
    return files


def _webp(png: bytes, colours: int) -> bytes:
    """The lightest WebP of a layer; with ``colours``, of that many."""
    with Image.open(BytesIO(png)) as opened:
        picture = opened.convert("RGBA")
    if colours:
        picture = picture.quantize(colours, method=Image.Quantize.FASTOCTREE).convert("RGBA")
    if picture.getchannel("A").getextrema()[0] == 255:
        picture = picture.convert("RGB")
    bodies = []
    for options in ({"lossless": True, "quality": 60, "method": 4}, {"quality": 88, "method": 4}):
        buffer = BytesIO()
        picture.save(buffer, "WEBP", **options)
        bodies.append(buffer.getvalue())
    return bodies[0] if len(bodies[0]) < 1.6 * len(bodies[1]) else bodies[1]


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()
