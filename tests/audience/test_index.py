"""The visitor index against plain arithmetic: while it is exact, above that, and while vectors come, move and go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.audience import PgVectors, VisitorIndex, inverted
from arauto.audience import index as module
from arauto.audience.extras import need
from arauto.audience.index import exact
from arauto.audience.inverted import InvertedFile
from arauto.core.errors import InputError, ModelFileError, NotFoundError, StoreError


def clouds(count, dimensions=16, centres=20, seed=0, spread=0.25, place=0):
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(1000 + place).normal(size=(centres, dimensions))
    rows = middle[rng.integers(0, centres, count)] + spread * rng.normal(size=(count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def nearest(rows, query, k):
    return np.argsort(-(rows @ query), kind="stable")[:k].tolist()


def recall(index, rows, keys, queries, k=10):
    found, _ = index.nearest(queries, k)
    truth = [set(keys[nearest(rows, query, k)]) for query in queries]
    return np.mean([len(own & set(some)) / k for own, some in zip(truth, found.tolist(), strict=True)])


@pytest.mark.parametrize("faiss", [True, False])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_exact_search_is_exact_with_and_without_faiss(monkeypatch, faiss, metric):
    monkeypatch.setattr(module, "has", lambda _: faiss)
    rng = np.random.default_rng(1)
    rows, queries = rng.normal(size=(300, 12)), rng.normal(size=(20, 12))
    index = VisitorIndex(12, metric=metric)
    index.put(np.arange(300), rows)
    keys, near = index.nearest(queries, 7)
    if metric == "l2":
        truth = -np.square(queries[:, None] - rows[None]).sum(axis=2)
    else:
        truth = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (rows / np.linalg.norm(rows, axis=1)[:, None]).T
    assert keys.tolist() == np.argsort(-truth, axis=1)[:, :7].tolist()
    assert near == pytest.approx(-np.sort(-truth, axis=1)[:, :7], abs=1e-4)


@given(st.lists(st.tuples(st.sampled_from("pmr"), st.integers(0, 12), st.integers(0, 1000)), max_size=60))
def test_any_changes_leave_what_a_dictionary_would(changes):
    index, model = VisitorIndex(4), {}
    for what, key, seed in changes:
        row = np.random.default_rng(seed).normal(size=4).astype(np.float32)
        if what == "p":
            index.put(key, row)
            model[key] = row / np.linalg.norm(row)
        elif what == "m":
            index.move(np.array([key]), (row / np.linalg.norm(row))[None])
            model[key] = row / np.linalg.norm(row)
        else:
            assert index.remove(key) == (model.pop(key, None) is not None)
    assert index.keys.tolist() == sorted(model)
    assert len(index) == len(model)
    if model:
        assert index.vectors(index.keys) == pytest.approx(np.stack([model[key] for key in sorted(model)]), abs=1e-5)
        query = np.ones(4, dtype=np.float32)
        keys, near = index.nearest(query, 20)
        assert sorted(keys[0, : len(model)].tolist()) == sorted(model)
        assert (np.diff(near[0, : len(model)]) <= 1e-6).all()
        assert (keys[0, len(model) :] == -1).all()


@pytest.fixture(scope="module")
def large():
    """A built inverted file, its vectors and keys."""
    rows = clouds(4000)
    keys = np.arange(4000) * 3
    index = VisitorIndex(16, exact_below=1000)
    index.put(keys, rows)
    assert index.stale
    assert index.rebuild()
    return index, rows, keys


def test_above_the_size_the_inverted_file_finds_nearly_all(large):
    index, rows, keys = large
    assert not index.exact
    assert not index.stale
    assert recall(index, rows, keys, clouds(200, seed=9)) >= 0.97


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_recall_that_is_counted_is_what_searches_find(metric):
    rows = clouds(4000, spread=0.6)
    engine = InvertedFile.build(np.arange(4000), rows, metric, seed=3)
    asked = rows[np.random.default_rng(3).choice(4000, 256, replace=False)]
    places, _ = exact(asked, rows, 11, metric)
    found, _ = engine.nearest(asked, 11, None)
    shared = [len(set(a) & set(b)) - 1 for a, b in zip(places.tolist(), found.tolist(), strict=True)]
    assert engine.recall == pytest.approx(np.mean(shared) / 10, abs=1e-9)
    assert engine.recall >= 0.99


@pytest.mark.parametrize(
    ("cuts", "tried", "kept"),
    [
        ({100: (0.95, 10.0), 200: (0.995, 900.0), 400: (0.999, 500.0)}, 3, 400),
        ({100: (0.95, 10.0), 200: (0.995, 400.0), 400: (0.999, 1.0)}, 2, 200),  # 400 centroids cost as much
        ({100: (0.99, 200.0), 200: (1.0, 1.0), 400: (1.0, 1.0)}, 1, 100),
        ({100: (0.6, 10.0), 200: (0.7, 900.0), 400: (0.65, 5.0)}, 3, 200),  # none finds enough
    ],
)
def test_of_the_cuts_that_find_enough_the_cheapest_is_kept(monkeypatch, cuts, tried, kept):
    asked_for = []

    def cut(faiss, vectors, kind, lists, *_):
        asked_for.append(lists)
        recall, work = cuts[lists]
        return inverted.Cut(None, np.zeros(0, np.int64), lists, recall, work)

    monkeypatch.setattr(inverted, "_cut", cut)
    best = inverted._best_cut(need("faiss"), clouds(10_000), 0, 0)
    assert (len(asked_for), best.probes) == (tried, kept)


def test_vectors_are_replaced_in_place_and_removed_at_once():
    rows = clouds(3000)
    index = VisitorIndex(16, exact_below=1000)
    index.put(np.arange(3000), rows)
    index.rebuild()
    moved = clouds(500, seed=5)
    index.put(np.arange(500), moved)
    rows[:500] = moved
    for key in range(100, 200):
        assert index.remove(key)
    assert not index.remove(100)
    kept = np.setdiff1d(np.arange(3000), np.arange(100, 200))
    assert index.keys.tolist() == kept.tolist()
    assert recall(index, rows[kept], kept, clouds(200, seed=9)) >= 0.97
    assert index.vectors([7, 2999]) == pytest.approx(rows[[7, 2999]])
    found, near = index.nearest(rows[150], 5)
    assert 150 not in found
    assert near[0, 0] < 1.0


def test_no_recall_is_lost_when_everything_moved_and_the_cloud_drifted():
    rows = clouds(3000)
    index = VisitorIndex(16, exact_below=1000)
    keys = np.arange(3000)
    index.put(keys, rows)
    index.rebuild()
    for turn in range(10):
        rows = clouds(3000, seed=20 + turn, place=turn)
        index.put(keys, rows)
        if index.stale:
            index.rebuild()
    assert recall(index, rows, keys, clouds(200, seed=9, place=9)) >= 0.97


def test_random_directions_are_searched_exactly():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(3000, 64)).astype(np.float32)
    index = VisitorIndex(64, exact_below=500)
    index.put(np.arange(3000), rows)
    assert not index.rebuild()
    assert index.exact
    assert not index.stale
    index.put(np.arange(3000, 5000), rng.normal(size=(2000, 64)))
    assert index.stale


@pytest.mark.parametrize("allow", [5, 1500, 2800])
def test_a_filter_lets_only_the_allowed_through(large, allow):
    index, rows, keys = large
    allowed = np.zeros(keys.max() + 1, dtype=bool)
    chosen = np.random.default_rng(allow).choice(keys, allow, replace=False)
    allowed[chosen] = True
    queries = clouds(50, seed=4)
    found, _ = index.nearest(queries, 10, allowed=allowed)
    assert set(found[found >= 0].tolist()) <= set(chosen.tolist())
    truth = [set(np.sort(chosen)[nearest(rows[np.sort(chosen) // 3], query, 10)].tolist()) for query in queries]
    hits = np.mean([len(own & set(some)) / len(own) for own, some in zip(truth, found.tolist(), strict=True)])
    assert hits >= 0.97


def test_a_filter_of_nobody_finds_nobody(large):
    index, rows, _ = large
    keys, near = index.nearest(rows[0], 3, allowed=np.zeros(5, dtype=bool))
    assert keys.tolist() == [[-1, -1, -1]]
    assert np.isneginf(near).all()


def test_what_changes_during_a_rebuild_is_not_lost(monkeypatch):
    rows = clouds(2000)
    index = VisitorIndex(16, exact_below=500)
    index.put(np.arange(2000), rows)
    build = module.InvertedFile.build

    def meanwhile(*given, **named):
        built = build(*given, **named)
        index.remove(3)
        index.put([4, 5000], np.stack([-rows[4], rows[9]]))
        return built

    monkeypatch.setattr(module.InvertedFile, "build", meanwhile)
    assert index.rebuild()
    assert 3 not in index
    assert index.vectors([4, 5000]) == pytest.approx(np.stack([-rows[4], rows[9]]), abs=1e-6)
    assert len(index) == 2000
    found, _ = index.nearest(rows[3], 20)
    assert 3 not in found


def test_a_snapshot_is_the_index_again(tmp_path, large):
    index, rows, keys = large
    index.save(tmp_path / "i.npz")
    again = VisitorIndex.load(tmp_path / "i.npz", exact_below=1000)
    assert again.keys.tolist() == keys.tolist()
    assert not again.exact
    assert again.vectors(keys[:5]) == pytest.approx(rows[:5], abs=1e-6)
    body = (tmp_path / "i.npz").read_bytes()
    (tmp_path / "i.npz").write_bytes(body[:-9])
    with pytest.raises(ModelFileError):
        VisitorIndex.load(tmp_path / "i.npz")


def test_bad_input_says_what_is_wrong():
    index = VisitorIndex(4)
    for call, field in (
        (lambda: index.put([1], [[1.0, 2.0]]), "vectors"),
        (lambda: index.put([1, 2], [[1.0, 2.0, 3.0, 4.0]]), "vectors"),
        (lambda: index.put([1], [[1.0, 2.0, np.nan, 4.0]]), "vectors"),
        (lambda: index.put([1], [["a", "b", "c", "d"]]), "vectors"),
        (lambda: index.put([-1], [[1.0, 2.0, 3.0, 4.0]]), "keys"),
        (lambda: index.nearest([[1.0, 2.0, 3.0, 4.0]], 0), "k"),
        (lambda: VisitorIndex(0), "dimensions"),
    ):
        with pytest.raises(InputError) as raised:
            call()
        assert raised.value.field == field
    with pytest.raises(NotFoundError):
        index.vectors([1])
    keys, _ = index.nearest([1.0, 0, 0, 0], 2)
    assert keys.tolist() == [[-1, -1]]
    index.put([], np.zeros((0, 4)))
    index.put([5, 5], [[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    assert index.vectors([5]).tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_same_interface_over_pgvector(settings, metric):
    """Filled, moved, removed and opened again, it answers as the index in memory does."""
    rows = clouds(300, dimensions=8)
    dsn = settings.database_url.reveal()
    with PgVectors(dsn, 8, metric=metric) as engine:
        there, here = VisitorIndex(8, metric=metric, engine=engine), VisitorIndex(8, metric=metric)
        for index in (there, here):
            index.put(np.arange(300), rows)
            index.put([3, 400], np.stack([rows[9], -rows[4]]))
            assert index.remove(5)
        assert not there.stale
        queries = clouds(20, dimensions=8, seed=3)
        allowed = np.arange(401) % 2 == 0
        for where in (None, allowed):
            mine, other = (index.nearest(queries, 5, allowed=where) for index in (here, there))
            assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(mine[0], other[0], strict=True)]) >= 0.98
            assert np.median(np.abs(mine[1] - other[1])) < 1e-5
        assert there.vectors([400, 3]) == pytest.approx(here.vectors([400, 3]))
    with PgVectors(dsn, 8, metric=metric) as engine:
        again = VisitorIndex(8, metric=metric, engine=engine)
        assert again.keys.tolist() == here.keys.tolist()
        with pytest.raises(InputError, match="another length"):
            PgVectors(dsn, 9)
        engine.clear()
        assert len(engine) == 0
        assert engine.nearest(queries[:1], 3, None)[0].shape == (1, 0)
        engine._run("DROP TABLE visitor_vectors")
        with pytest.raises(StoreError, match="does not hold"):
            again.nearest(queries[0])
    with pytest.raises(StoreError):
        PgVectors("host=/nowhere dbname=none", 8)


def test_every_engine_tells_its_keys(large):
    index, _, keys = large
    assert index.engine.keys().tolist() == keys.tolist()
    small = VisitorIndex(4)
    small.put([7, 2], np.eye(4)[:2])
    assert small.engine.keys().tolist() == [2, 7]
