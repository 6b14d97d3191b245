"""The encoder: its statistics, its vectors, its file, items known by their text alone."""

import msgspec
import numpy as np
import pytest

from arauto.audience import (
    Encoder,
    Recipe,
    Statistics,
    Weights,
    code_of,
    counted,
    encode_states,
    fit,
    interactions_of,
    linear,
)
from arauto.audience.linear import factor, weights_back
from arauto.audience.state import history
from arauto.core.errors import InputError, ModelFileError
from arauto.core.spread import Stopped
from tests.audience.planted import filled, log, shop


def closed_form(found, recipe):
    """The same, written out with dense matrices and loops."""
    size = len(found.item_names)
    gram, cross = np.zeros((size, size)), np.zeros((size, size))
    for user in range(len(found.user_names)):
        items = found.items[found.starts[user] : found.starts[user + 1]]
        for way, weight in ((items, 1.0), (items[::-1], recipe.reverse)):
            for place in range(1, len(way)):
                x, y = np.zeros(size), np.zeros(size)
                for back, item in enumerate(way[:place][::-1]):
                    x[item] = recipe.decay**back
                for ahead, item in enumerate(way[place:]):
                    y[item] = recipe.ahead**ahead
                gram += weight * np.outer(x, x)
                cross += weight * np.outer(x, y)
    met = np.bincount(found.items, minlength=size)
    shared = np.zeros((size, size))
    for user in range(len(found.user_names)):
        items = found.items[found.starts[user] : found.starts[user + 1]]
        for place, one in enumerate(items):
            for other in items[place + 1 :]:
                shared[one, other] += one != other
                shared[other, one] += one != other
    near = shared / np.sqrt(np.outer(met + 5.0, met + 5.0))
    both = cross + recipe.back * cross.T
    return np.linalg.solve(gram + recipe.ridge * np.eye(size), both) + recipe.alike * near


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(ridge=3.0),
        Recipe(decay=0.6, ridge=10.0, ahead=0.5, reverse=0.4),
        Recipe(ridge=5.0, reverse=1.0),
        Recipe(ridge=5.0, back=0.3, alike=0.2),
    ],
)
def test_the_model_is_the_ridge_regression_it_says(recipe):
    found = log(users=20, each=5)
    statistics = Statistics(len(found.item_names), recipe)
    statistics.count(found)
    assert statistics.solve() == pytest.approx(closed_form(found, recipe), abs=2e-4)


def test_learning_event_by_event_is_learning_the_log():
    found = log(users=12, each=5)
    whole, single = (Statistics(len(found.item_names), Recipe(alike=0.1)) for _ in range(2))
    whole.count(found)
    for user in range(len(found.user_names)):
        items = found.items[found.starts[user] : found.starts[user + 1]]
        for place in range(len(items)):
            single.learn(items[:place], int(items[place]))
    assert single.events == whole.events
    assert single.met.tolist() == whole.met.tolist()
    assert single.last.tolist() == whole.last.tolist()
    assert single.gram.toarray() == pytest.approx(whole.gram.toarray(), abs=1e-5)
    assert single.cross.toarray() == pytest.approx(whole.cross.toarray(), abs=1e-5)
    assert single.pairs.toarray() == pytest.approx(whole.pairs.toarray(), abs=1e-5)


def test_items_of_late_interest_are_preferred():
    """Item 2 is met as often as item 1 after item 0, but first of three by one user, where item 1 ends histories."""
    rows = [("u1", "0"), ("u1", "1"), ("u2", "0"), ("u2", "2"), ("u2", "3"), ("u2", "4"), ("u2", "5")]
    users, items = (np.array(column) for column in zip(*rows, strict=True))
    found = interactions_of({"user_id": users, "item_id": items, "timestamp": np.arange(len(rows))})
    plain, late = (Statistics(6, Recipe(late=late)) for late in (0.0, 0.5))
    for one in (plain, late):
        one.count(found)
    assert late.last.tolist() == [1, 1, 0, 1, 1, 1]
    factor_of = ((late.last + 1) / (late.met + 3)) ** 0.5
    assert late.solve() == pytest.approx(plain.solve() * factor_of, abs=1e-7)


