"""The encoder: items have rows, a visitor's weighted history becomes a unit vector and a score for each item.

Vectors are the factored model (:func:`~arauto.audience.linear.factor`): the product of two visitors' vectors is how
much their predicted next items agree. Scores are full rank, kept as each item's strongest heads. Before anything is
trained, items have random vectors by their code, so that visitors are near who met the same items.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.audience.files import read_sealed, write_sealed
from arauto.audience.interactions import Interactions
from arauto.audience.linear import Floats, Recipe, Statistics, counted, factor
from arauto.audience.state import Histories, begins
from arauto.core.errors import InputError, ModelFileError
from arauto.core.spread import Spread

DIMENSIONS = 128
HEADS = 512
"""Scores kept of each item's row: those farthest from zero."""
TextEncoder = Callable[[Sequence[str]], NDArray[Any]]
"""Texts to vectors of one length, such as the embedded multilingual model gives."""


def code_of(name: str, space: str = "") -> int:
    """The 64-bit code of an item's name. Its first bit is set: smaller numbers are free for ids."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, person=b"item", salt=_salt(space))
    return int.from_bytes(digest.digest(), "big") | 1 << 63


def _salt(space: str) -> bytes:
    return hashlib.blake2b(space.encode(), digest_size=16).digest() if space else b""


@lru_cache(maxsize=65_536)
def _random_row(code: int, dimensions: int) -> Floats:
    drawn: Floats = np.random.default_rng(code).standard_normal(dimensions).astype(np.float32)
    return drawn / np.float32(np.linalg.norm(drawn))


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of the model: how it was made, of how much, and how good it was found."""

    format: Literal[1] = 1
    recipe: Recipe = Recipe()
    events: int = 0
    cold: int = 0
    """Items, the last ones, that were placed by their texts."""
    made_ms: int = 0
    metrics: dict[str, float] = {}


class Encoder:
    """``codes`` and ``names`` of the items by row; ``inputs`` and ``outputs`` their two vectors, items × dimensions;
    ``heads`` and ``strengths``, items × heads: which items a row speaks for, and how strongly."""

    def __init__(
        self,
        codes: NDArray[np.uint64],
        names: Sequence[str],
        inputs: Floats,
        outputs: Floats,
        heads: NDArray[np.int32],
        strengths: Floats,
        about: About,
    ) -> None:
        self.codes, self.names = codes, tuple(names)
        self.inputs, self.outputs = inputs, outputs
        self.heads, self.strengths = heads, strengths
        self.about = about
        self.row_of = {code: row for row, code in enumerate(codes.tolist())}
        self._places = np.argsort(codes)
        self._sorted = codes[self._places]
        self.version = hashlib.sha256(codes.tobytes() + inputs.tobytes()).hexdigest()[:16]
        """Vectors of equal versions can be compared."""

    @classmethod
    def untrained(cls, dimensions: int = DIMENSIONS) -> Self:
        """An encoder that knows no item."""
        nothing = np.zeros((0, dimensions), dtype=np.float32)
        heads = np.zeros((0, 0), dtype=np.int32)
        return cls(np.zeros(0, np.uint64), (), nothing, nothing, heads, heads.astype(np.float32), About())

    @property
    def dimensions(self) -> int:
        return int(self.inputs.shape[1])

    @property
    def decay(self) -> float:
        """What each later item leaves of an earlier one's weight in a history."""
        return self.about.recipe.reading

    @property
    def trained(self) -> bool:
        return bool(len(self.codes))

    def vector(self, history: Sequence[tuple[int, float]]) -> Floats:
        """The unit vector of (code, weight) pairs; zeros when none of the items is known."""
        codes = np.array([code for code, _ in history], dtype=np.uint64)
        weights = np.array([weight for _, weight in history], dtype=np.float64)
        one: Floats = self.vectors(Histories(np.zeros(len(history), np.int64), codes, weights), 1)[0]
        return one

    def vectors(self, of: Histories, count: int) -> Floats:
        """The unit vectors of ``count`` histories, in their order; zeros for one of which no item is known."""
        owners, weights = of.owners, of.weights.astype(np.float32)
        total = np.zeros((count, self.dimensions), dtype=np.float32)
        if self.trained:
            places = np.minimum(self._sorted.searchsorted(of.codes), len(self._sorted) - 1)
            known = (self._sorted[places] == of.codes).nonzero()[0]
            owners, weights, items = owners[known], weights[known], self.inputs[self._places[places[known]]]
        elif len(of.codes):
            items = np.stack([_random_row(code, self.dimensions) for code in of.codes.tolist()])
        starts = begins(owners).nonzero()[0]
        # A product each: one for all would round a visitor's sum by what is summed beside it.
        ends = [*starts.tolist(), len(owners)][1:]
        for owner, start, end in zip(owners[starts].tolist(), starts.tolist(), ends, strict=True):
            one = weights[start:end] @ items[start:end]
            total[owner] = one / np.float32(math.sqrt(one @ one) or 1.0)
        return total

    def scores(self, history: Sequence[tuple[int, float]]) -> Floats:
        """How likely each item (by row) comes next, in no unit."""
        total = np.zeros(len(self.codes), dtype=np.float32)
        factored = np.zeros(self.dimensions, dtype=np.float32)
        for code, weight in history:
            row = self.row_of.get(code)
            if row is not None:
                total[self.heads[row]] += np.float32(weight) * self.strengths[row]
                factored += np.float32(weight) * self.inputs[row]
        if self.about.cold:
            # No row that was fitted speaks for them.
            total[-self.about.cold :] = self.outputs[-self.about.cold :] @ factored
        return total

    def with_items(self, texts: Mapping[str, str], encode: TextEncoder, *, space: str = "") -> Encoder:
        """The same encoder with items that nobody has met, placed by their texts (cold start).

        ``texts`` gives the text of new items and of known ones, by name; a ridge regression on the known ones maps a
        text's vector to an item's.

        Raises:
            InputError: fewer than ten known items have a text.
        """
        known = [name for name in texts if code_of(name, space) in self.row_of]
        fresh = [name for name in texts if code_of(name, space) not in self.row_of]
        if len(known) < 10:
            raise InputError("names fewer than ten known items", field="texts", mend="give texts of known items too")
        if not fresh:
            return self
        rows = [self.row_of[code_of(name, space)] for name in known]
        x = np.asarray(encode([texts[name] for name in known]), dtype=np.float64)
        new = np.asarray(encode([texts[name] for name in fresh]), dtype=np.float64)
        mean = x.mean(axis=0)
        x, new = x - mean, new - mean
        ridge = 0.1 * float(np.square(x).sum()) / x.shape[1] + 1e-9
        solve = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T)
        sides = [
            np.vstack([side, side[rows].mean(axis=0) + new @ (solve @ (side[rows] - side[rows].mean(axis=0)))])
            for side in (self.inputs, self.outputs)
        ]
        inputs, outputs = (np.ascontiguousarray(side, dtype=np.float32) for side in sides)
        heads, strengths = strongest(inputs[len(self.codes) :] @ outputs.T, self.heads.shape[1])
        return Encoder(
            np.concatenate([self.codes, np.array([code_of(name, space) for name in fresh], dtype=np.uint64)]),
            (*self.names, *fresh),
            inputs,
            outputs,
            np.vstack([self.heads, heads]),
            np.vstack([self.strengths, strengths]),
            msgspec.structs.replace(self.about, cold=self.about.cold + len(fresh)),
        )

    def save(self, path: Path | str) -> str:
        """Write arrays (``.npz``, no pickle) and the description (``.json``, with the SHA-256 of the arrays).

        Returns that hash.
        """
        arrays = io.BytesIO()
        np.savez(
            arrays,
            codes=self.codes,
            inputs=self.inputs,
            outputs=self.outputs,
            heads=self.heads,
            strengths=self.strengths,
            names=np.frombuffer(msgspec.json.encode(self.names), dtype=np.uint8),
        )
        return write_sealed(path, arrays.getvalue(), msgspec.to_builtins(self.about))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """What :meth:`save` wrote.

        Raises:
            ModelFileError: a file is missing, altered, or of another format.
        """
        body, about = read_sealed(path)
        try:
            told = msgspec.convert(about, About)
            with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
                parts = {name: arrays[name] for name in arrays.files}
            names = msgspec.json.decode(parts.pop("names").tobytes(), type=list[str])
            return cls(names=names, about=told, **parts)
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as failure:
            raise ModelFileError(f"{path} is no encoder: {failure}", field="file", mend="train it again") from None


