"""Violations planted in a sound kit, each rule at least once: what ``check_kit`` has to find, for the tests and the
benchmark. A violation changes the kit, or a file of a copy of its folder, and names the rule that must speak."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from PIL import Image

from arauto.core.brief import Claim
from arauto.core.kit import Asset, Kit, Provenance

TEXT, BANNER, SMALL, STORY, ZIP, COMPANION = (
    "text-google-rsa", "banner-300x250-a", "banner-728x90-a", "banner-1080x1920-a", "html5-300x250-a",
    "banner-640x640-a",
)  # fmt: skip
Plant = Callable[[Kit, Path], Kit]


class Planted(NamedTuple):
    """One violation: the rule that must find it, at which asset (empty: the kit), and how it is planted."""

    rule: str
    place: str
    plant: Plant
    name: str = ""


def of(kit: Kit, asset_id: str) -> Asset:
    """The asset of that id."""
    return next(asset for asset in kit.assets if asset.id == asset_id)


def put(kit: Kit, asset: Asset) -> Kit:
    """The kit with ``asset`` in place of the one of its id."""
    return msgspec.structs.replace(kit, assets=tuple(asset if one.id == asset.id else one for one in kit.assets))


def fields(asset_id: str, **values: Any) -> Plant:
    """Other fields of an asset."""
    return lambda kit, _: put(kit, msgspec.structs.replace(of(kit, asset_id), **values))


def facts(asset_id: str, **values: str) -> Plant:
    """Other facts of an asset."""
    return lambda kit, _: put(
        kit, msgspec.structs.replace(of(kit, asset_id), facts={**of(kit, asset_id).facts, **values})
    )


def add(asset_id: str, words: str) -> Plant:
    """More words on an asset."""
    return lambda kit, _: put(
        kit, msgspec.structs.replace(of(kit, asset_id), words=f"{of(kit, asset_id).words}\n{words}")
    )


def brief(**values: Any) -> Plant:
    """Other fields of the brief."""
    return lambda kit, _: msgspec.structs.replace(kit, brief=msgspec.structs.replace(kit.brief, **values))


def both(*plants: Plant) -> Plant:
    """One after the other."""

    def plant(kit: Kit, folder: Path) -> Kit:
        for one in plants:
            kit = one(kit, folder)
        return kit

    return plant


def content(asset_id: str, change: Callable[[bytes], bytes]) -> Plant:
    """Another file, its hash and size noted as if it had been made so."""

    def plant(kit: Kit, folder: Path) -> Kit:
        asset = of(kit, asset_id)
        body = change((folder / asset.path).read_bytes())
        (folder / asset.path).write_bytes(body)
        return put(kit, msgspec.structs.replace(asset, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body)))

    return plant


def text(part: str, *texts: str, asset_id: str = TEXT, keep: bool = True) -> Plant:
    """Other texts in a part of a placement, in its file and in its words."""

    def change(body: bytes) -> bytes:
        data = msgspec.json.decode(body)
        data["parts"][part] = [*texts, *(data["parts"][part][len(texts) :] if keep else [])]
        return msgspec.json.encode(data)

    return both(content(asset_id, change), fields(asset_id, words="\n".join(texts)))


def page(change: Callable[[str], str]) -> Plant:
    """Another page in the HTML5 bundle."""
    return content(
        ZIP,
        lambda body: rezip(body, lambda files: files | {"index.html": change(files["index.html"].decode()).encode()}),
    )


def rezip(body: bytes, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> bytes:
    """A bundle with other files."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in change(files).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def picture(asset_id: str, change: Callable[[Image.Image], Image.Image], kind: str = "PNG") -> Plant:
    """Other pixels."""

    def repaint(body: bytes) -> bytes:
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(body)) as opened:
            change(opened.convert("RGB")).save(buffer, kind)
        return buffer.getvalue()

    return content(asset_id, repaint)


