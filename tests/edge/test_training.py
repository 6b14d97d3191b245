"""The generator, the trainer, the scores and the files that data come from."""

import json
import math
from importlib import resources

import msgspec
import numpy as np
import polars
import pytest

from arauto.core.errors import InputError, NotFoundError
from arauto.edge import RESEARCH, SHIPPED, Example, TrainPlan, evaluate, generate, load, read_examples, shipped, train
from arauto.edge.evaluate import calibration_error, fit_temperature, scores
from arauto.edge.recipe import Golden, Release, golden, judge, with_metrics, write
from arauto.edge.text import Features
from arauto.edge.train import bags, quantise

PLAN = TrainPlan(rows_log2=12, steps=25, features=Features(words=2, chars=(4,), negators=("nao", "not")))


def trained(count=1500, plan=PLAN, seed=3):
    return train(list(generate(count, seed)), plan, name="t", version="1", languages=("pt-BR",), data="generated")


@pytest.fixture(scope="module")
def once():
    return trained()


def test_the_same_seed_generates_the_same_texts():
    assert list(generate(50, 1)) == list(generate(50, 1))
    assert list(generate(50, 1)) != list(generate(50, 2))
    made = list(generate(600, 4))
    assert {one.label for one in made} == {-1, 0, 1}
    assert {one.corpus for one in made} == {"generated-en", "generated-pt", "generated-pt-talk"}
    assert all(one.text for one in made)


def test_the_same_data_train_the_same_bytes_and_learn_the_task(once):
    assert trained().model.to_bytes() == once.model.to_bytes()
    measured = evaluate(once.model, list(generate(400, 99)))
    assert measured.overall.accuracy > 0.7
    assert set(measured.corpora) == {"generated-en", "generated-pt", "generated-pt-talk"}


def test_quantised_it_says_what_it_said_before(once):
    made = list(generate(300, 98))
    before = once.float_scores([one.text for one in made]).argmax(1)
    after = [int(np.argmax(once.model.predict(one.text).logits)) for one in made]
    assert np.mean(before == after) > 0.95


def test_eight_bits_keep_the_table_closer():
    table = np.random.default_rng(0).standard_normal((500, 2))
    wrong = []
    for bits in (4, 8):
        levels, codes = quantise(table, bits)
        assert levels.shape == (2, 1 << bits)
        assert codes.max() < 1 << bits
        wrong.append(np.abs(levels[[0, 1], codes] - table).mean())
    assert wrong[1] < wrong[0] / 5
    assert wrong[0] < 0.12


def test_a_table_that_learned_nothing_can_be_quantised():
    levels, codes = quantise(np.zeros((8, 1)), 4)
    assert levels[0, codes[:, 0]].tolist() == [0.0] * 8


def test_a_bag_holds_what_occurs_over_the_root_of_its_count():
    matrix = bags(["a good one", "bad bad", ""], Features(chars=()), 20)
    assert matrix.shape == (3, 1 << 20)
    # three words, two pairs, one triple; a word twice and its pair; nothing
    assert np.diff(matrix.indptr).tolist() == [6, 2, 0]
    assert matrix.sum(1).ravel().tolist()[0] == pytest.approx([[6 / math.sqrt(6), 3 / math.sqrt(3), 0]][0])


def test_rows_that_are_not_kept_say_nothing():
    model = trained(plan=msgspec.structs.replace(PLAN, kept=1000)).model
    assert 0 < np.count_nonzero(model.table) <= 1000
    assert evaluate(model, list(generate(400, 99))).overall.accuracy > 0.7


def test_the_rare_class_of_a_corpus_can_count_for_more():
    texts = [Example(f"thing {word}", -1 if word == "j" else 1, "x") for word in "abcdefghij"] * 5
    said = []
    for balance in (0.0, 1.0):
        plan = msgspec.structs.replace(PLAN, decay=0.1, balance=balance, temperature=1.0)
        made = train(texts, plan, name="t", version="1", languages=(), data="")
        said.append(made.model.predict("thing").logits)
    assert said[0][1] > said[0][0]  # nine in ten praise
    assert abs(said[1][1] - said[1][0]) < abs(said[0][1] - said[0][0]) / 2


@pytest.mark.parametrize("honest", [True, False])
def test_composed_texts_teach_beside_ones_own_where_that_helps(honest):
    """Labels turned round agree with no word list: then it is left alone."""
    mine = [Example(one.text, one.label * (1 if honest else -1)) for one in generate(240, 12) if one.label]
    plan = msgspec.structs.replace(PLAN, taught=(0.0, 1.0))
    made = train(mine, plan, name="t", version="1", languages=(), data="mine")
    assert made.taught == (1.0 if honest else 0.0)
    assert ("by rule" in made.model.manifest.data) is honest
    held = [Example(one.text, one.label * (1 if honest else -1)) for one in generate(300, 99) if one.label]
    alone = train(mine, PLAN, name="t", version="1", languages=(), data="mine").model
    gain = evaluate(made.model, held).overall.accuracy - evaluate(alone, held).overall.accuracy
    assert gain > 0.05 if honest else gain == 0


def test_composed_texts_are_of_sentiment_only():
    texts = [Example(f"thing word{label}", label) for label in (1, 2) for _ in range(20)]
    plan = msgspec.structs.replace(PLAN, taught=(1.0,), temperature=1.0)
    one, other = (
        train(texts, some, name="t", version="1", languages=(), data="").model.table
        for some in (plan, msgspec.structs.replace(plan, taught=(0.0,)))
    )
    assert (one == other).all()


