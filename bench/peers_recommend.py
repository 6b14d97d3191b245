"""Runs in the peers' environment: recommenders of other packages on a split made by bench/audience_quality.py.

Reads a ``.npz`` (users and items of ``fit`` and ``known``, sorted by user and time; ``asked`` users with their
``valid`` and ``test`` items) and prints, for each model, the settings that were best on the validation item, and the
rank of the test item with each seed (from 0; ten or more: not among the first ten).

Asked for are names, each with how many seeds and how many of its settings (``rectools_sasrec:1:2``; all, if left out).
What was trained is kept in the folder ``PEERS_KEPT``, if there is one, and not trained again: a grid takes hours.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

AT = 10
SEEDS = 5
STEP = 10
"""Epochs of a transformer between two looks at the validation item."""
PATIENCE = 40
"""Epochs without a better one after which its training ends."""
LIMIT = float(os.environ.get("PEERS_SECONDS", "3600"))
"""CPU-seconds of one training at most; one that was ended by it says so."""
Ranker = Callable[[str, Any], Any]
"""From "fit" or "known" (what users bring) and their targets to ranks."""


class Data:
    def __init__(self, path: str) -> None:
        with np.load(path) as arrays:
            self.asked, self.valid, self.test = (arrays[name] for name in ("asked", "valid", "test"))
            self.logs = {name: (arrays[f"{name}_users"], arrays[f"{name}_items"]) for name in ("fit", "known")}
            parts = [np.ascontiguousarray(arrays[name], np.int64).tobytes() for name in sorted(arrays)]
        self.digest = hashlib.sha256(b"".join(parts)).hexdigest()
        self.users = int(max(users.max() for users, _ in self.logs.values())) + 1
        self.items = int(max(items.max() for _, items in self.logs.values())) + 1
        self.items = max(self.items, int(self.valid.max()) + 1, int(self.test.max()) + 1)

    def matrix(self, name: str) -> Any:
        from scipy.sparse import csr_matrix

        users, items = self.logs[name]
        return csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(self.users, self.items))

    def sequences(self, name: str) -> list[Any]:
        """The items of each asked user, the earliest first."""
        users, items = self.logs[name]
        ends = np.searchsorted(users, self.asked, side="right")
        starts = np.searchsorted(users, self.asked)
        return [items[start:end] for start, end in zip(starts, ends, strict=True)]

    def ranks(self, scores: Any, name: str, targets: Any) -> Any:
        """The rank of each asked user's target among what they had not met."""
        for row, met in enumerate(self.sequences(name)):
            scores[row, met] = -np.inf
        own = scores[np.arange(len(targets)), targets][:, None]
        return (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) // 2


def als(data: Data, given: dict[str, Any], seed: int) -> Ranker:
    from implicit.als import AlternatingLeastSquares  # type: ignore[import-not-found]

    model = AlternatingLeastSquares(
        factors=given["factors"], regularization=given["ridge"], alpha=given["alpha"], iterations=15,
        random_state=seed, num_threads=1,
    )  # fmt: skip
    model.fit(data.matrix("fit"), show_progress=False)

    def rank(name: str, targets: Any) -> Any:
        found = model.recalculate_user(data.asked, data.matrix(name)[data.asked]) @ model.item_factors.T
        return data.ranks(np.asarray(found), name, targets)

    return rank


def item2vec(data: Data, given: dict[str, Any], seed: int) -> Ranker:
    from gensim.models import Word2Vec  # type: ignore[import-not-found]

    users, items = data.logs["fit"]
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    told = [[str(item) for item in part] for part in np.split(items, starts[1:])]
    model = Word2Vec(
        told, vector_size=given["size"], window=given["window"], sg=1, negative=10, ns_exponent=given["exponent"],
        sample=0, min_count=1, epochs=given["epochs"], seed=seed, workers=1,
    )  # fmt: skip
    vectors = np.zeros((data.items, given["size"]), dtype=np.float32)
    for item in range(data.items):
        if str(item) in model.wv:
            vectors[item] = model.wv[str(item)]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def rank(name: str, targets: Any) -> Any:
        fade = [given["decay"] ** np.arange(len(met))[::-1] for met in data.sequences(name)]
        people = np.stack([w @ vectors[met] for w, met in zip(fade, data.sequences(name), strict=True)])
        return data.ranks(people @ vectors.T, name, targets)

    return rank


