"""Training: a convex problem, solved to its end; the strongest rows are kept, quantised, and the levels solved again.

For classes c the logits are linear in the bag. A model of three classes that are an order (negative, neutral, positive)
learns two numbers a row (polarity, and being neither), one of two learns one, one of K others K: multinomial logistic
regression with a ridge, by L-BFGS (Liu & Nocedal 1989). Numbers that are not kept are zero: a feature that no text
taught then says nothing instead of what another says that shares its row, and zeros cost next to nothing in a
compressed download. With the codes fixed, the 16 levels are a convex problem again: the model learns to be right with
what the quantised table can say.
Same data, plan, numpy and scipy: same model.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.edge.evaluate import fit_temperature, log_loss
from arauto.edge.generate import Example, generate
from arauto.edge.model import ONE, EdgeModel, Manifest, pack
from arauto.edge.text import Features, Hasher

_NEGATORS = """
nao nunca nem jamais sem nenhum nenhuma n num zero falta faltou tampouco
not no never without dont doesnt didnt isnt wasnt cant cannot wont aint arent couldnt wouldnt hardly lacks nor
"""
NEGATORS = tuple(_NEGATORS.split())
_COMPOSED = 20_000
"""Composed texts, at most."""
_LABELS = {-1: "negative", 0: "neutral", 1: "positive"}
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class TrainPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train: 2**rows_log2 rows of numbers of ``bits`` bits, of which ``kept`` (0: all) may be other than zero.

    ``decay`` is the ridge: half the squared weights count so much beside the mean loss of a text, in nats. ``balance``
    (0 to 1) lets the rarer class of a corpus, and the smaller corpus, count for more. ``temperature`` None: fitted on a
    tenth left out first; ``unsure``: the confidence below which the model says that it does not know. ``taught``: what
    texts composed by rule (:mod:`arauto.edge.generate`) count beside the examples, 1: as much as all of these; of
    several shares the one that says least wrong of the tenth. For sentiment only. ``freedom``: how many times further
    than one of letters a word or a pair may weigh, at the same price by the ridge.
    """

    rows_log2: Annotated[int, msgspec.Meta(ge=4, le=20)] = 15
    bits: Literal[4, 8] = 4
    kept: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0
    features: Features = Features(negators=NEGATORS)
    steps: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 60
    decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-6
    balance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    taught: Annotated[tuple[Annotated[float, msgspec.Meta(ge=0, le=10)], ...], msgspec.Meta(min_length=1)] = (0.0,)
    freedom: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.0
    temperature: Annotated[float, msgspec.Meta(gt=0, le=100)] | None = None
    unsure: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    seed: int = 0


class Trained(msgspec.Struct, frozen=True):
    """A model, the same before quantisation (as scores of any text), and what was found while training: ``taught`` is
    the share that was chosen."""

    model: EdgeModel
    float_scores: Callable[[Sequence[str]], NDArray[np.float64]]
    temperature: float
    loss: float
    taught: float


def bags(texts: Sequence[str], features: Features, rows_log2: int) -> Any:
    """Texts as a sparse matrix ``(texts, rows)``: how often each row's features occur, over the root of their count."""
    hasher = Hasher(features)
    found = [hasher(text) & np.uint32((1 << rows_log2) - 1) for text in texts]
    counts = np.array([len(rows) for rows in found], np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = np.concatenate(found).astype(np.int32) if found else np.zeros(0, np.int32)
    cells = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)
    matrix = _need("scipy.sparse").csr_matrix((cells, rows, starts), shape=(len(found), 1 << rows_log2))
    matrix.sum_duplicates()
    return matrix


def train(
    examples: Sequence[Example], plan: TrainPlan, *, name: str, version: str, languages: Sequence[str], data: str
) -> Trained:
    """A model of ``examples``; labels −1, 0, 1 become negative, neutral, positive, others their own names.

    Raises:
        InputError: fewer than two labels, or fewer than ten texts; scipy is not installed.
    """
    found = sorted({example.label for example in examples})
    if len(found) < 2 or len(examples) < 10:
        raise InputError(
            f"has {len(examples)} texts of {len(found)} labels", field="data", mend="give at least 10 texts of 2 labels"
        )
    labels = tuple(_LABELS.get(label, f"class-{label}") for label in found)
    lesson = _Lesson(examples, found, _head(labels), plan)
    taught, temperature = plan.taught[0], plan.temperature or 1.0
    if plan.temperature is None:
        taught, temperature = lesson.choose()
    fit, head = lesson.fit(taught, lesson.own >= 0), lesson.head
    manifest = _manifest(fit.levels, head, fit.bias, temperature, plan)
    manifest = msgspec.structs.replace(
        manifest,
        name=name,
        version=version,
        languages=tuple(languages),
        labels=labels,
        data=f"{data}; texts composed by rule count {taught:g} beside them" if taught else data,
    )

    def float_scores(texts: Sequence[str]) -> NDArray[np.float64]:
        scores = bags(texts, plan.features, plan.rows_log2) @ fit.table @ head + fit.float_bias
        return np.asarray(scores / temperature, np.float64)

    return Trained(
        model=pack(manifest, fit.codes),
        float_scores=float_scores,
        temperature=temperature,
        loss=fit.loss,
        taught=taught,
    )