def test_without_scipy_training_names_the_mend(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.sparse", None)
    with pytest.raises(InputError, match=r"arauto\[edge\]"):
        trained(20)


@pytest.mark.parametrize("labels", [(1, -1), (0, 1, 2, 3)])
def test_two_or_many_classes_of_any_meaning(labels):
    words = {label: f"word{'abcd'[place]} thing" for place, label in enumerate(labels)}
    texts = [Example(text=words[label], label=label) for label in labels for _ in range(20)]
    plan = msgspec.structs.replace(PLAN, bits=8)
    model = train(texts, plan, name="topic", version="1", languages=(), data="").model
    assert evaluate(model, texts).overall.accuracy == 1


def test_too_little_to_learn_from_is_an_error():
    with pytest.raises(InputError, match="2 labels"):
        train([Example("a", 1)] * 20, PLAN, name="t", version="1", languages=(), data="")


def test_a_label_that_the_model_does_not_know_is_an_error(once):
    with pytest.raises(InputError, match="class-7"):
        evaluate(once.model, [Example("a", 7)])
    with pytest.raises(InputError, match="no text"):
        evaluate(once.model, [])


def test_scores_are_the_textbooks():
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    found = scores(shares, np.array([0, 1, 1, 1]), np.array([True, False, True, True]))
    assert found.accuracy == 0.75
    assert found.macro_f1 == pytest.approx((2 * 1 / (2 + 1) + 2 * 2 / (2 + 3)) / 2)
    assert found.answered == 0.75
    assert found.accuracy_answered == 1
    assert math.isnan(scores(shares, np.array([0, 1, 1, 1]), np.zeros(4, bool)).accuracy_answered)


def test_confidence_that_is_right_as_often_as_it_says_has_no_calibration_error():
    assert calibration_error(np.full(10, 0.7), np.arange(10) < 7) == pytest.approx(0)
    assert calibration_error(np.full(10, 1.0), np.arange(10) < 7) == pytest.approx(0.3)


def test_the_fitted_temperature_is_the_one_that_was_used():
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((20_000, 3)) * 2
    odds = np.exp(logits)
    truth = (rng.random(20_000)[:, None] > np.cumsum(odds / odds.sum(1, keepdims=True), 1)).sum(1)
    assert fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.05)


def test_golden_vectors_hold_for_the_shipped_model():
    raw = resources.files("arauto.edge").joinpath("data/sentiment.golden.json").read_bytes()
    vectors = msgspec.json.decode(raw, type=list[Golden])
    assert len(vectors) == 200
    assert [judge(shipped(), one.text) for one in vectors] == vectors


def test_the_release_beside_the_shipped_model_is_its_own():
    raw = resources.files("arauto.edge").joinpath("data/sentiment.json").read_bytes()
    release = msgspec.json.decode(raw, type=Release)
    assert release.sha256 == shipped().sha256
    assert release.bytes == len(shipped().to_bytes())
    assert release.metrics == shipped().manifest.metrics


def test_what_is_written_beside_a_model(once, tmp_path):
    model = with_metrics(once.model, {"accuracy": 0.91234567, "nothing": math.nan})
    release = write(model, tmp_path / "deep" / "t.bin", golden(model, 10))
    assert load(tmp_path / "deep" / "t.bin").manifest.metrics == {"accuracy": 0.9123}
    assert json.loads((tmp_path / "deep" / "t.json").read_text("utf-8"))["sha256"] == release.sha256
    assert len(json.loads((tmp_path / "deep" / "t.golden.json").read_text("utf-8"))) == 10


def test_the_shipped_plan_is_that_of_the_shipped_file():
    assert shipped().manifest.features == SHIPPED.features
    assert shipped().manifest.rows_log2 == SHIPPED.rows_log2
    assert np.count_nonzero(shipped().table) <= SHIPPED.kept
    assert RESEARCH.rows_log2 > SHIPPED.rows_log2


ROWS = [{"text": "bom", "label": 1, "corpus": "x"}, {"text": "ruim", "label": -1, "corpus": "x"}]


def written(path, rows=ROWS):
    if path.suffix == ".parquet":
        polars.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".csv":
        path.write_text(
            "text,label,corpus\n" + "".join(f"{r['text']},{r['label']},{r['corpus']}\n" for r in rows), "utf-8"
        )
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", "utf-8")
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_labelled_texts_from_each_kind_of_file(kind, tmp_path):
    assert read_examples(written(tmp_path / f"d.{kind}")) == [Example("bom", 1, "x"), Example("ruim", -1, "x")]


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("d.txt", b"", "is no .parquet"),
        ("d.parquet", b"PAR1 not", "is not Parquet"),
        ("d.csv", b"text,label\nbom,muito\n", "row 1: has a label"),
        ("d.csv", b"label\n1\n", "row 1: has no text"),
        ("d.csv", b"text,label\n\xff,1\n", "encode it as UTF-8"),
        ("d.jsonl", b'{"text": "a", "label": 0.5}\n', "no whole number"),
        ("d.jsonl", b'{"text": "a", "label": 1}\n[1]\n', "row 2: is not an object"),
        ("d.jsonl", b"{", "row 1: is not an object"),
        ("d.jsonl", b'{"text": "a", "label": NaN}\n', "no whole number"),
    ],
)
def test_what_cannot_be_read_names_its_row(name, body, problem, tmp_path):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(InputError, match=problem):
        read_examples(tmp_path / name)


def test_a_missing_file_and_a_missing_reader(tmp_path, monkeypatch):
    with pytest.raises(NotFoundError):
        read_examples(tmp_path / "none.csv")
    path = written(tmp_path / "d.parquet")
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(InputError, match=r"arauto\[edge\]"):
        read_examples(path)
