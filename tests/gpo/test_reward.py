import numpy as np
import polars as pl
import pytest

from arauto.core.errors import ConflictError, InputError, ModelFileError
from arauto.gpo import Gate, RewardModel, Tfidf, evaluate_reward, require_passed, table_of, train_reward
from arauto.gpo.gate import calibration_error
from arauto.gpo.likelihood import IMAGE, RESIDUAL, contrasts_of, ridge
from arauto.gpo.reward import Certainty, normal_cdf, win_probability
from tests.gpo.data import WORTH, frame


@pytest.fixture(scope="module")
def table():
    return table_of(frame(150))


@pytest.fixture(scope="module")
def model(table):
    return train_reward(table, [Tfidf.fit(table.text, dimension=256)], seed=0)


def test_contrasts_are_the_gls_of_the_test(table):
    """Their normal equations are those of the full covariance, the test's level profiled out."""
    one = table.rows(table.test == 0)
    contrasts = contrasts_of(one)
    x = np.random.default_rng(0).normal(size=(len(one), 2))
    found = ridge(contrasts.apply(x), contrasts.y, 1e-9)
    y = np.log((one.clicks + 0.5) / (one.impressions + 0.5))
    same = one.group[:, None] == one.group[None, :]
    precision = np.linalg.inv(np.diag(1 / (one.clicks + 0.5) + RESIDUAL**2) + IMAGE**2 * same)
    design = np.hstack([x, np.ones((len(one), 1))])
    exact = np.linalg.solve(design.T @ precision @ design, design.T @ precision @ y)
    assert found == pytest.approx(exact[:2], abs=1e-6)


def test_ridge_is_the_same_from_either_side():
    rng = np.random.default_rng(1)
    x, y, w = rng.normal(size=(5, 9)), rng.normal(size=5), rng.exponential(size=5)
    wide = ridge(x, y, 0.7, w)
    exact = np.linalg.solve(x.T @ (w[:, None] * x) + 0.7 * np.eye(9), x.T @ (w * y))
    assert wide == pytest.approx(exact)


def test_words_worth_is_learned(model):
    scores = model.score([f"{word} lamp {word} number 1" for word in WORTH]).mean
    assert np.corrcoef(scores, list(WORTH.values()))[0, 1] > 0.9


def test_the_gate_opens_for_what_is_true_and_shuts_for_what_is_not(model):
    fresh = frame(80, seed=9)
    good = evaluate_reward(model, table_of(fresh))
    assert good.passed
    require_passed(good)
    assert good.whole.accuracy.low < good.whole.accuracy.value < good.whole.accuracy.high
    assert good.whole.significant_accuracy.value > 0.8
    mixed = fresh.with_columns(pl.col("clicks").shuffle(seed=1))
    bad = evaluate_reward(model, table_of(mixed))
    assert not bad.passed
    with pytest.raises(ConflictError, match="gate"):
        require_passed(bad)


def test_too_few_pairs_keep_the_gate_shut(model):
    report = evaluate_reward(model, table_of(frame(3, seed=2)), Gate(accuracy=0.0, significant_accuracy=0.0))
    assert any("pairs to judge by" in reason for reason in report.reasons)


def test_segments_and_languages_are_reported(model):
    data = frame(60, seed=4)
    tests = data["test_id"].str.split("-").list.last().cast(int)
    data = data.with_columns(language=pl.when(tests % 2 == 0).then(pl.lit("en")).otherwise(pl.lit("pt-BR")))
    report = evaluate_reward(model, table_of(data))
    assert [part.name for part in report.parts] == ["language en", "language pt-BR"]
    assert sum(part.pairs for part in report.parts) == report.whole.pairs


def test_saved_and_loaded_scores_the_same_bytes(model, tmp_path):
    model.save(tmp_path)
    again = RewardModel.load(tmp_path)
    texts = ["free lamp today number 3", "old soap dull number 1"]
    assert again.score(texts).mean.tobytes() == model.score(texts).mean.tobytes()
    assert again.sha256() == model.sha256()


def test_same_seed_same_model_and_the_heads_disagree(table, model):
    again = train_reward(table, [Tfidf.fit(table.text, dimension=256)], seed=0)
    assert again.sha256() == model.sha256()
    assert (model.score(list(table.text[:20])).spread > 0).all()


def test_a_checkpoint_from_a_stranger_runs_nothing(model, tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    model.save(tmp_path)
    (tmp_path / "heads.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelFileError):
        RewardModel.load(tmp_path)
    assert not (tmp_path / "sprung").exists()
    model.save(tmp_path)
    (tmp_path / "reward.json").write_bytes(b"{}")
    with pytest.raises(ModelFileError):
        RewardModel.load(tmp_path)
    with pytest.raises(ModelFileError, match="no reward model"):
        RewardModel.load(tmp_path / "none")


def test_too_little_data_is_said(model):
    with pytest.raises(InputError, match="tests with two different arms"):
        train_reward(table_of(frame(5)), [Tfidf({"free": 1.0}, 8)], seed=0)


def test_probabilities_carry_the_counts_doubt():
    sure = Certainty(1.0, 0.1)
    difference = np.array([0.2, 0.2, -0.2])
    p = win_probability(difference, np.array([1e6, 50.0, 50.0]), np.array([1e6, 50.0, 50.0]), sure)
    assert p[0] > p[1] > 0.5
    assert p[1] + p[2] == pytest.approx(1.0)
    assert normal_cdf(np.array([1.959964])) == pytest.approx([0.975], abs=1e-6)


def test_calibration_error_is_zero_for_the_truth_and_half_for_a_boast():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1.0, 20_000)
    assert calibration_error(p, (rng.random(20_000) < p).astype(float)) < 0.02
    assert calibration_error(np.ones(1000), (rng.random(1000) < 0.5).astype(float)) == pytest.approx(0.5, abs=0.05)


def test_fraud_by_few_visitors_barely_moves_the_ranking():
    """20 % more clicks, all by three visitors and all on the worst texts."""
    rng = np.random.default_rng(5)
    rows = []
    for test, text, shown, clicks, *_ in frame(60, seed=7, shown=300).iter_rows():
        who = rng.permutation(100_000)[:shown]
        rows += [(test, text, 1, int(i < clicks), f"v{v}") for i, v in enumerate(who)]
    names = ["test_id", "text", "impressions", "clicks", "visitor_id"]
    honest = pl.DataFrame(rows, schema=names, orient="row")
    bad = honest.filter(pl.col("text").str.contains("dull|old"))
    count = int(0.2 * honest["clicks"].sum())
    fraud = bad.sample(count, seed=1, with_replacement=True).with_columns(
        clicks=pl.lit(1, pl.Int64), visitor_id=pl.Series([f"robot{i % 3}" for i in range(count)])
    )
    held = table_of(frame(100, seed=8))
    accuracy = []
    for data in (honest, pl.concat([honest, fraud])):
        table = table_of(data)
        trained = train_reward(table, [Tfidf.fit(table.text, dimension=256)], seed=0)
        accuracy.append(evaluate_reward(trained, held).whole.accuracy.value)
    assert accuracy[0] > 0.6
    assert abs(accuracy[0] - accuracy[1]) < 0.02