class _Lesson:
    """Texts to learn from: the examples, and composed ones behind them. ``own`` is an example's place, or −1."""

    def __init__(self, examples: Sequence[Example], labels: Sequence[int], head: _Floats, plan: TrainPlan) -> None:
        self.head, self._plan = head, plan
        composed: list[Example] = []
        if any(plan.taught) and {-1, 1} <= set(labels) <= {-1, 0, 1}:
            count = min(_COMPOSED, 20 * len(examples))
            composed = [one for one in generate(count, plan.seed) if one.label in labels]
        texts = [*examples, *composed]
        self.own = np.arange(len(texts))
        self.own[len(examples) :] = -1
        self._target = np.searchsorted(labels, [one.label for one in texts])
        self._weights = _weights(examples, plan.balance)
        self._matrix = bags([one.text for one in texts], plan.features, plan.rows_log2)
        self._scale = np.ones(self._matrix.shape[1])
        if plan.freedom > 1:
            words = msgspec.structs.replace(plan.features, chars=())
            self._scale[bags([one.text for one in texts], words, plan.rows_log2).indices] = plan.freedom

    def fit(self, taught: float, rows: NDArray[np.bool_]) -> _Result:
        """What the examples among ``rows`` teach, and composed texts of the weight ``taught``."""
        rows = rows | (self.own < 0) if taught else rows & (self.own >= 0)
        mine = self.own[rows]
        counts = np.where(mine >= 0, self._weights[mine], 0.0)
        counts[mine < 0] = taught * counts.sum() / max(1, int((mine < 0).sum()))
        counts = counts / counts.mean()
        return _quantised(self._matrix[rows], self._target[rows], counts, self.head, self._plan, self._scale)

    def choose(self) -> tuple[float, float]:
        """The share of composed texts, and the temperature, of the least loss on a tenth: then all of it may teach."""
        held = np.zeros(len(self.own), bool)
        held[self.own >= 0] = np.random.default_rng(self._plan.seed).random(len(self._weights)) < 0.1
        if not held.any():
            return self._plan.taught[0], 1.0
        truth, counts = self._target[held], self._weights[self.own[held]]
        found = []
        for taught in self._plan.taught:
            tried = self.fit(taught, (self.own >= 0) & ~held)
            scores = self._matrix[held] @ tried.seen @ self.head + tried.bias
            temperature = fit_temperature(scores, truth)
            found.append((log_loss(scores / temperature, truth, counts), taught, temperature))
        return min(found)[1:]


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


def _need(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            "training needs scipy", field="data", mend="pip install 'arauto[edge]'; a trained model runs without it"
        ) from None


def _weights(examples: Sequence[Example], balance: float) -> _Floats:
    """What each text counts, 1 on average: (corpus / class in it)^balance · corpus^(−balance/2)."""
    corpora = Counter(one.corpus for one in examples)
    classes = Counter((one.corpus, one.label) for one in examples)
    raw = [
        (corpora[one.corpus] / classes[one.corpus, one.label]) ** balance * corpora[one.corpus] ** (-balance / 2)
        for one in examples
    ]
    return np.asarray(np.array(raw) / np.mean(raw), np.float64)