def test_factors_give_the_best_matrix_of_their_rank():
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(60, 8)) @ rng.normal(size=(8, 60))).astype(np.float32)
    inputs, outputs = factor(matrix, 8, rng)
    assert inputs @ outputs.T == pytest.approx(matrix, abs=1e-3)
    assert outputs.T @ outputs == pytest.approx(np.eye(8), abs=1e-4)
    u, s, v = np.linalg.svd(matrix)
    inputs, outputs = factor(matrix, 3, rng)
    assert inputs @ outputs.T == pytest.approx(u[:, :3] * s[:3] @ v[:3], abs=0.05)


def test_vectors_are_of_unit_length_and_near_for_the_same_taste():
    encoder = fit(log(), Recipe(ridge=10.0), dimensions=16)

    def of(*items):
        return encoder.vector([(code_of(item), 0.85**lag) for lag, item in enumerate(items)])

    a, b, other = of("i01", "i02"), of("i04", "i03"), of("i11", "i12")
    assert np.linalg.norm(a) == pytest.approx(1.0, abs=1e-5)
    assert a @ b > 0.3 > a @ other + 0.2
    assert not of("never seen").any()


def test_full_rank_scores_are_the_sum_of_the_rows():
    found = log(ordered=True)
    recipe = Recipe(ridge=10.0)
    encoder = fit(found, recipe, dimensions=8)
    statistics = Statistics(len(found.item_names), recipe)
    statistics.count(found)
    matrix = statistics.solve()
    scores = encoder.scores([(code_of("i03"), 1.0), (code_of("i02"), 0.5), (1, 9.0)])
    assert scores == pytest.approx(matrix[3] + 0.5 * matrix[2], abs=1e-5)
    assert encoder.names[int(scores.argmax())] == "i04"


def test_before_training_visitors_are_near_by_the_items_they_share():
    encoder = Encoder.untrained(64)
    a, b, c = (encoder.vector([(code_of(x), 1.0), (code_of(y), 1.0)]) for x, y in ("pq", "pr", "st"))
    assert a @ b == pytest.approx(0.5, abs=0.3)
    assert abs(a @ c) < 0.35
    assert a @ b > a @ c
    assert not encoder.scores([(code_of("p"), 1.0)]).size


