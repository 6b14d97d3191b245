"""From texts to vectors: TF-IDF that needs nothing, and sentence encoders from a folder. One seam for both."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import ModelFileError
from arauto.gpo import int8
from arauto.gpo.extras import need

Vectors = NDArray[np.float32]
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_MOST_TOKENS = 64
_TENSORS = "model.safetensors"
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", _TENSORS)
_HASH = re.compile(r"[0-9a-f]{64}")


class Encoder(Protocol):
    """What a reward model sees texts through."""

    @property
    def dimension(self) -> int:
        """Columns of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a text, (n, dimension); the same text always gets the same row."""
        ...

    def config(self) -> dict[str, Any]:
        """What :func:`encoder_from` makes the same encoder of."""
        ...

    def save(self, folder: Path) -> None:
        """Put the files that :meth:`config` speaks of into ``folder``."""
        ...


class Tfidf(msgspec.Struct, frozen=True):
    """Words and word pairs, weighted by rarity, then hashed by sign into ``dimension`` columns (Weinberger 2009)."""

    idf: dict[str, float]
    dimension: int = 2048

    @classmethod
    def fit(cls, texts: Sequence[str], dimension: int = 2048, least: int = 3) -> Tfidf:
        """Terms that stand in at least ``least`` of the distinct ``texts``."""
        distinct = sorted(set(texts))
        counts = Counter(term for text in distinct for term in set(_terms(text)))
        n = len(distinct)
        return cls(
            {term: math.log((1 + n) / (1 + k)) + 1.0 for term, k in sorted(counts.items()) if k >= least}, dimension
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for term, count in Counter(_terms(text)).items():
                if weight := self.idf.get(term):
                    place = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")
                    row[place % self.dimension] += (1.0 if place >> 63 else -1.0) * weight * (1.0 + math.log(count))
            row /= max(float(np.linalg.norm(row)), 1e-12)
        return rows

    def config(self) -> dict[str, Any]:
        return {"kind": "tfidf", "dimension": self.dimension, "idf": self.idf}

    def save(self, folder: Path) -> None:
        """Nothing: all of it stands in :meth:`config`."""


class SentenceEncoder:
    """A transformer with mean pooling, from a folder with ``config.json``, ``tokenizer.json`` and safetensors.

    Nothing in the folder is executed: weights are safetensors, and code that a folder may carry is not trusted. It
    reads in eight-bit whole numbers where the processor is fast at them (:mod:`arauto.gpo.int8`).
    """

    def __init__(self, folder: Path, batch: int = 32) -> None:
        if not (folder / _TENSORS).is_file():
            raise ModelFileError(
                f"{folder} holds no {_TENSORS}", field="encoder", mend="give a sentence encoder's folder"
            )
        self.folder = folder
        self.sha256 = sha256_of(folder / _TENSORS)
        self._batch = batch
        self._loaded: tuple[Any, Any] | None = None
        self.dimension = int(json.loads((folder / "config.json").read_text("utf-8"))["hidden_size"])

    def encode(self, texts: Sequence[str]) -> Vectors:
        torch = need("torch")
        tokenizer, model = self._load()
        rows = np.zeros((len(texts), self.dimension), np.float32)
        # Texts of like length together: little padding. Padding is masked, so the order changes nothing.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with torch.inference_mode():
            for at in range(0, len(order), self._batch):
                part = order[at : at + self._batch]
                given = tokenizer(
                    [texts[i] for i in part],
                    padding=True,
                    truncation=True,
                    max_length=_MOST_TOKENS,
                    return_tensors="pt",
                )
                pooled = self.pool(model(**given).last_hidden_state, given["attention_mask"])
                rows[part] = pooled.float().numpy()
        return rows

    def config(self) -> dict[str, Any]:
        return {"kind": "sentence", "sha256": self.sha256, "dimension": self.dimension}

    def save(self, folder: Path) -> None:
        """A copy under the name of its hash, so that ``folder`` can be moved; a hard link where the disk allows one."""
        target = folder / _folder_name(self.sha256)
        if target == self.folder or (target / _TENSORS).exists():
            return
        part = target.with_name(f"{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in _FILES:
            if (self.folder / name).is_file():
                _link(self.folder / name, part / name)
        part.replace(target)

    @staticmethod
    def pool(hidden: Any, mask: Any) -> Any:
        """The mean over a text's tokens, of length 1."""
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return need("torch").nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)

    def fresh(self) -> tuple[Any, Any]:
        """The tokenizer and the model, read anew: a caller may train it."""
        transformers = need("transformers")
        options = {"trust_remote_code": False, "local_files_only": True}
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **options)
        return tokenizer, transformers.AutoModel.from_pretrained(self.folder, use_safetensors=True, **options)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            tokenizer, model = self.fresh()
            self._loaded = tokenizer, int8.quantise(model.eval()) if int8.supported() else model.eval()
        return self._loaded


def encoder_from(config: dict[str, Any], folder: Path) -> Encoder:
    """The encoder that ``config`` describes, its files in ``folder``.

    Raises:
        ModelFileError: its files are gone, or are not the ones that the reward model was trained with.
    """
    if config["kind"] == "tfidf":
        return Tfidf({str(k): float(v) for k, v in config["idf"].items()}, int(config["dimension"]))
    encoder = SentenceEncoder(folder / _folder_name(str(config["sha256"])))
    if encoder.sha256 != config["sha256"]:
        raise ModelFileError(
            f"{encoder.folder} is not the encoder that this reward model was trained with",
            field="encoder",
            mend="put the same files back, or train anew",
        )
    return encoder


def _folder_name(sha256: str) -> str:
    if not _HASH.fullmatch(sha256):
        raise ModelFileError(f"{sha256[:80]!r} is no SHA-256", field="encoder", mend="train anew")
    return f"encoder-{sha256[:12]}"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _terms(text: str) -> list[str]:
    words = [match[0].lower() for match in _WORD.finditer(text)]
    return words + [f"{a} {b}" for a, b in pairwise(words)]
