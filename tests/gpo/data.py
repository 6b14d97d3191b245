"""Tests and texts made up for these tests: a word's worth is known, so a model can be right or wrong about it."""

import numpy as np
import polars as pl

WORTH = {"free": 0.35, "today": 0.2, "new": 0.1, "simple": 0.0, "plain": -0.15, "old": -0.3, "dull": -0.45}
FILL = ("shoes", "coffee", "lamp", "books", "bread", "chairs", "tea", "soap")


def frame(tests=120, arms=4, seed=0, shown=4000):
    rng = np.random.default_rng(seed)
    rows = []
    for test in range(tests):
        level = np.log(0.03) + rng.normal(0, 0.3)
        thing = FILL[rng.integers(len(FILL))]
        for _ in range(arms):
            words = rng.choice(list(WORTH), size=2, replace=False)
            text = f"{words[0]} {thing} {words[1]} number {rng.integers(1000)}"
            rate = np.exp(level + sum(WORTH[w] for w in words) + rng.normal(0, 0.05))
            rows.append(
                (f"t{seed}-{test}", text, shown, int(rng.binomial(shown, min(rate, 0.9))), "i", f"about {thing}")
            )
    names = ["test_id", "text", "impressions", "clicks", "image_id", "context"]
    return pl.DataFrame(rows, schema=names, orient="row")
