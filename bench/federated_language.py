"""Local language: eight regional servers, two for each of pt-BR, pt-PT, en and es, fine-tune LoRA adapters of a
small generator on their own texts; masked and averaged. Held-out perplexity of each language against the same adapter
trained on all texts in one place, and against the adapter that one server of each language trains alone.

The texts are paragraphs of LibreOffice's help (MPL-2.0), one ``LANGUAGE.tsv`` each (document, tab, paragraph) in the
folder that ``LANGUAGE_DIR`` names: of Debian's libreoffice-help-pt-br, -pt, -en-us and -es 7.4.7, every HTML
``p`` whose class says paragraph and whose text has 40 to 240 characters, the document being its path. The
base is tiny, made here on other chapters of all four languages: no language model of a useful size trains in minutes on
two cores. What is shown is the learning, not the writing.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from arauto.core.errors import ConflictError, InputError
from arauto.federated import Server, decode, encode, new_offer, play
from arauto.federated.wire import Privacy
from arauto.gpo import Generator, LanguagePolicy
from arauto.gpo.lm import tiny_generator

LANGUAGES = ("pt-BR", "pt-PT", "en", "es")
GENERAL, OWN = ("shared/", "swriter/", "sbasic/"), ("scalc/", "schart/", "simpress/", "sdatabase/")
"""Chapters that the base is made of, and those that the regions write in."""
SERVERS, DOCUMENTS, HELD = 2, 30, 60
"""Of each language: servers, documents of a server, documents held out to choose by and as many to judge by."""
TOKENS, BATCH = 40, 16
VOCABULARY, WIDTH, LAYERS, BASE_STEPS = 1536, 96, 2, 500
ROUNDS, LOCAL_STEPS, ALONE_STEPS, LOOK, LOOKS = 160, 2, 240, 20, 16
"""Two steps a round: who goes far on texts of one language goes apart from the others (client drift)."""
RANK, RATE, CLIP = 8, 3e-3, 50.0
LOCAL_RATE = 1.0
SERVER = Server(rate=1e-2, adam=True, tau=1e-4)
"""FedAdam (Reddi et al. 2021): plain steps on the servers, Adam over their mean, its rate falling to nothing."""
Text = list[list[int]]
Vector = NDArray[np.float64]


def flat(parameters: list[torch.nn.Parameter]) -> Vector:
    return np.concatenate([one.detach().numpy().ravel() for one in parameters]).astype(np.float64)


def put(parameters: list[torch.nn.Parameter], values: Vector) -> None:
    at = 0
    with torch.no_grad():
        for one in parameters:
            part = values[at : at + one.numel()].reshape(one.shape)
            one.copy_(torch.from_numpy(part.astype(np.float32)))
            at += one.numel()


def read(language: str) -> dict[str, list[str]]:
    """Paragraphs by document."""
    folder = os.environ.get("LANGUAGE_DIR")
    if not folder:
        raise InputError("is not set", field="LANGUAGE_DIR", mend="name a folder with pt-BR.tsv and the others")
    found: dict[str, list[str]] = {}
    for line in (Path(folder) / f"{language}.tsv").read_text("utf-8").splitlines():
        document, _, text = line.partition("\t")
        if text not in found.setdefault(document, []):
            found[document].append(text)
    return found


class Split:
    """A translation of a document is never on two sides: documents are dealt out by name, alike in every language."""

    def __init__(self) -> None:
        self.texts = {language: read(language) for language in LANGUAGES}
        shared = sorted(set.intersection(*(set(one) for one in self.texts.values())))
        own = [name for name in shared if name.startswith(OWN)]
        order = np.random.default_rng(5).permutation(len(own))
        self.own = [own[n] for n in order]
        self.general = [name for name in shared if name.startswith(GENERAL)]

    def of(self, language: str, names: list[str]) -> list[str]:
        return [text for name in names for text in self.texts[language][name]]

    def base(self) -> list[str]:
        return [text for language in LANGUAGES for text in self.of(language, self.general)]

    def choose(self, language: str) -> list[str]:
        return self.of(language, self.own[:HELD])

    def judge(self, language: str) -> list[str]:
        return self.of(language, self.own[HELD : 2 * HELD])

    def server(self, language: str, number: int) -> list[str]:
        """Each server of each language has documents of its own: nobody has another's, nor its translation."""
        at = 2 * HELD + DOCUMENTS * (SERVERS * LANGUAGES.index(language) + number)
        return self.of(language, self.own[at : at + DOCUMENTS])


