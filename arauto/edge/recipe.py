"""How the shipped model is made, the same file each time, and what is written beside a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from arauto.edge.generate import Example, generate
from arauto.edge.model import EdgeModel
from arauto.edge.text import Features
from arauto.edge.train import NEGATORS, Trained, TrainPlan, train

NAME, VERSION = "sentiment", "1.1.0"
TEXTS = 50_000
SEED = 7
SHIPPED = TrainPlan(
    rows_log2=17,
    kept=27_000,
    features=Features(negators=NEGATORS, words=2),
    steps=40,
    temperature=2.3,
    unsure=0.5,
)
"""The plan of the shipped model; ``kept`` is what 33 kB compressed hold. The temperature is the one that fits texts
written for the purpose (bench/data/edge_dev.tsv); no public text taught it a weight (docs/edge.md)."""
TAUGHT = (0.3, 0.0, 1.0)
"""What texts composed by rule may count beside somebody's own; the trainer chooses."""
OWN = msgspec.structs.replace(SHIPPED, temperature=None, unsure=0.0, taught=TAUGHT)
"""A plan for somebody's own texts, as small as the shipped model's."""
RESEARCH = TrainPlan(
    rows_log2=20,
    features=Features(negators=NEGATORS, words=2, chars=(2, 3, 4, 5)),
    decay=2.8e-5,
    balance=0.5,
    taught=TAUGHT,
    freedom=3,
)
"""A plan for a server or a measurement: large, and as accurate as this kind of model gets."""
DATA = (
    "Only texts that were composed by rule from word lists and phrases written for this project "
    f"(arauto/edge/generate.py, {TEXTS} texts, seed {SEED}). No text of any person or public corpus."
)


class Golden(msgspec.Struct, frozen=True):
    """A text and what the model must say of it, to the last integer, wherever it runs."""

    text: str
    n: int
    logits: tuple[int, ...]
    shares: tuple[int, ...]
    label: str | None


class Release(msgspec.Struct, frozen=True):
    """What stands beside a model file: its hash and size, and the manifest's words, for people and tools."""

    file: str
    sha256: str
    bytes: int
    name: str
    version: str
    languages: tuple[str, ...]
    labels: tuple[str, ...]
    data: str
    metrics: dict[str, float]


def train_shipped(texts: int = TEXTS) -> Trained:
    """The shipped model, from nothing but this package (minutes; the same bytes with the same numpy)."""
    examples = list(generate(texts, SEED))
    return train(examples, SHIPPED, name=NAME, version=VERSION, languages=("pt-BR", "en"), data=DATA)


def train_research(known: Sequence[Example]) -> Trained:
    """A large model of somebody's own labelled texts."""
    return train(known, RESEARCH, name="research", version="1", languages=("pt-BR",), data="labelled texts")


_PROBES = (
    "",
    "😍😍 Amei! Chegou antes do prazo, recomendo :)",
    "Não recomendo. Veio com defeito e ninguém responde!!!",
    "Qual o prazo de entrega?",
    "nao é ruim, mas esperava mais...",
    "I don't like it, d’água ß Æ ŉ 中文 \u0301 <3 :D",
    "MUUUUITO BOM https://example.com/x @someone 12,50",
)


def golden(model: EdgeModel, count: int = 200, seed: int = 11) -> list[Golden]:
    """Golden vectors: hard cases, and generated texts."""
    texts = [*_PROBES, *(example.text for example in generate(max(0, count - len(_PROBES)), seed))]
    return [judge(model, text) for text in texts]


def judge(model: EdgeModel, text: str) -> Golden:
    """What ``model`` says of a text, as a golden vector."""
    said = model.predict(text)
    return Golden(text=text, n=said.n, logits=said.logits, shares=said.shares, label=said.label)


def with_metrics(model: EdgeModel, metrics: dict[str, float]) -> EdgeModel:
    """The same model with figures in its manifest."""
    kept = {name: round(value, 4) for name, value in metrics.items() if math.isfinite(value)}
    return model.renewed(msgspec.structs.replace(model.manifest, metrics=kept))


def write(model: EdgeModel, path: Path, vectors: Sequence[Golden] | None = None) -> Release:
    """Write the model to ``path`` and, beside it, ``.json`` (the release) and ``.golden.json``."""
    raw, manifest = model.to_bytes(), model.manifest
    release = Release(
        file=path.name,
        sha256=model.sha256,
        bytes=len(raw),
        name=manifest.name,
        version=manifest.version,
        languages=manifest.languages,
        labels=manifest.labels,
        data=manifest.data,
        metrics=manifest.metrics,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(release)) + b"\n")
    rows = b",\n".join(msgspec.json.encode(row) for row in (golden(model) if vectors is None else vectors))
    path.with_suffix(".golden.json").write_bytes(b"[\n" + rows + b"\n]\n")
    return release
