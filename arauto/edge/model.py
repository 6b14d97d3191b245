"""A classifier of some 30 kB: hashed features, a quantised embedding bag, a linear head; integers from text to answer.

With n features, rows r of the table, levels L and head H (all integers), in Python and JavaScript alike::

    a[j] = Σ L[j][code[r][j]]                       the bag, 32-bit
    m    = ⌊√(2¹⁶ n)⌋
    z[c] = bias[c] + ⌊2⁸ Σ a[j] H[j][c] / m⌋        logits to base 2, in 1/256 bit
    e[c] = ⌊EXP[d mod 256] / 2^⌊d/256⌋⌋,  d = max z − z[c],  EXP[i] = round(2³⁰ · 2^(−i/256))
    p[c] = ⌊2¹⁶ e[c] / Σ e⌋

Every product stays below 2⁵³, so a double holds it exactly; square root and division are correctly rounded (IEEE 754).

File: the eight bytes ``ARAUTOE1``, the manifest's length (32 bits, little-endian), the manifest (JSON), the codes: row
by row, one byte each, or two 4-bit codes a byte, the first in the low half. Nothing follows.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import ModelFileError
from arauto.edge.text import Features, Hasher

MAGIC = b"ARAUTOE1"
FORMAT = 1
MAX_FILE = 16 << 20
_MAX_MANIFEST = 64 << 10
ONE = 1 << 16
"""A probability of 1."""
EXP = tuple(round(2.0 ** (30 - place / 256)) for place in range(256))
_Int16 = Annotated[int, msgspec.Meta(ge=-32768, le=32767)]
_Level = Annotated[int, msgspec.Meta(ge=-127, le=127)]
_Text = Annotated[str, msgspec.Meta(max_length=2000)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is, and the small numbers of its computation. Travels inside the file.

    ``labels`` are the classes in order. ``unsure``: below this probability (of 65536) the answer is "don't know".
    ``metrics`` were measured when it was trained; ``data`` says on what. ``sha256`` is that of the codes.
    """

    format: Literal[1] = 1
    name: _Name
    version: _Name
    languages: tuple[Annotated[str, msgspec.Meta(max_length=16)], ...]
    labels: Annotated[tuple[_Name, ...], msgspec.Meta(min_length=2, max_length=32)]
    features: Features
    rows_log2: Annotated[int, msgspec.Meta(ge=4, le=22)]
    dim: Annotated[int, msgspec.Meta(ge=1, le=32)]
    bits: Literal[4, 8]
    levels: tuple[tuple[_Level, ...], ...]
    head: tuple[tuple[_Int16, ...], ...]
    bias: tuple[Annotated[int, msgspec.Meta(ge=-(2**20), le=2**20)], ...]
    unsure: Annotated[int, msgspec.Meta(ge=0, le=ONE)] = 0
    data: _Text = ""
    metrics: dict[str, float] = {}
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Prediction(msgspec.Struct, frozen=True):
    """``label`` is None for "don't know". ``logits`` (1/256 bit) and ``shares`` (of 65536) are by class."""

    label: str | None
    logits: tuple[int, ...]
    shares: tuple[int, ...]
    n: int

    @property
    def confidence(self) -> float:
        """The largest share, as a probability."""
        return max(self.shares) / ONE