def test_a_file_is_what_was_saved_or_an_error(tmp_path):
    encoder = fit(log(), Recipe(), dimensions=8, made_ms=5)
    sha256 = encoder.save(tmp_path / "e.npz")
    again = Encoder.load(tmp_path / "e.npz")
    assert (again.version, again.names, again.about) == (encoder.version, encoder.names, encoder.about)
    history = [(code_of("i05"), 1.0)]
    assert again.scores(history).tolist() == encoder.scores(history).tolist()
    described = (tmp_path / "e.json").read_bytes()
    assert msgspec.json.decode(described)["sha256"] == sha256
    body = (tmp_path / "e.npz").read_bytes()
    for broken in (body[:-1], body[:50] + bytes([body[50] ^ 1]) + body[51:]):
        (tmp_path / "e.npz").write_bytes(broken)
        with pytest.raises(ModelFileError, match="cut short or altered"):
            Encoder.load(tmp_path / "e.npz")
    (tmp_path / "e.npz").write_bytes(body)
    (tmp_path / "e.json").write_bytes(described.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(ModelFileError, match="no encoder"):
        Encoder.load(tmp_path / "e.npz")
    with pytest.raises(ModelFileError):
        Encoder.load(tmp_path / "absent.npz")


def test_a_new_item_is_placed_by_its_text():
    encoder = fit(log(), Recipe(ridge=10.0), dimensions=8)

    def encode(texts):
        """The taste that a text names, one of four, with a little of its own."""
        return np.array([np.eye(4)[int(text[0])] + 0.01 * len(text) for text in texts])

    texts = {f"i{n:02}": f"{n // 10} thing" for n in range(40)}
    wider = encoder.with_items({**texts, "new": "2 novelty"}, encode)
    assert wider.names[-1] == "new"
    assert wider.about.cold == 1
    own = wider.vector([(code_of("new"), 1.0)])
    near = {taste: float(own @ wider.vector([(code_of(f"i{taste}5"), 1.0)])) for taste in range(4)}
    assert max(near, key=near.get) == 2
    scores = wider.scores([(code_of("i25"), 1.0)])
    away = wider.scores([(code_of("i05"), 1.0)])
    assert scores[-1] > away[-1]
    assert wider.with_items(texts, encode) is wider
    with pytest.raises(InputError, match="fewer than ten"):
        encoder.with_items({"new": "2"}, encode)


def test_weights_end_where_they_no_longer_matter():
    assert weights_back(0.5)[:3].tolist() == [1.0, 0.5, 0.25]
    assert len(weights_back(0.5)) == 10
    assert weights_back(0.0).tolist() == [1.0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"timestamp": np.array(["x"] * 480)}, "timestamp"),
        ({"timestamp": np.full(480, np.nan)}, "timestamp"),
    ],
)
def test_a_log_that_cannot_be_used_says_why(change, field):
    columns = {name: column for name, column in {**shop(), **change}.items() if column is not None}
    with pytest.raises(InputError) as raised:
        interactions_of(columns)
    assert raised.value.field == field


def test_too_many_items_and_too_short_logs_are_refused():
    many = 20_001
    with pytest.raises(InputError, match="items"):
        interactions_of({"user_id": np.zeros(many), "item_id": np.arange(many), "timestamp": np.arange(many)})
    lonely = interactions_of({"user_id": np.arange(5), "item_id": np.arange(5), "timestamp": np.arange(5)})
    with pytest.raises(InputError, match="two items"):
        fit(lonely, Recipe())


def test_dates_are_times_and_a_second_meeting_does_not_count():
    when = np.array(["2026-01-03", "2026-01-01", "2026-01-02"], dtype="datetime64[D]")
    found = interactions_of({"user_id": np.array([1, 1, 1]), "item_id": np.array(["b", "a", "a"]), "timestamp": when})
    assert found.item_names[found.items].tolist() == ["a", "b"]


def test_a_log_that_is_counted_in_parts_is_counted_whole(monkeypatch):
    found, recipe = log(users=90), Recipe(reverse=0.3, alike=0.1, late=0.2)
    parts = list(found.parts(50))
    assert len(parts) > 5
    assert np.concatenate([one.items for one in parts]).tolist() == found.items.tolist()
    assert np.concatenate([one.user_names for one in parts]).tolist() == found.user_names.tolist()
    assert all(len(one.users) <= 50 and (one.place >= 0).all() and (one.left >= 0).all() for one in parts)
    assert [len(one.user_names) for one in found.parts(1)] == [1] * 90
    whole = counted(found, recipe)
    monkeypatch.setattr(linear, "PART", 50)
    apart = counted(found, recipe)
    assert apart.events == whole.events == len(found.users)
    assert apart.solve() == pytest.approx(whole.solve(), abs=1e-5)


def test_states_are_encoded_as_they_are_one_by_one():
    encoder, states = fit(log(), Recipe(), dimensions=8), [packed for _, packed in filled().states()]
    vectors = encode_states(encoder, [*states, b""])
    wanted = [encoder.vector(history(packed, Weights(), encoder.decay)) for packed in states]
    assert (vectors[:-1] == np.array(wanted)).all()
    assert not vectors[-1].any()
    assert encode_states(encoder, []).shape == (0, 8)
    with pytest.raises(Stopped):
        encode_states(encoder, states, stopped=lambda: True)
