"""Training: a linear model over hashed features, by full-batch Adam, then quantised and tuned with the quantised table.

For classes c the logits are linear in the bag; a model of three classes that are an order (negative, neutral, positive)
learns two numbers a row (polarity, and being neither), one of two classes learns one, one of K others learns K. The
objective is convex but for the quantisation, whose gradient passes straight through (Bengio et al. 2013). Same data,
plan and numpy: same model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.edge.evaluate import fit_temperature
from arauto.edge.generate import Example
from arauto.edge.model import ONE, EdgeModel, Manifest, pack
from arauto.edge.text import Features, Hasher

_NEGATORS = """
nao nunca nem jamais sem nenhum nenhuma n num zero falta faltou tampouco
not no never without dont doesnt didnt isnt wasnt cant cannot wont aint arent couldnt wouldnt hardly lacks nor
"""
NEGATORS = tuple(_NEGATORS.split())
_LABELS = {-1: "negative", 0: "neutral", 1: "positive"}
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class TrainPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train. ``rows_log2`` rows of ``bits`` each; ``temperature`` None: fitted on a tenth left out first.

    ``decay`` is the weight decay of a step; ``unsure`` the confidence below which the model says that it does not know.
    """

    rows_log2: Annotated[int, msgspec.Meta(ge=4, le=20)] = 15
    bits: Annotated[int, msgspec.Meta(ge=4, le=8)] = 4
    features: Features = Features(negators=NEGATORS)
    steps: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 100
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    temperature: Annotated[float, msgspec.Meta(gt=0, le=100)] | None = None
    unsure: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    seed: int = 0


class Trained(msgspec.Struct, frozen=True):
    """A model, the same before quantisation (as scores of any text), and what was found while training."""

    model: EdgeModel
    float_scores: Callable[[Sequence[str]], NDArray[np.float64]]
    temperature: float
    loss: float


class Bags(msgspec.Struct, frozen=True):
    """Texts as features: of each feature its row in the table and its text; of each text the root of its count."""

    rows: NDArray[np.int64]
    texts: NDArray[np.int64]
    roots: NDArray[np.float64]

    @staticmethod
    def of(texts: Sequence[str], features: Features, rows_log2: int) -> Bags:
        """The features of ``texts``."""
        hasher = Hasher(features)
        found = [hasher(text) & np.uint32((1 << rows_log2) - 1) for text in texts]
        counts = np.array([len(rows) for rows in found])
        rows = np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)
        return Bags(rows=rows, texts=np.repeat(np.arange(len(found)), counts), roots=np.sqrt(np.maximum(counts, 1)))

    def only(self, wanted: NDArray[np.bool_]) -> Bags:
        """Those of the texts where ``wanted``."""
        place = np.cumsum(wanted) - 1
        mine = wanted[self.texts]
        return Bags(rows=self.rows[mine], texts=place[self.texts[mine]], roots=self.roots[wanted])

    def sums(self, table: _Floats) -> _Floats:
        """The bags: ``(texts, dim)``, each sum over the root of its count."""
        columns = [np.bincount(self.texts, column[self.rows], len(self.roots)) for column in table.T]
        return np.stack(columns, 1) / self.roots[:, None]

    def spread(self, slopes: _Floats, rows: int) -> _Floats:
        """The gradient of the table for that of the sums."""
        scaled = slopes / self.roots[:, None]
        return np.stack([np.bincount(self.rows, column[self.texts], rows) for column in scaled.T], 1)


def train(
    examples: Sequence[Example], plan: TrainPlan, *, name: str, version: str, languages: Sequence[str], data: str
) -> Trained:
    """A model of ``examples``; labels −1, 0, 1 become negative, neutral, positive, others their own names.

    Raises:
        InputError: fewer than two labels, or fewer than ten texts.
    """
    found = sorted({example.label for example in examples})
    if len(found) < 2 or len(examples) < 10:
        raise InputError(
            f"has {len(examples)} texts of {len(found)} labels", field="data", mend="give at least 10 texts of 2 labels"
        )
    labels = tuple(_LABELS.get(label, f"class-{label}") for label in found)
    target = np.searchsorted(found, [example.label for example in examples])
    head = _head(labels)
    held = np.random.default_rng(plan.seed).random(len(examples)) < (0.1 if plan.temperature is None else 0.0)
    bags = Bags.of([example.text for example in examples], plan.features, plan.rows_log2)
    temperature = plan.temperature or 1.0
    if held.any():
        # A tenth tells how sure the others' model may be; then all of it is learned from.
        tried = _quantised(bags.only(~held), target[~held], head, plan)
        temperature = fit_temperature(bags.only(held).sums(tried.seen) @ head + tried.bias, target[held])
    fit = _quantised(bags, target, head, plan)
    manifest = _manifest(fit.levels, head, fit.bias, temperature, plan)
    manifest = msgspec.structs.replace(
        manifest, name=name, version=version, languages=tuple(languages), labels=labels, data=data
    )

    def float_scores(texts: Sequence[str]) -> NDArray[np.float64]:
        sums = Bags.of(texts, plan.features, plan.rows_log2).sums(fit.table)
        return np.asarray((sums @ head + fit.float_bias) / temperature, np.float64)

    return Trained(model=pack(manifest, fit.codes), float_scores=float_scores, temperature=temperature, loss=fit.loss)


class _Result(msgspec.Struct, frozen=True):
    """A table before quantisation, and after: ``seen`` is what ``levels`` and ``codes`` say."""

    table: _Floats
    float_bias: _Floats
    levels: _Floats
    codes: NDArray[np.uint8]
    bias: _Floats
    loss: float

    @property
    def seen(self) -> _Floats:
        return _look_up(self.levels, self.codes)