def sasrec(data: Data, given: dict[str, Any], seed: int) -> Ranker:
    import pandas as pd  # type: ignore[import-untyped]
    import torch
    from pytorch_lightning import Trainer, seed_everything  # type: ignore[import-not-found]
    from rectools import Columns  # type: ignore[import-not-found]
    from rectools.dataset import Dataset  # type: ignore[import-not-found]
    from rectools.models import SASRecModel  # type: ignore[import-not-found]

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    seed_everything(seed)

    def frame(name: str) -> Any:
        users, items = data.logs[name]
        when = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(users)), unit="s")
        columns = {Columns.User: users, Columns.Item: items, Columns.Weight: 1.0, Columns.Datetime: when}
        return Dataset.construct(pd.DataFrame(columns))

    more: dict[str, Any] = {}
    if given.get("layers") == "ligr":
        from rectools.models.nn.transformers.ligr import LiGRLayers  # type: ignore[import-not-found]

        more["transformer_layers_type"] = LiGRLayers
    model = SASRecModel(
        session_max_len=100, n_factors=given["factors"], n_blocks=2, n_heads=given["heads"],
        dropout_rate=given["dropout"], loss=given["loss"], n_negatives=given.get("negatives", 1), lr=1e-3,
        batch_size=given["batch"], dataloader_num_workers=0, recommend_torch_device="cpu",
        get_trainer_func=lambda: Trainer(
            max_epochs=STEP, accelerator="cpu", enable_progress_bar=False, logger=False,
            enable_checkpointing=False, enable_model_summary=False,
        ),
        **more,
    )  # fmt: skip
    logs = {name: frame(name) for name in data.logs}
    best: tuple[float, dict[str, Any], int] = (-1.0, {}, 0)

    def rank(name: str, targets: Any) -> Any:
        found = model.recommend(data.asked, logs[name], k=AT, filter_viewed=True)
        columns = (found[Columns.User], found[Columns.Item], found[Columns.Rank])
        place = {(user, item): at - 1 for user, item, at in zip(*columns, strict=True)}
        return np.array([place.get(pair, 999) for pair in zip(data.asked.tolist(), targets.tolist(), strict=True)])

    # So many epochs as the validation item asks for.
    began = time.process_time()
    for epochs in range(STEP, given["most_epochs"] + 1, STEP):
        model.fit_partial(logs["fit"], min_epochs=STEP, max_epochs=STEP)
        ranks = {"fit": rank("fit", data.valid), "known": rank("known", data.test)}
        reached = ndcg(ranks["fit"])
        spent = time.process_time() - began
        print(f"  {epochs} epochs {reached:.4f} {spent:.0f} CPU-s", file=sys.stderr, flush=True)
        if reached > best[0]:
            best = (reached, ranks, epochs)
        elif epochs - best[2] >= PATIENCE:
            break
        if spent > LIMIT:
            given["cut_after"] = epochs
            break
    given["epochs"] = best[2]
    return lambda name, _: best[1][name]


SIZES: tuple[dict[str, Any], ...] = (
    {"factors": 64, "heads": 2, "dropout": 0.2, "batch": 64},
    {"factors": 64, "heads": 2, "dropout": 0.5, "batch": 64},
    # RecTools' defaults.
    {"factors": 256, "heads": 4, "dropout": 0.2, "batch": 128},
)
GRIDS: dict[str, tuple[Callable[..., Ranker], list[dict[str, Any]]]] = {
    "implicit_als": (
        als,
        [{"factors": f, "ridge": r, "alpha": a} for f in (16, 32, 64) for r in (0.1, 10.0) for a in (1, 10)],
    ),
    "item2vec": (
        item2vec,
        [
            {"size": 64, "window": w, "exponent": e, "epochs": 30, "decay": d}
            for w in (3, 10)
            for e in (0.75, -0.5)
            for d in (0.8, 0.95)
        ],
    ),
    "rectools_sasrec": (
        sasrec,
        [{"loss": "softmax", "most_epochs": 200, **size} for size in SIZES],
    ),
    "rectools_esasrec": (
        sasrec,
        [
            {"loss": "sampled_softmax", "negatives": 256, "most_epochs": 200, "layers": "ligr", **size}
            for size in SIZES
        ],
    ),
}  # fmt: skip


def ndcg(ranks: Any) -> float:
    return float(np.where(ranks < AT, 1 / np.log2(ranks + 2.0), 0.0).mean())


def trained(data: Data, name: str, given: dict[str, Any], seed: int) -> dict[str, Any]:
    """One training: NDCG@10 of the validation item, ranks of the test item, seconds. Kept ones are read."""
    folder = os.environ.get("PEERS_KEPT")
    asked = json.dumps([data.digest, name, given, seed], sort_keys=True)
    path = Path(folder, f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json") if folder else None
    if path and path.exists():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found
    began, settings = time.perf_counter(), dict(given)
    ranker = GRIDS[name][0](data, settings, seed)
    took = time.perf_counter() - began
    valid = ndcg(ranker("fit", data.valid))
    found = {"settings": settings, "valid": valid, "ranks": ranker("known", data.test).tolist(), "seconds": took}
    print(f"{name} {settings} {valid:.4f} {took:.0f} s", file=sys.stderr, flush=True)
    if path:
        path.write_text(json.dumps(found), "utf-8")
    return found


def run(data: Data, name: str, seeds: int, tries: int | None) -> dict[str, Any]:
    grid = GRIDS[name][1][:tries]
    tried = [trained(data, name, given, 0) for given in grid]
    place = max(range(len(grid)), key=lambda at: tried[at]["valid"])
    best = tried[place]
    ranks = [best["ranks"], *(trained(data, name, grid[place], seed)["ranks"] for seed in range(1, seeds))]
    return {
        "settings": best["settings"],
        "settings_tried": len(grid),
        "valid_ndcg": best["valid"],
        "fit_seconds": best["seconds"],
        "ranks": ranks,
    }


def main(path: str, names: Iterable[str]) -> None:
    data = Data(path)
    for part in names:
        name, *counts = part.split(":")
        seeds, tries = [*map(int, counts), *(SEEDS, None)[len(counts) :]]
        try:
            found = run(data, name, seeds, tries)
        except ImportError as failure:
            found = {"missing": str(failure)}
        print(json.dumps({"model": name, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