def soften(logits: tuple[int, ...]) -> tuple[int, ...]:
    """The shares (of 65536) of ``logits`` in 1/256 bit."""
    top = max(logits)
    parts = [EXP[(top - z) % 256] >> min(63, (top - z) // 256) for z in logits]
    whole = sum(parts)
    return tuple(part * ONE // whole for part in parts)


class EdgeModel:
    """A loaded model. ``table`` is ``(rows, dim)``, int16: the levels, looked up."""

    def __init__(self, manifest: Manifest, codes: bytes) -> None:
        self.manifest = manifest
        self._codes = codes
        rows, dim = 1 << manifest.rows_log2, manifest.dim
        raw = np.frombuffer(codes, np.uint8)
        if manifest.bits == 4:
            raw = np.stack([raw & 15, raw >> 4], 1).reshape(-1)
        levels = np.array(manifest.levels, np.int16)
        self.table = levels[np.arange(dim), raw.reshape(rows, dim)]
        self._head = np.array(manifest.head, np.int64)
        self._hasher = Hasher(manifest.features)

    def predict(self, text: str) -> Prediction:
        """The class of ``text``, by the integer path."""
        return self.of_features(self._hasher(text))

    def of_features(self, hashes: NDArray[np.uint32]) -> Prediction:
        """The prediction for features as :class:`~arauto.edge.text.Hasher` makes them."""
        manifest = self.manifest
        if not len(hashes):
            even = soften((0,) * len(manifest.labels))
            return Prediction(label=None, logits=(0,) * len(manifest.labels), shares=even, n=0)
        bag = self.table[hashes & np.uint32((1 << manifest.rows_log2) - 1)].sum(0, dtype=np.int64)
        norm = math.isqrt(len(hashes) << 16)
        sums = (bag @ self._head).tolist()
        logits = tuple(bias + total * 256 // norm for bias, total in zip(manifest.bias, sums, strict=True))
        shares = soften(logits)
        best = max(range(len(logits)), key=logits.__getitem__)
        label = manifest.labels[best] if shares[best] >= manifest.unsure else None
        return Prediction(label=label, logits=logits, shares=shares, n=len(hashes))

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        head = msgspec.json.encode(self.manifest)
        return MAGIC + len(head).to_bytes(4, "little") + head + self._codes

    def renewed(self, manifest: Manifest) -> EdgeModel:
        """The same codes under another manifest."""
        return EdgeModel(manifest, self._codes)

    @property
    def sha256(self) -> str:
        """The hash of the whole file: part of its name, and what the browser checks."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def pack(manifest: Manifest, codes: NDArray[np.uint8]) -> EdgeModel:
    """The model of a manifest (its ``sha256`` is filled in) and codes ``(rows, dim)``."""
    flat = codes.reshape(-1)
    body = (flat if manifest.bits == 8 else flat[::2] | flat[1::2] << 4).astype(np.uint8).tobytes()
    return from_bytes(
        EdgeModel(msgspec.structs.replace(manifest, sha256=hashlib.sha256(body).hexdigest()), body).to_bytes()
    )


def from_bytes(raw: bytes, field: str = "model") -> EdgeModel:
    """The model in a file's bytes; everything is checked before anything is used.

    Raises:
        ModelFileError: too large, cut short, of a newer format, altered, or inconsistent.
    """
    if len(raw) > MAX_FILE:
        raise _bad(field, f"has {len(raw)} bytes; a model has at most {MAX_FILE}")
    if raw[: len(MAGIC)] != MAGIC:
        raise _bad(field, "is not an edge model: it does not begin with ARAUTOE1")
    start = len(MAGIC) + 4
    size = int.from_bytes(raw[len(MAGIC) : start], "little")
    if not 0 < size <= min(_MAX_MANIFEST, len(raw) - start):
        raise _bad(field, "is cut short, or its manifest's length is wrong")
    try:
        manifest = msgspec.json.decode(raw[start : start + size], type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
        raise _bad(field, f"has a manifest that this version cannot read: {failure}") from None
    codes = raw[start + size :]
    _check(manifest, codes, field)
    return EdgeModel(manifest, codes)


def load(path: Path) -> EdgeModel:
    """The model in a file.

    Raises:
        ModelFileError: there is none, or it is not one (:func:`from_bytes`).
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise _bad(str(path), f"is larger than {MAX_FILE} bytes")
        raw = path.read_bytes()
    except OSError as failure:
        raise ModelFileError(
            f"cannot be read: {failure.strerror}",
            field=str(path),
            mend="name a model file that `arauto edge train` wrote",
        ) from None
    return from_bytes(raw, str(path))


def _check(manifest: Manifest, codes: bytes, field: str) -> None:
    cells = manifest.dim << manifest.rows_log2
    classes = len(manifest.labels)
    if len(codes) * 8 != cells * manifest.bits:
        raise _bad(
            field, f"has {len(codes)} bytes of codes where {cells * manifest.bits // 8} belong: cut short or altered"
        )
    if hashlib.sha256(codes).hexdigest() != manifest.sha256:
        raise _bad(field, "was altered: the codes do not have the manifest's SHA-256")
    shapes = (
        len(manifest.levels) == manifest.dim,
        all(len(row) == 1 << manifest.bits for row in manifest.levels),
        len(manifest.head) == manifest.dim,
        all(len(row) == classes for row in manifest.head),
        len(manifest.bias) == classes,
        len(set(manifest.labels)) == classes,
    )
    if not all(shapes):
        raise _bad(field, "has a manifest that contradicts itself: levels, head, bias and labels do not fit")


def _bad(field: str, problem: str) -> ModelFileError:
    return ModelFileError(problem, field=field, mend="export or train the model again, or use the shipped one")
