"""How good a classifier is: accuracy, macro-F1 and calibration, by corpus and over all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.edge.generate import Example
from arauto.edge.model import ONE, EdgeModel, Prediction, soften

BINS = 15


class Scores(msgspec.Struct, frozen=True):
    """Of ``n`` texts. ``ece`` is the expected calibration error in :data:`BINS` bins (Guo et al. 2017).

    ``answered`` is the share not left at "don't know", ``accuracy_answered`` the accuracy on those.
    """

    n: int
    accuracy: float
    macro_f1: float
    ece: float
    answered: float
    accuracy_answered: float


class Evaluation(msgspec.Struct, frozen=True):
    """``overall`` pools all texts; ``mean_macro_f1`` is the mean over corpora, small ones counting as much."""

    model: str
    overall: Scores
    mean_macro_f1: float
    corpora: dict[str, Scores]


def evaluate(model: EdgeModel, examples: Sequence[Example]) -> Evaluation:
    """``model`` on labelled texts. Where none is labelled 0, only negative and positive are weighed against each other.

    Raises:
        InputError: there is no text, or a label that the model does not know.
    """
    said = [model.predict(example.text) for example in examples]
    return tally(f"{model.manifest.name} {model.manifest.version}", model.manifest.labels, examples, said)


def tally(model: str, labels: Sequence[str], examples: Sequence[Example], said: Sequence[Prediction]) -> Evaluation:
    """:func:`evaluate` of answers that are there already, such as those of a model for each fold.

    Raises:
        InputError: as there.
    """
    names = {-1: "negative", 0: "neutral", 1: "positive"}
    wanted = [names.get(example.label, f"class-{example.label}") for example in examples]
    if unknown := sorted(set(wanted) - set(labels)) or (["no text"] if not wanted else []):
        raise InputError(
            f"holds {', '.join(unknown)}; the model knows {', '.join(labels)}",
            field="data",
            mend="use labels that the model was trained on",
        )
    used = [place for place, label in enumerate(labels) if label != "neutral" or "neutral" in wanted]
    truth = np.array([used.index(labels.index(label)) for label in wanted])
    shares = np.array([soften(tuple(one.logits[place] for place in used)) for one in said], np.float64) / ONE
    sure = np.array([one.label is not None for one in said])
    corpora = np.array([example.corpus or "all" for example in examples])
    each = {
        str(name): scores(shares[corpora == name], truth[corpora == name], sure[corpora == name])
        for name in np.unique(corpora)
    }
    return Evaluation(
        model=model,
        overall=scores(shares, truth, sure),
        mean_macro_f1=float(np.mean([one.macro_f1 for one in each.values()])),
        corpora=each,
    )


def scores(shares: NDArray[np.float64], truth: NDArray[np.int64], sure: NDArray[np.bool_]) -> Scores:
    """The scores of probabilities ``(n, classes)``. F1 is averaged over the classes that occur in truth or answer."""
    said = shares.argmax(1)
    right = said == truth
    f1 = []
    for label in range(shares.shape[1]):
        both, either = np.sum((said == label) & (truth == label)), np.sum(said == label) + np.sum(truth == label)
        if either:
            f1.append(2 * both / either)
    return Scores(
        n=len(truth),
        accuracy=float(right.mean()),
        macro_f1=float(np.mean(f1)),
        ece=calibration_error(shares.max(1), right),
        answered=float(sure.mean()),
        accuracy_answered=float(right[sure].mean()) if sure.any() else math.nan,
    )


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The mean distance of confidence and accuracy over :data:`BINS` even bins, weighted by their texts."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    gap = np.bincount(place, confidence, BINS) - np.bincount(place, right.astype(float), BINS)
    return float(np.abs(gap).sum() / max(1, count.sum()))


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The temperature with the least log loss (Guo et al. 2017), by golden section on its logarithm, in [1/20, 20]."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = -math.log(20), math.log(20)
    loss = _loss_at(logits, truth)
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def log_loss(logits: NDArray[np.float64], truth: NDArray[np.int64], counts: NDArray[np.float64] | None = None) -> float:
    """The mean log loss in nats; ``counts`` are weights."""
    scaled = logits - logits.max(1, keepdims=True)
    missed = np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth]
    return float(np.average(missed, weights=counts))


def _loss_at(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> Callable[[float], float]:
    return lambda log_temperature: log_loss(logits / math.exp(log_temperature), truth)
