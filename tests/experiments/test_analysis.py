import msgspec
import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.analysis import Analysis, analyse, log_of, sentence
from arauto.experiments.guardrails import Guardrail, Reading
from arauto.experiments.offpolicy import evaluate_policy
from arauto.experiments.rollout import ReleasePlan, ReleaseState, explain_move, manual_move, next_move


def experiment(rates, n=12_000, seed=0):
    rng = np.random.default_rng(seed)
    names = np.array(sorted(rates))
    arm = rng.choice(names, n)
    click = (rng.random(n) < np.array([rates[name] for name in arm])).astype(float)
    return {"arm": arm, "visitor": np.arange(n), "click": click, "cost": rng.gamma(4.0, 0.25, n)}


def test_the_better_variant_is_named_with_its_numbers():
    report = analyse(experiment({"a": 0.10, "b": 0.15, "c": 0.10}), ["click", "cost/click"], control="a")
    assert (report.verdict, report.arm, report.visitors_left) == ("better", "b", None)
    assert report.chance_to_win is not None
    assert report.expected_loss is not None
    assert report.chance_to_win["b"] > 0.99
    assert report.expected_loss["b"] < 0.001 < report.expected_loss["a"]
    by = {(one.metric, one.arm): one for one in report.results}
    assert by["click", "b"].found
    assert not by["click", "c"].found
    assert by["cost/click", "b"].lift == pytest.approx(1 / 1.5 - 1, abs=0.1)
    assert "b beats a on click" in sentence(report, "en")
    assert "b supera a em click" in sentence(report, "pt-BR")
    assert msgspec.json.decode(msgspec.json.encode(report), type=Analysis) == report
    cheap = analyse(experiment({"a": 0.10, "b": 0.14}), ["cost/click"], control="a", lower_is_better=True)
    assert (cheap.verdict, cheap.arm) == ("better", "b")


def test_too_early_worse_and_unhealthy():
    early = analyse(experiment({"a": 0.10, "b": 0.101}, 2000), ["click"], control="a", expected=0.1)
    assert early.verdict == "too_early"
    assert early.visitors_left is not None
    assert early.visitors_left > 10_000
    assert "more visitors" in sentence(early, "en")
    blind = analyse(experiment({"a": 0.0, "b": 0.0}, 2000), ["click"], control="a", expected=0.1)
    assert sentence(blind, "en").startswith("Too early")
    worse = analyse(experiment({"a": 0.20, "b": 0.12}), ["click"], control="a")
    assert worse.verdict == "worse"
    assert "a stays" in sentence(worse, "en")
    skewed = analyse(experiment({"a": 0.1, "b": 0.2}), ["click"], control="a", shares={"a": 0.6, "b": 0.4})
    assert skewed.verdict == "unhealthy"
    assert skewed.health.sample_ratio_problem
    assert sentence(skewed, "pt-BR").startswith("Não confie")


def test_visitors_in_two_arms_are_left_out_and_counted():
    rows = experiment({"a": 0.1, "b": 0.1}, 3000)
    rows["visitor"] = np.concatenate([np.arange(2500), np.arange(500)])
    report = analyse(rows, ["click"], control="a")
    crossed = int((rows["arm"][:500] != rows["arm"][2500:]).sum())
    assert sum(report.visitors.values()) == 2500 - crossed
    assert report.health.multiple_share == pytest.approx(crossed / 2500)
    assert report.verdict == "unhealthy"


def test_a_covariate_sharpens():
    rng = np.random.default_rng(1)
    n = 3000
    before = rng.gamma(2.0, 5.0, n)
    arm = rng.choice(["a", "b"], n)
    rows = {"arm": arm, "before": before, "spend": before + rng.normal(0, 1, n) + 0.8 * (arm == "b")}
    plain = analyse(rows, ["spend"], control="a").results[0]
    sharp = analyse(rows, ["spend"], control="a", covariates=["before"]).results[0]
    assert sharp.found
    assert sharp.evidence > plain.evidence + 5.0


@pytest.mark.parametrize(
    ("change", "options", "field"),
    [
        ({"click": None}, {}, "click"),
        ({"click": ["x"] * 100}, {}, "click"),
        ({"click": [np.nan] * 100}, {}, "click"),
        ({"click": [1.0]}, {}, "click"),
        ({}, {"control": "z"}, "control"),
        ({}, {"shares": {"a": 1.0}}, "shares"),
    ],
)
def test_bad_columns_are_named(change, options, field):
    rows = experiment({"a": 0.1, "b": 0.1}, 100) | change
    rows = {name: values for name, values in rows.items() if values is not None}
    with pytest.raises(InputError) as refused:
        analyse(rows, ["click"], **{"control": "a", **options})
    assert refused.value.field == field


def test_a_users_own_log_is_evaluated():
    rng = np.random.default_rng(2)
    arm = rng.choice(["x", "y"], 3000)
    columns = {
        "arm": arm,
        "reward": (rng.random(3000) < np.where(arm == "y", 0.3, 0.1)).astype(float),
        "propensity": np.full(3000, 0.5),
        "target_x": np.full(3000, 0.1),
        "target_y": np.full(3000, 0.9),
        "x_age": rng.normal(size=3000),
        "visitor": np.arange(3000) // 2,
    }
    log, names = log_of(columns)
    assert names == ("x", "y")
    answer = evaluate_policy(log, rng)
    assert answer.value == pytest.approx(0.28, abs=0.03)
    assert answer.overlap.visitors == 1500
    for missing in ("propensity", "target_y"):
        with pytest.raises(InputError) as refused:
            log_of({name: values for name, values in columns.items() if name != missing})
        assert refused.value.field == missing


@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_every_move_has_a_sentence(language):
    plan = ReleasePlan(guardrails=(Guardrail(name="ctr"),))
    state = ReleaseState(step=1, version=1)

    def reading(harm, safety):
        return Reading(name="ctr", harm=harm, safety=safety, tolerance=0.5, change=-0.3, low=-0.5, high=-0.1)

    moves = [
        next_move(plan, state, [reading(9.0, 0.0)], 500),
        next_move(plan, state, [reading(0.0, 0.0)], 500),
        next_move(plan, state, [reading(0.0, 9.0)], 500),
        next_move(plan, state, [reading(0.0, 9.0)], 5),
        next_move(plan, ReleaseState(step=4, version=4), [reading(0.0, 9.0)], 500),
        next_move(plan, ReleaseState(status="held", step=1, version=2), [reading(0.0, 9.0)], 500),
        next_move(plan, ReleaseState(status="done", step=5, version=5), [reading(0.0, 9.0)], 500),
        manual_move(plan, state, "hold", "ana"),
        manual_move(plan, ReleaseState(status="held"), "resume", "ana"),
        manual_move(plan, state, "rollback", "ana"),
    ]
    told = [explain_move(move, language) for move in moves]
    assert len(set(told)) == len(moves)
    assert {"pt-BR": "taxa de cliques", "en": "click rate"}[language] in told[0]
    assert "(−50" in told[0]
    assert "5%" in told[0]
    assert "30" in told[0]
