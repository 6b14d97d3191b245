"""Hillstrom's e-mail test: who should be mailed at all? ``python -m bench.experiments_uplift``.

Honest split: the policy is fitted on half of the customers and valued on the other half, ten times over.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.experiments import fit_uplift, policy_value, uplift_curve
from bench.experiments_common import data_path, finish
from bench.machine import write_result

Floats = NDArray[np.float64]
SPLITS = 10


def load() -> tuple[Floats, NDArray[np.str_], dict[str, Floats]] | None:
    path = data_path("hillstrom", "hillstrom.parquet")
    if path is None:
        return None
    import polars as pl

    frame = pl.read_parquet(path)
    outcomes = {name: frame[name].to_numpy().astype(float) for name in ("visit", "conversion", "spend")}
    kind = frame["treatment"].to_numpy().astype(str)
    rest = frame.drop("visit", "conversion", "spend", "treatment")
    words = [name for name, dtype in rest.schema.items() if dtype == pl.String and name != "history_segment"]
    base = rest.drop("history_segment").to_dummies(words, drop_first=True)
    x = base.to_numpy().astype(float)
    names = base.columns
    x[:, names.index("history")] = np.log(x[:, names.index("history")])
    # What bought before, by whom: the interactions that a mailer would look at first.
    mens, womens = x[:, names.index("mens")], x[:, names.index("womens")]
    extra = np.column_stack([mens * womens, *(column * other for column in (mens, womens) for other in x.T[:2])])
    return np.hstack([x, extra]), kind, outcomes


def study(x: Floats, kind: NDArray[np.str_], outcome: Floats, mail: str) -> dict[str, Any]:
    """One kind of mail against none: treat those with a predicted uplift above the median, or above 0."""
    these = (kind == mail) | (kind == "No E-Mail")
    features, a, y = x[these], (kind[these] == mail).astype(float), outcome[these]
    rng = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, ...]]] = {"half": [], "worthwhile": []}
    qini = []
    for _ in range(SPLITS):
        order = rng.permutation(y.size)
        fit, held = order[: y.size // 2], order[y.size // 2 :]
        tau = fit_uplift(features[fit], a[fit], y[fit], 0.5).predict(features[held])
        qini.append(uplift_curve(tau, a[held], y[held], 0.5).qini)
        for name, chosen in (("half", tau > np.median(tau)), ("worthwhile", tau > 0.0)):
            worth = policy_value(chosen, a[held], y[held], 0.5)
            everyone = policy_value(np.ones(held.size), a[held], y[held], 0.5)
            share = worth.treated_share
            rows[name].append(
                (
                    share,
                    worth.over_none,
                    *worth.over_none_interval,
                    worth.over_none / share if share else 0.0,
                    everyone.over_none,
                    worth.over_all,
                    *worth.over_all_interval,
                )
            )
    keys = ("share_mailed", "gain", "gain_low", "gain_high", "gain_per_mail", "gain_of_mailing_all")
    more = ("over_all", "over_all_low", "over_all_high")
    return {
        "qini_mean": float(np.mean(qini)),
        "qini_above_0_in_splits": int((np.array(qini) > 0).sum()),
        **{name: dict(zip(keys + more, np.mean(found, axis=0).tolist(), strict=True)) for name, found in rows.items()},
    }


def main() -> dict[str, Any]:
    started = time.process_time()
    loaded = load()
    if loaded is None:
        return finish({"missing": "hillstrom.parquet: set ARAUTO_DATA_DIR"}, started, passed=False)
    x, kind, outcomes = loaded
    figures = {
        f"{mail}, {name}": study(x, kind, outcomes[name], mail)
        for mail in ("Mens E-Mail", "Womens E-Mail")
        for name in ("visit", "spend")
    }
    return finish({"splits": SPLITS, **figures}, started, passed=True)


if __name__ == "__main__":
    write_result("experiments_uplift", main())
