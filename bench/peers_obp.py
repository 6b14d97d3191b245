"""Runs in the peers' environment: the Open Bandit Pipeline's own estimators on its own small logs.

Its plotting and neural parts are stood in for by empty modules: no estimator uses them.
"""

from __future__ import annotations

import json
import logging
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np


class _Nothing(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Empty


class Empty(metaclass=_Nothing):
    """Stands for whatever a missing module would have offered."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


def stand_in(*names: str) -> None:
    for name in names:
        module = types.ModuleType(name)
        module.__path__ = []
        module.__getattr__ = lambda attribute: _lookup(attribute)  # type: ignore[method-assign]
        sys.modules[name] = module
        if "." in name:
            parent, child = name.rsplit(".", 1)
            setattr(sys.modules[parent], child, module)


def _lookup(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Empty


def main(question: str, answer: str) -> None:
    given = json.loads(str(np.load(question)["given"]))
    stand_in("torch", "torch.nn", "torch.nn.functional", "torch.optim", "torch.utils", "torch.utils.data")
    stand_in("matplotlib", "matplotlib.pyplot", "seaborn", "pyieoe", "pyieoe.evaluator", "pingouin")
    sys.path.insert(0, given["folder"])
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    found: dict[str, Any] = {}
    targets: dict[str, Any] = {}
    for split in (False, True):
        for behaviour, target in (("random", "bts"), ("bts", "random")):
            for campaign in ("all", "men", "women"):
                cell = f"{behaviour} to {target}, {campaign}, {'time split' if split else 'in sample'}"
                found[cell] = measure(behaviour, target, campaign, split, given["runs"], targets)
    Path(answer).write_text(json.dumps({"cells": found, "targets": targets}), "utf-8")


def measure(behaviour: str, target: str, campaign: str, split: bool, runs: int, targets: Any) -> dict[str, Any]:
    from obp.dataset import OpenBanditDataset  # type: ignore[import-not-found]
    from obp.policy import BernoulliTS  # type: ignore[import-not-found]

    log = OpenBanditDataset(behavior_policy=behaviour, campaign=campaign)
    truth = OpenBanditDataset.calc_on_policy_policy_value_estimate(
        behavior_policy=target, campaign=campaign, test_size=0.3, is_timeseries_split=split
    )
    name = f"{target} {campaign}"
    if name not in targets:
        if target == "bts":
            policy = BernoulliTS(
                n_actions=log.n_actions, len_list=3, is_zozotown_prior=True, campaign=campaign, random_state=12345
            )
            targets[name] = policy.compute_batch_action_dist(n_sim=100_000, n_rounds=1)[0].tolist()
        else:
            targets[name] = np.full((log.n_actions, 3), 1.0 / log.n_actions).tolist()
    whole = log.obtain_batch_bandit_feedback(test_size=0.3, is_timeseries_split=split)
    point = values(log, whole[0] if split else whole, np.array(targets[name]))
    errors: dict[str, list[float]] = {}
    for run in range(runs):
        part = log.sample_bootstrap_bandit_feedback(test_size=0.3, is_timeseries_split=split, random_state=run)
        try:
            drawn = values(log, part, np.array(targets[name]))
        except ValueError:
            continue  # a fold without a click: its logistic regression cannot be fitted
        for estimator, value in drawn.items():
            errors.setdefault(estimator, []).append(abs(value / truth - 1.0))
    return {
        "truth": truth,
        "point_error": {estimator: abs(value / truth - 1.0) for estimator, value in point.items()},
        "mean_error": {estimator: float(np.mean(found)) for estimator, found in errors.items()},
    }


def values(log: Any, part: Any, target: Any) -> dict[str, float]:
    """Seven estimators with a cross-fitted logistic reward model, as in the pipeline's own example, and MRDR."""
    from obp import ope  # type: ignore[import-not-found]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-not-found]

    grid = [1, 5, 10, 50, 100, 500, 1000, 5000, 10000, np.inf]
    dist = np.broadcast_to(target, (part["n_rounds"], *target.shape)).copy()
    rows = {key: part[key] for key in ("context", "action", "reward", "position", "pscore")}
    found: dict[str, float] = {}
    for method in ("normal", "mrdr"):
        model = ope.RegressionModel(
            n_actions=log.n_actions,
            len_list=log.len_list,
            action_context=log.action_context,
            fitting_method=method,
            base_model=LogisticRegression(C=1000, max_iter=1000, random_state=12345),
        )
        extra = {"action_dist": dist} if method == "mrdr" else {}
        q = model.fit_predict(**rows, n_folds=2, random_state=12345, **extra)
        estimators = (
            [ope.DoublyRobust(estimator_name="mrdr")]
            if method == "mrdr"
            else [
                ope.DirectMethod(),
                ope.InverseProbabilityWeighting(),
                ope.SelfNormalizedInverseProbabilityWeighting(),
                ope.DoublyRobust(),
                ope.SelfNormalizedDoublyRobust(),
                ope.SwitchDoublyRobustTuning(lambdas=grid, tuning_method="mse"),
                ope.DoublyRobustWithShrinkageTuning(lambdas=grid, tuning_method="mse"),
            ]
        )
        evaluation = ope.OffPolicyEvaluation(bandit_feedback=part, ope_estimators=estimators)
        found |= evaluation.estimate_policy_values(action_dist=dist, estimated_rewards_by_reg_model=q)
    return {name: float(value) for name, value in found.items()}


main(*sys.argv[1:])