def rows_of(generator: Generator, texts: list[str]) -> Text:
    return [[generator.begin, *generator.encode(text)[: TOKENS - 2], generator.end] for text in texts]


def batch_of(rows: Text, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.full((len(rows), max(map(len, rows))), pad, dtype=torch.long)
    targets = torch.full_like(tokens, -100)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
        targets[place, : len(row)] = torch.tensor(row)
    return tokens, targets


def loss_of(model: Any, rows: Text, pad: int, reduction: str = "mean") -> torch.Tensor:
    tokens, targets = batch_of(rows, pad)
    logits = model(input_ids=tokens, attention_mask=(targets != -100).long()).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100, reduction=reduction
    )


def perplexity(model: Any, rows: Text, pad: int) -> float:
    """Of each token after the first, over all rows."""
    total, count = 0.0, 0
    with torch.no_grad():
        for at in range(0, len(rows), 64):
            part = rows[at : at + 64]
            total += float(loss_of(model, part, pad, "sum"))
            count += sum(len(row) - 1 for row in part)
    return math.exp(total / count)


def learn(
    model: Any, parameters: list[torch.nn.Parameter], rows: Text, pad: int, steps: int, draw: np.random.Generator,
    rate: float,
) -> None:  # fmt: skip
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    _descend(optimiser, model, parameters, rows, pad, steps, draw)


def _descend(
    optimiser: torch.optim.Optimizer, model: Any, parameters: list[torch.nn.Parameter], rows: Text, pad: int,
    steps: int, draw: np.random.Generator,
) -> None:  # fmt: skip
    for _ in range(steps):
        chosen = draw.choice(len(rows), min(BATCH, len(rows)), replace=False)
        optimiser.zero_grad()
        loss_of(model, [rows[n] for n in chosen], pad).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()


def plain(
    model: Any, parameters: list[torch.nn.Parameter], rows: Text, pad: int, steps: int, draw: np.random.Generator
) -> None:
    """Steps of stochastic gradient descent, gradients of norm one at most: nothing to remember between rounds."""
    optimiser = torch.optim.SGD(parameters, lr=LOCAL_RATE)
    _descend(optimiser, model, parameters, rows, pad, steps, draw)


def averaged(changes: list[Vector]) -> tuple[Vector, int]:
    """The mean of the servers' changes, through the masks."""
    key = Ed25519PrivateKey.generate()
    offer = new_offer(
        key, round_id=secrets.token_bytes(16), task="language", model="00" * 32, dim=len(changes[0]),
        quantum=1e-6, privacy=Privacy(clip=CLIP), clients=len(changes),
    )  # fmt: skip
    found = play(offer, key, [lambda offer, one=one: encode(one, offer) for one in changes])  # type: ignore[misc]
    if found.outcome is None:
        raise ConflictError(found.reason, field="round", mend="try again")
    return decode(found.outcome.total, offer) / found.outcome.live, found.outcome.live