def _quantised(bags: Bags, target: _Ints, head: _Floats, plan: TrainPlan) -> _Result:
    fit = _Fit(bags, target, head, plan)
    fit.run(plan.steps)
    table, bias = fit.table.copy(), fit.bias.copy()
    levels, _ = quantise(table, plan.bits)
    fit.levels = levels
    loss = fit.run(max(1, plan.steps // 5))
    codes = _nearest(fit.table, levels)
    return _Result(table=table, float_bias=bias, levels=levels, codes=codes, bias=fit.bias, loss=loss)


def _head(labels: tuple[str, ...]) -> _Floats:
    if labels == ("negative", "neutral", "positive"):
        return np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    return np.array([[-1.0, 1.0]]) if len(labels) == 2 else np.eye(len(labels))


class _Fit:
    """Adam over the whole set; with ``levels`` the forward pass sees the quantised table."""

    def __init__(self, bags: Bags, target: _Ints, head: _Floats, plan: TrainPlan) -> None:
        rows = 1 << plan.rows_log2
        self.bags, self.head, self.plan = bags, head, plan
        self.truth = np.eye(head.shape[1])[target]
        self.table = np.zeros((rows, head.shape[0]))
        self.bias = np.log(self.truth.mean(0) + 1e-9)
        self.levels: _Floats | None = None

    def run(self, steps: int) -> float:
        """That many steps, the rate falling to nothing. The last loss, in nats a text."""
        first, second = np.zeros_like(self.table), np.zeros_like(self.table)
        loss = math.nan
        for step in range(1, steps + 1):
            seen = self.table if self.levels is None else _look_up(self.levels, _nearest(self.table, self.levels))
            scores = self.bags.sums(seen) @ self.head + self.bias
            scores -= scores.max(1, keepdims=True)
            odds = np.exp(scores)
            odds /= odds.sum(1, keepdims=True)
            loss = -float(np.log((odds * self.truth).sum(1) + 1e-12).mean())
            slope = (odds - self.truth) / len(self.truth)
            slopes = self.bags.spread(slope @ self.head.T, len(self.table)) + self.plan.decay * self.table
            first = 0.9 * first + 0.1 * slopes
            second = 0.99 * second + 0.01 * slopes * slopes
            rate = self.plan.rate * (1 - (step - 1) / steps) * (1.0 if self.levels is None else 0.1)
            self.table -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-7)
            self.bias -= rate * np.sign(slope.sum(0)) * np.minimum(1, 20 * np.abs(slope.sum(0)))
        return loss


def quantise(table: NDArray[np.float64], bits: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Levels ``(dim, 2**bits)``, rising, and the nearest one's place for each cell.

    Eight bits: even steps. Four: the 16 means of Lloyd's algorithm (Lloyd 1982), which keeps rare strong rows apart.
    """
    rows = []
    for column in table.T:
        top = float(np.abs(column).max()) or 1.0
        if bits == 8:
            rows.append(np.linspace(-top, top, 256))
            continue
        used = column[column != 0] if column.any() else np.array([0.0])
        means = np.quantile(used, (np.arange(16) + 0.5) / 16)
        means = np.sign(means) * np.maximum(np.abs(means), top * np.linspace(1, 0.02, 16) ** 3 * 0.02)
        for _ in range(30):
            edges = (means[1:] + means[:-1]) / 2
            place = np.searchsorted(edges, used)
            count, total = np.bincount(place, minlength=16), np.bincount(place, used, 16)
            means = np.sort(np.where(count > 0, total / np.maximum(count, 1), means))
        means[np.abs(means).argmin()] = 0.0  # a row that nothing taught says nothing
        rows.append(means)
    levels = np.stack(rows)
    return levels, _nearest(table, levels)


def _nearest(table: _Floats, levels: _Floats) -> NDArray[np.uint8]:
    places = [np.searchsorted((row[1:] + row[:-1]) / 2, column) for row, column in zip(levels, table.T, strict=True)]
    return np.stack(places, 1).astype(np.uint8)


def _look_up(levels: _Floats, codes: NDArray[np.uint8]) -> _Floats:
    return levels[np.arange(len(levels)), codes]


def _manifest(levels: _Floats, head: _Floats, bias: _Floats, temperature: float, plan: TrainPlan) -> Manifest:
    """The small integers: levels to 8 bits by dimension, their scale, base and temperature folded into the head.

    Logits come out in 1/256 bit: z = 256 · log2(e) / T · (levels · head / √n), and √n is ⌊√(2¹⁶n)⌋ / 2⁸.
    """
    tops = np.abs(levels).max(1)
    tops[tops == 0] = 1.0
    unit = 256 * math.log2(math.e) / temperature
    scaled = head * (tops / 127)[:, None] * unit
    peak = float(np.abs(scaled).max())
    if peak > 32767:
        raise InputError("the weights grew beyond 16 bits", field="decay", mend="raise decay or temperature")
    return Manifest(
        name="x",
        version="0",
        languages=(),
        labels=("a", "b"),
        features=plan.features,
        rows_log2=plan.rows_log2,
        dim=len(levels),
        bits=4 if plan.bits == 4 else 8,
        levels=tuple(tuple(round(v) for v in row) for row in (levels / tops[:, None] * 127).tolist()),
        head=tuple(tuple(round(v) for v in row) for row in scaled.tolist()),
        bias=tuple(round(v) for v in ((bias - bias.mean()) * unit).tolist()),
        unsure=round(plan.unsure * ONE),
        sha256="0" * 64,
    )
