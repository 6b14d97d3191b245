"""The reward model: how much better a text is clicked than another of its test, with what certainty.

s(text) is linear in the vectors of one or more encoders, fitted to the counts (:mod:`arauto.gpo.likelihood`). An
ensemble of heads, each fitted to a Bayesian bootstrap over tests (Rubin 1981), says where the data leave s open.
Scores are log rates: 0.1 more is about 10 % more clicks, as far as :mod:`arauto.gpo.gate` finds it true.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.door import from_json
from arauto.core.errors import InputError, ModelFileError
from arauto.core.files import write_whole
from arauto.gpo.encoders import Encoder, SentenceEncoder, Vectors, encoder_from
from arauto.gpo.files import load_tensors, save_tensors
from arauto.gpo.finetune import FineTune, fine_tune
from arauto.gpo.likelihood import RESIDUAL, Contrasts, contrasts_of, ridge
from arauto.gpo.pairs import Pairs, pairs_of
from arauto.gpo.progress import Progress, silent
from arauto.gpo.table import Floats, Ints, Table

PENALTIES = (1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Ridge penalties tried, per feature and contrast."""
HEADS = 8
FOLDS = 5
LEAST_TESTS = 20
_SLOPES = np.linspace(0.1, 2.0, 39)
_CHUNK = 512
_HELD_BACK = 0.1
_START_PENALTY = 0.03


@dataclass(frozen=True)
class Scores:
    """Of n texts: ``mean`` log-rate scores, and ``spread``, the standard deviation between the heads."""

    mean: Floats
    spread: Floats

    def lower(self, caution: float) -> Floats:
        """The mean less ``caution`` spreads: what an optimiser that distrusts the unknown gets (Coste et al. 2024)."""
        low: Floats = self.mean - caution * self.spread
        return low


class Certainty(msgspec.Struct, frozen=True):
    """How scores become probabilities: true differences are N(``slope`` · Δs, 2 ``residual``²)."""

    slope: float
    residual: float


class RewardCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a saved reward model says of itself: ``reward.json`` beside its tensors."""

    format: int = 1
    encoders: list[dict[str, Any]]
    penalty: float
    certainty: Certainty
    seed: int
    tests: int
    arms: int
    data_sha256: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class RewardModel:
    """``heads`` is (K, d) over the joined encoder vectors, less ``centre`` (d,) and times ``scale`` (d,)."""

    card: RewardCard
    encoders: tuple[Encoder, ...]
    centre: Floats
    scale: Floats
    heads: Floats

    def score(self, texts: Sequence[str]) -> Scores:
        """Each text by itself: nothing that a visitor writes elsewhere can change it."""
        distinct = list(dict.fromkeys(texts))
        place = {text: i for i, text in enumerate(distinct)}
        vectors = np.hstack([encoder.encode(distinct) for encoder in self.encoders])
        return self.score_vectors(vectors[[place[text] for text in texts]])

    def score_vectors(self, vectors: NDArray[np.floating]) -> Scores:
        """The same for joined encoder vectors, (n, d)."""
        each = ((vectors - self.centre) * self.scale) @ self.heads.T
        return Scores(each.mean(axis=1), each.std(axis=1))

    def better(self, difference: Floats, clicks_a: Floats, clicks_b: Floats) -> Floats:
        """P(a is seen to click better than b), for a difference of scores and the clicks expected of each."""
        return win_probability(difference, clicks_a, clicks_b, self.card.certainty)

    def save(self, folder: Path) -> None:
        """Write ``reward.json``, ``heads.safetensors`` and its encoders: the folder is whole, wherever it is moved."""
        folder.mkdir(parents=True, exist_ok=True)
        for encoder in self.encoders:
            encoder.save(folder)
        save_tensors(folder / "heads.safetensors", {"centre": self.centre, "scale": self.scale, "heads": self.heads})
        write_whole(folder / "reward.json", msgspec.json.format(msgspec.json.encode(self.card), indent=1))

    @classmethod
    def load(cls, folder: Path) -> RewardModel:
        """Read what :meth:`save` wrote. Executes nothing of what it reads.

        Raises:
            ModelFileError: a file is missing, cut short, or not of this form.
        """
        path = folder / "reward.json"
        if not path.is_file():
            raise ModelFileError(
                f"{folder} holds no reward model", field="reward", mend="train one: arauto gpo reward train"
            )
        try:
            card = from_json(path.read_bytes(), RewardCard)
            tensors = load_tensors(folder / "heads.safetensors")
            encoders = tuple(encoder_from(each, folder) for each in card.encoders)
            model = cls(card, encoders, *(tensors[k] for k in ("centre", "scale", "heads")))
        except (InputError, KeyError, TypeError, ValueError) as failure:
            raise ModelFileError(
                f"{folder} is not a reward model: {failure}", field="reward", mend="train anew"
            ) from None
        width = sum(encoder.dimension for encoder in model.encoders)
        if model.heads.ndim != 2 or {model.heads.shape[1], model.centre.size, model.scale.size} != {width}:
            raise ModelFileError(f"{folder}: shapes do not fit its encoders", field="reward", mend="train anew")
        return model

    def sha256(self) -> str:
        """The hash that a registry knows this model by."""
        digest = hashlib.sha256(msgspec.json.encode(self.card))
        for part in (self.centre, self.scale, self.heads):
            digest.update(np.ascontiguousarray(part, np.float64).tobytes())
        return digest.hexdigest()


def train_reward(
    table: Table,
    encoders: Sequence[Encoder],
    *,
    seed: int,
    work: Path | None = None,
    plan: FineTune | None = None,
    progress: Progress = silent,
) -> RewardModel:
    """Fit a reward model to ``table``. ``work`` keeps what is done, so that a job cut short goes on where it was.

    With ``plan``, the one sentence encoder given is itself trained, on nine tenths of the tests; the certainty of the
    scores is then fitted to the last tenth.

    Raises:
        InputError: fewer than :data:`LEAST_TESTS` tests have two arms to compare.
    """
    contrasts = contrasts_of(table)
    tests = np.unique(contrasts.test).size
    if tests < LEAST_TESTS:
        raise InputError(
            f"holds {tests} tests with two different arms", field="data", mend=f"give at least {LEAST_TESTS}"
        )
    if plan is not None:
        return _train_tuned(table, encoders, seed=seed, work=work, plan=plan, progress=progress)
    vectors = np.hstack([encode_all(encoder, table.text, work, progress) for encoder in encoders])
    centre, scale = _standard(vectors, encoders)
    scaled = ((vectors - centre) * scale).astype(np.float32)
    rng = np.random.default_rng(seed)
    progress(0, 2, "fit")
    held_out, penalty = _cross_fit(contrasts, scaled, rng)
    certainty = _certainty(table, held_out)
    progress(1, 2, "fit")
    heads = _bootstrap_heads(contrasts, contrasts.apply(scaled), penalty, rng)
    progress(2, 2, "fit")
    card = _card(table, encoders, penalty, certainty, seed, _accuracy(table, held_out))
    return RewardModel(card, tuple(encoders), centre, scale, heads)


def _train_tuned(
    table: Table, encoders: Sequence[Encoder], *, seed: int, work: Path | None, plan: FineTune, progress: Progress
) -> RewardModel:
    if len(encoders) != 1 or not isinstance(encoders[0], SentenceEncoder) or work is None:
        raise InputError("needs one sentence encoder and a folder to work in", field="plan", mend="give both")
    fit, held = table.split(1.0 - _HELD_BACK, seed)
    contrasts = contrasts_of(fit)
    vectors = encode_all(encoders[0], fit.text, work, progress)
    centre, scale = _standard(vectors, encoders)
    rng = np.random.default_rng(seed)
    mixed = contrasts.apply(((vectors - centre) * scale).astype(np.float32))
    start = _bootstrap_heads(contrasts, mixed, _START_PENALTY, rng) * scale
    tuned, heads = fine_tune(encoders[0], fit.text, contrasts, start, work, plan=plan, seed=seed, progress=progress)
    unmoved, width = np.zeros(tuned.dimension), np.ones(tuned.dimension)
    scores = (encode_all(tuned, held.text) @ heads.T).mean(axis=1)
    card = _card(table, [tuned], _START_PENALTY, _certainty(held, scores), seed, _accuracy(held, scores))
    return RewardModel(card, (tuned,), unmoved, width, heads)


def _card(
    table: Table, encoders: Sequence[Encoder], penalty: float, certainty: Certainty, seed: int, accuracy: float
) -> RewardCard:
    return RewardCard(
        encoders=[encoder.config() for encoder in encoders],
        penalty=penalty,
        certainty=certainty,
        seed=seed,
        tests=int(np.unique(table.test).size),
        arms=len(table),
        data_sha256=table.digest(),
        metrics={"held_out_accuracy": accuracy},
    )


def _accuracy(table: Table, scores: Floats) -> float:
    """Share of pairs whose better text has the higher score; 0.5 when there is no pair."""
    pairs = pairs_of(table)
    right = (scores[pairs.first] - scores[pairs.second]) * pairs.z > 0.0
    return float(right.mean()) if right.size else 0.5


def encode_all(
    encoder: Encoder, texts: Sequence[str], work: Path | None = None, progress: Progress = silent
) -> Vectors:
    """Every text's vector. Distinct texts are encoded once, in chunks that ``work`` keeps."""
    distinct, place = np.unique(np.array(texts, dtype=object), return_inverse=True)
    rows = np.zeros((len(distinct), encoder.dimension), np.float32)
    starts = range(0, len(distinct), _CHUNK)
    name = str(encoder.config().get("sha256", "tfidf"))[:16]
    for number, at in enumerate(starts):
        chunk = [str(text) for text in distinct[at : at + _CHUNK]]
        key = hashlib.sha256("\x1f".join([name, *chunk]).encode()).hexdigest()[:32]
        kept = work / f"vectors-{key}.safetensors" if work and name != "tfidf" else None
        if kept and kept.exists():
            rows[at : at + _CHUNK] = load_tensors(kept)["rows"]
        else:
            rows[at : at + _CHUNK] = encoder.encode(chunk)
            if kept:
                save_tensors(kept, {"rows": rows[at : at + _CHUNK]})
        progress(number + 1, len(starts), "encode")
    return rows[place]