class Trial:
    """The base with its adapter, the texts as tokens, and the three ways to train."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.split = Split()
        base = self.split.base()
        some = np.random.default_rng(0).choice(len(base), 6000, replace=False)
        self.generator = tiny_generator(
            [base[n] for n in some], seed=0, vocabulary=VOCABULARY, width=WIDTH, layers=LAYERS
        )
        self.model, self.pad = self.generator.model.train(), self.generator.end
        self.general = rows_of(self.generator, [base[n] for n in some])
        self.choose = {one: self.rows(self.split.choose(one), 150) for one in LANGUAGES}
        self.judge = {one: self.rows(self.split.judge(one), 300) for one in LANGUAGES}
        self.servers = [
            (language, self.rows(self.split.server(language, n), 10_000))
            for language in LANGUAGES
            for n in range(SERVERS)
        ]

    def rows(self, texts: list[str], most: int) -> Text:
        return rows_of(self.generator, texts[:most])

    def make_base(self) -> None:
        learn(
            self.model,
            list(self.model.parameters()),
            self.general,
            self.pad,
            BASE_STEPS,
            np.random.default_rng(1),
            3e-3,
        )
        adapters = LanguagePolicy(self.generator, (), rank=RANK).parameters()
        self.parameters = [one for name, one in adapters.items() if name != "value"]
        self.start = flat(self.parameters)

    def told(self, rows: dict[str, Text]) -> dict[str, float]:
        return {language: perplexity(self.model, some, self.pad) for language, some in rows.items()}

    def best(self, kept: list[tuple[Vector, float]]) -> Vector:
        return min(kept, key=lambda one: one[1])[0]

    def mean(self) -> float:
        return float(np.mean([math.log(one) for one in self.told(self.choose).values()]))

    def federated(self) -> Vector:
        now, kept, state = self.start, [], b""
        draws = [np.random.default_rng([2, n]) for n in range(len(self.servers))]
        for number in range(ROUNDS):
            changes = []
            for (_, rows), draw in zip(self.servers, draws, strict=True):
                put(self.parameters, now)
                plain(self.model, self.parameters, rows, self.pad, LOCAL_STEPS, draw)
                changes.append(flat(self.parameters) - now)
            change, _ = averaged(changes)
            falling = msgspec.structs.replace(SERVER, rate=SERVER.rate * (1 - number / ROUNDS))
            now, state = falling.step(now, change, state)
            if (number + 1) % LOOK == 0:
                put(self.parameters, now)
                kept.append((now, self.mean()))
                print("federated", number + 1, kept[-1][1], flush=True)
        return self.best(kept)

    def centralised(self) -> Vector:
        """As many steps as all servers together took, each over a draw of all texts; the same fall of the rate."""
        put(self.parameters, self.start)
        rows, draw, kept = [row for _, some in self.servers for row in some], np.random.default_rng(3), []
        steps = ROUNDS * LOCAL_STEPS * len(self.servers)
        for number in range(LOOKS):
            learn(self.model, self.parameters, rows, self.pad, steps // LOOKS, draw, RATE * (1 - number / LOOKS))
            if number % 2:
                kept.append((flat(self.parameters), self.mean()))
                print("centralised", number + 1, kept[-1][1], flush=True)
        return self.best(kept)

    def alone(self, language: str, rows: Text) -> float:
        """A server's own adapter, stopped where its language's texts to choose by say so."""
        put(self.parameters, self.start)
        draw, kept = np.random.default_rng(4), []
        for number in range(6):
            learn(self.model, self.parameters, rows, self.pad, ALONE_STEPS // 6, draw, RATE * (1 - number / 6))
            kept.append((flat(self.parameters), perplexity(self.model, self.choose[language], self.pad)))
        put(self.parameters, self.best(kept))
        return perplexity(self.model, self.judge[language], self.pad)


def main() -> dict[str, Any]:
    began, trial = time.process_time(), Trial()
    trial.make_base()
    base = trial.told(trial.judge)
    print("base", base, flush=True)
    alone: dict[str, float] = {}
    for language, rows in trial.servers[::SERVERS]:
        alone[language] = trial.alone(language, rows)
    print("alone", alone, flush=True)
    put(trial.parameters, trial.federated())
    federated = trial.told(trial.judge)
    put(trial.parameters, trial.centralised())
    centralised = trial.told(trial.judge)
    ratio = {one: federated[one] / centralised[one] for one in LANGUAGES}
    good = {
        "within_3_percent": all(one <= 1.03 for one in ratio.values()),
        "better_than_alone": all(federated[one] < alone[one] for one in LANGUAGES),
    }
    return {
        "texts": "paragraphs of LibreOffice 7.4's help, four languages",
        "base_parameters": sum(one.numel() for one in trial.model.parameters()) - len(trial.start),
        "adapter_parameters": len(trial.start),
        "servers": len(trial.servers),
        "paragraphs_a_server": round(float(np.mean([len(rows) for _, rows in trial.servers]))),
        "rounds": ROUNDS,
        "perplexity": {"base": base, "alone": alone, "federated": federated, "centralised": centralised},
        "federated_to_centralised": ratio,
        "cpu_seconds": round(time.process_time() - began),
        "promises": good,
        "passed": all(good.values()),
    }
