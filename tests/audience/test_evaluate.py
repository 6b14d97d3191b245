"""The comparison: ranks, measures and intervals, and peers that are what their papers say."""

import numpy as np
import pytest
from scipy import sparse

from arauto.audience import OURS, evaluate, interactions_of, leave_last_out, peers
from arauto.audience.linear import histories
from arauto.audience.ranking import gains, quality, ranks
from arauto.core.errors import InputError
from tests.audience.planted import log, shop


def test_ranks_leave_out_what_was_seen_and_share_ties():
    scores = np.array([[3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    seen = sparse.csr_matrix(([1.0], ([0], [0])), shape=(2, 4))
    found = ranks(lambda users: scores[users].copy(), np.array([0, 1]), np.array([2, 3]), seen)
    assert found.tolist() == [1, 1]


def test_gains_are_those_of_one_relevant_item():
    found = gains(np.array([0, 2, 9, 10]))
    assert found[:, 0].tolist() == [1, 1, 1, 0]
    assert found[:, 1] == pytest.approx([1.0, 0.5, 1 / np.log2(11), 0.0])


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(60):
        found = np.where(rng.random(150) < 0.3, 0, 50)
        one = quality(found, rng).hit_rate
        hits += one.low <= 0.3 <= one.high
    assert hits >= 52


def test_the_split_holds_back_the_last_two_and_nothing_leaks():
    found = log(users=8, each=5)
    split = leave_last_out(found)
    assert split.users.tolist() == list(range(8))
    for user in range(8):
        items = found.items[found.starts[user] : found.starts[user + 1]]
        assert [split.valid[user], split.test[user]] == items[-2:].tolist()
        assert split.fit.items[split.fit.users == user].tolist() == items[:-2].tolist()
        assert split.known.items[split.known.users == user].tolist() == items[:-1].tolist()
    with pytest.raises(InputError, match="three items"):
        leave_last_out(log(users=3, each=2))


def test_peers_are_what_their_papers_say():
    found = log(users=12, each=4)
    x = histories(found, 1.0, upto=True).toarray()
    p = np.linalg.inv(x.T @ x + 20 * np.eye(x.shape[1]))
    wanted = p / -np.diag(p)
    np.fill_diagonal(wanted, 0.0)
    assert peers.ease(found, 20.0) == pytest.approx(wanted, abs=1e-4)
    sizes = np.sqrt((x.T @ x).diagonal())
    cosine = (x.T @ x) / (np.outer(sizes, sizes) + 5.0)
    np.fill_diagonal(cosine, 0.0)
    assert peers.item_knn(found, 1000, 5.0).toarray() == pytest.approx(cosine, abs=1e-6)
    few = peers.item_knn(found, 2, 5.0).toarray()
    assert (np.count_nonzero(few, axis=0) <= 2).all()


def test_popular_lately_looks_back_from_the_moment_only():
    columns = {"user_id": np.arange(6), "item_id": np.array([0, 0, 0, 1, 1, 2]), "timestamp": np.arange(6)}
    found = interactions_of(columns)
    scorer = peers.popular_lately(found, np.full(6, 5.0), 0.4)
    assert scorer(np.array([0])).tolist() == [[0, 2, 0]]
    assert peers.popularity(found)(np.array([0])).tolist() == [[3, 2, 1]]


def test_order_is_worth_more_than_company_where_order_is_all():
    told = []
    found = evaluate(log(users=160, each=6, ordered=True), told=told.append)
    best = found.rows[0]
    assert best.model == OURS
    assert best.quality.ndcg.value > 0.9
    assert found.ahead.low > 0.1
    assert {row.model for row in found.rows} >= {"ease", "item_knn", "popularity", "popular_lately"}
    assert told[0] == OURS
    assert found.retrained.ndcg.value == pytest.approx(best.quality.ndcg.value, abs=0.05)


def test_the_same_seed_gives_the_same_figures():
    assert [row.quality for row in evaluate(log(), tune=False).rows] == [
        row.quality for row in evaluate(interactions_of(shop()), tune=False).rows
    ]