def drawn(asset_id: str, role: str, **values: Any) -> Plant:
    """Another place or size of a drawn text."""

    def plant(kit: Kit, _: Path) -> Kit:
        asset = of(kit, asset_id)
        boxes = msgspec.json.decode(asset.detail["drawn"])
        changed = [{**box, **values} if box["role"] == role else box for box in boxes]
        return put(
            kit, msgspec.structs.replace(asset, detail={**asset.detail, "drawn": msgspec.json.encode(changed).decode()})
        )

    return plant


def without(asset_id: str, role: str) -> Plant:
    """A text that is not drawn."""

    def plant(kit: Kit, _: Path) -> Kit:
        asset = of(kit, asset_id)
        boxes = [box for box in msgspec.json.decode(asset.detail["drawn"]) if box["role"] != role]
        words = "\n".join(line for line in asset.words.splitlines() if kit.message.brand not in line)
        return put(
            kit,
            msgspec.structs.replace(
                asset, words=words, detail={**asset.detail, "drawn": msgspec.json.encode(boxes).decode()}
            ),
        )

    return plant


def _missing(kit: Kit, folder: Path) -> Kit:
    (folder / of(kit, BANNER).path).unlink()
    return kit


def _noise(size: tuple[int, int]) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise(size, 120) for _ in range(3)])


def _made(asset_id: str, **values: Any) -> Plant:
    return lambda kit, _: put(
        kit,
        msgspec.structs.replace(of(kit, asset_id), made=msgspec.structs.replace(of(kit, asset_id).made, **values)),
    )


def _style(rule: str) -> Callable[[str], str]:
    return lambda source: source.replace("</style>", f"{rule}</style>")