def win_probability(difference: Floats, clicks_a: Floats, clicks_b: Floats, certainty: Certainty) -> Floats:
    """Φ(slope · Δs / √(2 residual² + 1/clicks_a + 1/clicks_b)): the model's doubt and that of the counts."""
    noise = np.sqrt(2.0 * certainty.residual**2 + 1.0 / np.maximum(clicks_a, 1.0) + 1.0 / np.maximum(clicks_b, 1.0))
    return normal_cdf(certainty.slope * difference / noise)


def expected_clicks(table: Table, rows: Ints, pairs: Pairs) -> Floats:
    """Clicks that the arms ``rows`` of each pair would have had at the pair's common rate."""
    total = table.clicks[pairs.first] + table.clicks[pairs.second]
    shown = table.impressions[pairs.first] + table.impressions[pairs.second]
    clicks: Floats = table.impressions[rows] * total / shown
    return clicks


def normal_cdf(x: Floats) -> Floats:
    """The standard normal distribution function."""
    cdf: Floats = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in np.asarray(x).ravel()])
    return cdf.reshape(np.shape(x))


def _standard(vectors: NDArray[np.floating], encoders: Sequence[Encoder]) -> tuple[Floats, Floats]:
    """Each encoder's columns centred and scaled by one common number, so that none outweighs another."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    scale = np.ones(vectors.shape[1])
    at = 0
    for encoder in encoders:
        part = slice(at, at + encoder.dimension)
        scale[part] = 1.0 / max(float((vectors[:, part] - centre[part]).std()) * math.sqrt(encoder.dimension), 1e-12)
        at += encoder.dimension
    return centre, scale


def _cross_fit(contrasts: Contrasts, scaled: Vectors, rng: np.random.Generator) -> tuple[Floats, float]:
    """Scores of every row from models that never saw its test, and the penalty with the least held-out error."""
    mixed = contrasts.apply(scaled)
    fold = rng.permutation(int(contrasts.test.max()) + 1) % FOLDS
    scores = np.zeros((len(PENALTIES), len(scaled)))
    errors = np.zeros(len(PENALTIES))
    row_fold = np.full(len(scaled), -1)
    row_fold[contrasts.rows] = fold[contrasts.test[contrasts.of]]
    for held in range(FOLDS):
        train, test = fold[contrasts.test] != held, fold[contrasts.test] == held
        for place, penalty in enumerate(PENALTIES):
            w = ridge(mixed[train], contrasts.y[train], penalty * train.sum())
            errors[place] += float(((mixed[test] @ w - contrasts.y[test]) ** 2).sum())
            mine = row_fold == held
            scores[place, mine] = scaled[mine] @ w
    best = int(np.argmin(errors))
    return scores[best], PENALTIES[best]


def _certainty(table: Table, held_out: Floats) -> Certainty:
    """Slope and residual under which the held-out pairs are likeliest."""
    pairs = pairs_of(table)
    if not pairs.z.size:
        return Certainty(1.0, RESIDUAL)
    difference = held_out[pairs.first] - held_out[pairs.second]
    clicks = [expected_clicks(table, rows, pairs) for rows in (pairs.first, pairs.second)]
    best, found = -math.inf, Certainty(1.0, RESIDUAL)
    for residual in (0.5 * RESIDUAL, RESIDUAL, 2.0 * RESIDUAL):
        for slope in _SLOPES:
            candidate = Certainty(float(slope), residual)
            p = win_probability(difference, clicks[0], clicks[1], candidate)
            likelihood = float(np.log(np.clip(np.where(pairs.z > 0.0, p, 1.0 - p), 1e-9, 1.0)).mean())
            if likelihood > best:
                best, found = likelihood, candidate
    return found


def _bootstrap_heads(contrasts: Contrasts, mixed: Vectors, penalty: float, rng: np.random.Generator) -> Floats:
    """One ridge a head, tests weighted by Exp(1) draws."""
    heads = []
    for _ in range(HEADS):
        weights = rng.exponential(size=int(contrasts.test.max()) + 1)[contrasts.test]
        heads.append(ridge(mixed, contrasts.y, penalty * len(mixed), weights))
    return np.array(heads)


def with_metrics(model: RewardModel, metrics: dict[str, float]) -> RewardModel:
    """The same model, whose card also says ``metrics``."""
    card = msgspec.structs.replace(model.card, metrics={**model.card.metrics, **metrics})
    return replace(model, card=card)