def _quantised(matrix: Any, target: _Ints, weights: _Floats, head: _Floats, plan: TrainPlan, scale: _Floats) -> _Result:
    """``scale`` (rows,): the table's rows over those that the ridge is asked of."""
    truth = np.eye(head.shape[1])[target]
    # Rows that no text has stay zero; a large table is mostly those.
    used = np.unique(matrix.indices) if not plan.kept else np.arange(matrix.shape[1])
    start = np.zeros((len(used), len(head))), np.log(truth.mean(0) + 1e-9)
    wide = matrix[:, used].multiply(scale[used]).tocsr() if plan.freedom > 1 else matrix[:, used]
    some, bias, loss = _solve([wide], truth, weights, head, start, plan.steps, plan.decay)
    table = np.zeros((matrix.shape[1], len(head)))
    table[used] = some * scale[used, None]
    if 0 < plan.kept < table.size:
        used = np.bincount(matrix.indices, minlength=len(table))
        worth = np.abs(table) * np.sqrt(used)[:, None]
        strong = worth >= np.partition(worth.ravel(), -plan.kept)[-plan.kept]
        rows = np.flatnonzero(strong.any(1))
        start = np.where(strong, table, 0.0)[rows], bias
        decay = plan.decay / np.square(scale[rows, None]) if plan.freedom > 1 else plan.decay
        some, bias, loss = _solve([matrix[:, rows]], truth, weights, head, start, plan.steps, decay, strong[rows])
        table = np.zeros_like(table)
        table[rows] = some
    levels, codes = quantise(table, plan.bits)
    if plan.bits == 8:
        return _Result(table=table, float_bias=bias, levels=levels, codes=codes, bias=bias, loss=loss)
    # What the bag holds of each level; the level that says nothing stays out.
    sparse = _need("scipy.sparse")
    held = []
    for column in codes.T:
        cells = np.ones(len(codes)), (np.arange(len(codes)), column)
        held.append((matrix @ sparse.csr_matrix(cells, (len(codes), levels.shape[1]))).toarray())
    # The same ridge: a level counts as often as rows have it.
    rows_of = np.stack([np.bincount(column, scale**-2, levels.shape[1]) for column in codes.T], 1).astype(np.float64)
    told, own, loss = _solve(
        held, truth, weights, head, (levels.T, bias), plan.steps, plan.decay * rows_of, levels.T != 0
    )
    return _Result(table=table, float_bias=bias, levels=told.T, codes=codes, bias=own, loss=loss)


def _solve(
    held: Sequence[Any],
    truth: _Floats,
    weights: _Floats,
    head: _Floats,
    start: tuple[_Floats, _Floats],
    steps: int,
    decay: float | _Floats,
    free: NDArray[np.bool_] | None = None,
) -> tuple[_Floats, _Floats, float]:
    """The table ``(columns, dim)`` and bias of the least loss, and that. ``held``: one matrix, or one a dimension.

    Where ``free`` is false the table stays as it is.
    """
    shape, size = start[0].shape, start[0].size
    share = (weights / len(truth))[:, None]
    turned = [one.T.tocsr() if hasattr(one, "tocsr") else one.T for one in held]

    def loss(flat: _Floats) -> tuple[float, _Floats]:
        table, bias = flat[:size].reshape(shape), flat[size:]
        bag = held[0] @ table if len(held) == 1 else np.stack([one @ table[:, at] for at, one in enumerate(held)], 1)
        scores = bag @ head + bias
        scores -= scores.max(1, keepdims=True)
        odds = np.exp(scores)
        odds /= odds.sum(1, keepdims=True)
        value = -float((np.log((odds * truth).sum(1) + 1e-300)[:, None] * share).sum())
        slope = (odds - truth) * share
        up = slope @ head.T
        slopes = turned[0] @ up if len(held) == 1 else np.stack([one @ up[:, at] for at, one in enumerate(turned)], 1)
        value += float((decay * table * table).sum()) / 2
        slopes = (slopes + decay * table) * (1 if free is None else free)
        return value, np.concatenate([slopes.ravel(), slope.sum(0)])

    first = np.concatenate([start[0].ravel(), start[1]])
    found = _need("scipy.optimize").minimize(
        loss, first, jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 10}
    )
    return found.x[:size].reshape(shape), found.x[size:], float(found.fun)


def _head(labels: tuple[str, ...]) -> _Floats:
    if labels == ("negative", "neutral", "positive"):
        return np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    return np.array([[-1.0, 1.0]]) if len(labels) == 2 else np.eye(len(labels))


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
        bits=plan.bits,
        levels=tuple(tuple(round(v) for v in row) for row in (levels / tops[:, None] * 127).tolist()),
        head=tuple(tuple(round(v) for v in row) for row in scaled.tolist()),
        bias=tuple(round(v) for v in ((bias - bias.mean()) * unit).tolist()),
        unsure=round(plan.unsure * ONE),
        sha256="0" * 64,
    )