PLANTED: tuple[Planted, ...] = (
    Planted("KIT-FILE", BANNER, _missing),
    Planted(
        "KIT-FILE", BANNER, lambda kit, folder: (folder / of(kit, BANNER).path).write_bytes(b"x") and kit, "altered"
    ),
    Planted("KIT-PROVENANCE", BANNER, fields(BANNER, made=Provenance(engine=""))),
    Planted("KIT-PROVENANCE", BANNER, _made(BANNER, source_type="trainedAlgorithmicMedia"), "over-claimed"),
    Planted("KIT-PROVENANCE", BANNER, _made(BANNER, engine="openai"), "under-claimed"),
    Planted("KIT-ALT", BANNER, fields(BANNER, alt=" ")),
    Planted(
        "KIT-LINK",
        "",
        lambda kit, _: msgspec.structs.replace(kit, message=msgspec.structs.replace(kit.message, link="")),
    ),
    Planted(
        "KIT-HTTPS",
        "",
        lambda kit, _: msgspec.structs.replace(
            kit, message=msgspec.structs.replace(kit.message, link="http://vitalis.example")
        ),
    ),
    Planted("TEXT-FORM", TEXT, content(TEXT, lambda _: b"{}")),
    Planted("TEXT-LENGTH", TEXT, text("headline", "Smartwatch que monitora batimentos")),
    Planted(
        "TEXT-LENGTH-SOFT", "text-meta", text("headline", "Smartwatch que monitora batimentos", asset_id="text-meta")
    ),
    Planted("TEXT-COUNT", TEXT, text("headline", "Monitora batimentos", keep=False)),
    Planted("TEXT-UNIQUE", TEXT, text("headline", "Bateria de 7 dias", "Bateria de 7 dias")),
    Planted(
        "TEXT-TIKTOK", "text-tiktok", text("description", "Bateria de 7 dias #smartwatch.", asset_id="text-tiktok")
    ),
    Planted("BAN-SIZE", BANNER, picture(BANNER, lambda one: one.resize((299, 250)))),
    Planted("BAN-WEIGHT", BANNER, picture(BANNER, lambda one: _noise(one.size))),
    Planted("BAN-FORMAT", BANNER, picture(BANNER, lambda one: one, "GIF")),
    Planted("BAN-FORMAT", COMPANION, picture(COMPANION, lambda one: one), "companion"),
    Planted(
        "BAN-CONTRAST",
        BANNER,
        picture(BANNER, lambda one: Image.blend(one, Image.new("RGB", one.size, one.getpixel((2, 2))), 0.8)),
    ),
    Planted("BAN-FIT", BANNER, drawn(BANNER, "headline", fit=False)),
    Planted("BAN-SMALL", BANNER, drawn(BANNER, "sub", size=6.0)),
    Planted("BAN-INSIDE", BANNER, drawn(BANNER, "action", x=280.0)),
    Planted("BAN-SAFE", STORY, drawn(STORY, "headline", y=60.0)),
    Planted("BAN-ACTION", BANNER, fields(BANNER, words="Vitalis\nSmartwatch\nR$ 799,90")),
    Planted("BAN-BRAND", BANNER, without(BANNER, "brand")),
    Planted("BAN-DISCLAIMER", BANNER, without(BANNER, "fine")),
    Planted("H5-FORM", ZIP, content(ZIP, lambda _: b"PK")),
    Planted(
        "H5-FORM", ZIP, content(ZIP, lambda body: rezip(body, lambda files: files | {"../evil.js": b""})), "leads out"
    ),
    Planted("H5-SIZE", ZIP, page(lambda source: source.replace("width=300,", "width=320,"))),
    Planted("H5-CLICK", ZIP, page(lambda source: source.replace("clickTag", "clicked"))),
    Planted(
        "H5-HTTPS", ZIP, page(lambda source: source.replace('src="ground.webp"', 'src="http://cdn.example/a.webp"'))
    ),
    Planted(
        "H5-INSIDE", ZIP, page(lambda source: source.replace('src="ground.webp"', 'src="https://cdn.example/a.webp"'))
    ),
    Planted(
        "H5-BACKUP",
        ZIP,
        content(
            ZIP,
            lambda body: rezip(
                body, lambda files: {name: data for name, data in files.items() if "backup" not in name}
            ),
        ),
    ),
    Planted(
        "H5-WEIGHT",
        ZIP,
        content(ZIP, lambda body: rezip(body, lambda files: files | {"big.bin": _noise((260, 260)).tobytes()})),
    ),
    Planted(
        "H5-FILES",
        ZIP,
        content(ZIP, lambda body: rezip(body, lambda files: files | {f"{n}.txt": b"" for n in range(41)})),
    ),
    Planted(
        "H5-REQUESTS",
        ZIP,
        page(lambda source: source.replace("</a>", "".join(f'<img src="{n}.png" alt="">' for n in range(11)) + "</a>")),
    ),
    Planted("H5-STORAGE", ZIP, page(lambda source: source.replace("</script>", "localStorage.x = 1;</script>"))),
    Planted("H5-TIME", ZIP, page(_style("#words { animation: come 8s 0s 2; }"))),
    Planted("H5-LOOPS", ZIP, page(_style("#words { animation: come 1s infinite; }"))),
    Planted("H5-MOTION", ZIP, page(lambda source: source.replace("prefers-reduced-motion", "prefers-more"))),
    Planted("H5-PAUSE", ZIP, page(_style("#words { animation: come 3s 0s 2; }"))),
    Planted(
        "H5-FLASH",
        ZIP,
        page(_style("@keyframes blink { 0% { opacity: 1 } 50% { opacity: 0 } } #words { animation: blink .2s 3; }")),
    ),
    Planted("H5-ALT", ZIP, page(lambda source: source.replace("aria-label", "data-label"))),
    Planted(
        "H5-SOUND", ZIP, page(lambda source: source.replace("</a>", '<video autoplay src="ground.webp"></video></a>'))
    ),
    Planted("COH-FACT", BANNER, facts(BANNER, price="R$ 779,90")),
    Planted("COH-FACT", TEXT, facts(TEXT, link="https://other.example"), "link"),
    Planted("COH-FACT", SMALL, facts(SMALL, call_to_action="Compre"), "call to action"),
    Planted("COH-WORDS", BANNER, fields(BANNER, words="Vitalis\nSmartwatch\nVer detalhes")),
    Planted("COH-NUMBER", BANNER, add(BANNER, "Garantia de 5 anos")),
    Planted(
        "COH-CLAIM", BANNER, both(brief(claims=(Claim(text="Resistente à chuva"),)), add(BANNER, "Resistente à chuva"))
    ),
    Planted("COH-BRAND", BANNER, fields(BANNER, words="R$ 799,90\nVer detalhes")),
    Planted(
        "COH-MEANING",
        BANNER,
        fields(
            BANNER,
            words="Vitalis\nCafé torrado na fazenda, moído e entregue fresco toda semana\nVer detalhes",
        ),
    ),
    Planted(
        "COH-PICTURE",
        BANNER,
        lambda kit, _: put(
            kit, msgspec.structs.replace(of(kit, BANNER), detail={**of(kit, BANNER).detail, "picture": "cup"})
        ),
    ),
    Planted(
        "COH-DISCLAIMER",
        "banner",
        lambda kit, _: msgspec.structs.replace(
            kit,
            assets=tuple(
                msgspec.structs.replace(one, words="", facts={}) if one.medium == "banner" else one
                for one in kit.assets
            ),
        ),
    ),
    Planted("BR-01", TEXT, text("headline", "O melhor smartwatch")),
    Planted("BR-02", TEXT, text("headline", "Clinicamente testado")),
    Planted("BR-03", BANNER, brief(description="Campanha com influenciadores.")),
    Planted("BR-04", TEXT, text("headline", "Frete grátis")),
    Planted("BR-05", BANNER, add(BANNER, "Preço de fábrica")),
    Planted("BR-06", TEXT, text("description", "Smartwatch melhor que a concorrência.")),
    Planted("BR-07", BANNER, brief(description="Antibiótico vendido com receita médica.")),
    Planted("BR-07-OTC", BANNER, brief(description="Analgésico de venda livre.")),
    Planted("BR-08", TEXT, text("headline", "Previne doenças do coração")),
    Planted("BR-08-CHILD", BANNER, both(brief(description="Suplemento vitamínico."), add(BANNER, "Para as crianças"))),
    Planted("BR-09", BANNER, brief(description="Cerveja artesanal.")),
    Planted("BR-09-DRINK", BANNER, both(brief(description="Cerveja artesanal."), add(BANNER, "Beba gelada"))),
    Planted("BR-09-YOUNG", BANNER, both(brief(description="Cerveja artesanal."), add(BANNER, "Volta da escola"))),
    Planted("BR-09-AGE", "", brief(description="Cerveja artesanal.", age_range=(18, 30))),
    Planted("BR-10", BANNER, brief(description="Site de apostas.")),
    Planted("BR-10-LICENCE", BANNER, brief(description="Site de apostas.")),
    Planted("BR-10-GAIN", BANNER, both(brief(description="Site de apostas."), add(BANNER, "Renda extra"))),
    Planted("BR-11", TEXT, text("headline", "Smartwatch sustentável")),
    Planted("BR-12", "", brief(age_range=(14, 20))),
    Planted("BR-13", BANNER, _made(BANNER, engine="openai", source_type="compositeWithTrainedAlgorithmicMedia")),
    Planted("BR-14", BANNER, add(BANNER, "Antes que seja tarde demais, ou você perde tudo: dá azar")),
    Planted("LGPD-1", "", brief(audience="pessoas com diabetes")),
    Planted("META-PERSONAL", TEXT, text("headline", "Você, que está acima do peso")),
    Planted("OFFER-PAYMENT", TEXT, text("headline", "Em 12x sem juros no Pix")),
    Planted("FACT-NUMBER", TEXT, text("headline", "Bateria de 9 dias")),
    Planted("ED-EMOJI", TEXT, text("headline", "Bateria de 7 dias ⚡")),
    Planted("TXT-EUROPEAN", TEXT, text("description", "No ecrã do seu telemóvel, a bateria de 7 dias.")),
)
"""Every violation."""