def fit(
    log: Interactions,
    recipe: Recipe,
    *,
    dimensions: int = DIMENSIONS,
    codes: NDArray[np.uint64] | None = None,
    made_ms: int = 0,
    seed: int = 0,
    ray: str = "",
) -> Encoder:
    """Fit the linear model on a log and factor it. ``codes`` names the items; else the hashes of their names do.
    ``ray`` is the setting ``ray_address``: where the log is counted and the model solved."""
    statistics = counted(log, recipe, ray)
    return encoder_of(
        statistics, log.item_names, dimensions=dimensions, codes=codes, made_ms=made_ms, seed=seed, ray=ray
    )


def encoder_of(
    statistics: Statistics,
    item_names: Sequence[Any] | NDArray[Any],
    *,
    dimensions: int = DIMENSIONS,
    codes: NDArray[np.uint64] | None = None,
    made_ms: int = 0,
    seed: int = 0,
    ray: str = "",
) -> Encoder:
    """The encoder of counted events. ``ray`` is the setting ``ray_address``: where the model is solved and factored,
    as one part, which is done again if its worker dies."""
    names = [str(name) for name in item_names]
    inputs, outputs, heads, strengths = next(Spread(_solved, statistics, ray)([(dimensions, seed)]))
    if codes is None:
        codes = np.array([code_of(name) for name in names], dtype=np.uint64)
    about = About(recipe=statistics.recipe, events=statistics.events, made_ms=made_ms)
    return Encoder(codes, names, inputs, outputs, heads, strengths, about)


def _solved(statistics: Statistics, asked: tuple[int, int]) -> tuple[Floats, Floats, NDArray[np.int32], Floats]:
    """Inputs, outputs, heads and strengths, by as many dimensions as are asked for, and a seed."""
    dimensions, seed = asked
    matrix = statistics.solve()
    return (*factor(matrix, dimensions, np.random.default_rng(seed)), *strongest(matrix, HEADS))


def strongest(matrix: Floats, count: int) -> tuple[NDArray[np.int32], Floats]:
    """The places and values of each row's entries farthest from zero, at most ``count`` of them."""
    width = min(count, matrix.shape[1])
    heads = np.empty((len(matrix), width), dtype=np.int32)
    strengths = np.empty((len(matrix), width), dtype=np.float32)
    for start in range(0, len(matrix), 1024):
        part = matrix[start : start + 1024]
        places = np.argpartition(np.abs(part), part.shape[1] - width, axis=1)[:, part.shape[1] - width :]
        heads[start : start + 1024] = places
        strengths[start : start + 1024] = np.take_along_axis(part, places, axis=1)
    return heads, strengths
