"""Segments: stable while behaviour is, alarmed when it shifts, and named by what sets them apart."""

import numpy as np
import pytest

from arauto.audience import NOBODY, adjusted_rand
from arauto.audience.segments import (
    NO_CLUSTERS,
    SMALLEST,
    apart,
    chi_square_tail,
    cluster,
    drift,
    lookalikes,
    match,
    shifted,
    spread,
)


def day(centres, tastes, rng, noise=0.15):
    rows = centres[tastes] + noise * rng.normal(size=(len(tastes), centres.shape[1]))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def town():
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(6, 24))
    return centres / np.linalg.norm(centres, axis=1, keepdims=True), rng.integers(0, 6, 3000), rng


def test_an_unchanged_week_keeps_ids_and_raises_no_alarm(town):
    centres, tastes, rng = town
    rows = day(centres, tastes, rng)
    clusters = cluster(rows, 6)
    labels = clusters.label(rows)
    assert adjusted_rand(labels, tastes) > 0.95
    for turn in range(6):
        rows = day(centres, tastes, rng)
        fresh = cluster(rows, 6, before=clusters, seed=turn)
        fresh = match(fresh, fresh.label(rows), labels)
        now = fresh.label(rows)
        found = drift(now, labels, (clusters.label(rows), labels))
        assert found.active == 3000
        assert found.agreement >= 0.8
        assert not found.shifted
        assert set(fresh.ids) == set(clusters.ids)
        clusters, labels = fresh, now


def test_a_planted_shift_is_found_within_a_day(town):
    centres, tastes, rng = town
    rows = day(centres, tastes, rng)
    clusters = cluster(rows, 6)
    labels = clusters.label(rows)
    moved = tastes.copy()
    moved[np.flatnonzero(tastes == 0)[:100]] = 1
    rows = day(centres, moved, rng)
    fresh = cluster(rows, 6, before=clusters)
    fresh = match(fresh, fresh.label(rows), labels)
    found = drift(fresh.label(rows), labels, (clusters.label(rows), labels))
    assert found.shifted
    assert found.moved == pytest.approx(100 / 3000, abs=0.03)
    assert found.net == pytest.approx(100 / 3000, abs=0.005)


def test_false_alarms_are_as_rare_as_promised():
    """Visitors who move evenly, or round in a circle, are no shift."""
    rng = np.random.default_rng(0)
    chances = []
    for turn in range(400):
        before = rng.integers(0, 4, 1000)
        step = 1 if turn % 2 else rng.integers(0, 4, 1000)
        now = np.where(rng.random(1000) < 0.2, (before + step) % 4, before)
        chances.append(shifted(now, before)[1])
    assert np.mean(np.array(chances) < 0.05) <= 0.08
    assert np.mean(np.array(chances) < 0.001) <= 0.01


def test_a_shift_too_small_to_matter_is_no_alarm():
    before = np.repeat([0, 1], 50_000)
    now = before.copy()
    now[:800] = 1
    found = drift(now, before, (now, before))
    assert found.p < 1e-9
    assert found.net == pytest.approx(0.008)
    assert not found.shifted
    now[:1500] = 1
    assert drift(now, before, (now, before)).shifted
    nobody = np.full(5, NOBODY)
    assert drift(nobody, nobody, (nobody, nobody)).agreement == 1.0


def test_the_tail_of_chi_square_is_that_of_the_tables():
    from scipy.special import chdtrc

    for freedom in range(1, 12):
        for statistic in (0.0, 0.3, 1.0, 7.5, 40.0, 3000.0):
            assert chi_square_tail(statistic, freedom) == pytest.approx(
                chdtrc(freedom, statistic), rel=1e-9, abs=1e-300
            )


def test_ids_follow_the_members_whatever_the_order(town):
    centres, tastes, rng = town
    rows = day(centres, tastes, rng)
    first = cluster(rows, 6)
    labels = first.label(rows)
    again = cluster(rows, 6, seed=77)
    again = match(again, again.label(rows), labels)
    assert (again.label(rows) == labels).mean() > 0.98


def test_a_group_that_is_new_gets_a_new_id(town):
    centres, tastes, rng = town
    few = tastes[tastes < 5]
    rows = day(centres, few, rng)
    first = cluster(rows, 5)
    labels = first.label(rows)
    late = np.concatenate([few, np.full(600, 5)])
    rows = day(centres, late, rng)
    fresh = cluster(rows, 6, before=first)
    before = np.concatenate([labels, np.full(600, NOBODY)])
    fresh = match(fresh, fresh.label(rows), before)
    novel = set(fresh.ids.tolist()) - set(first.ids.tolist())
    assert len(novel) == 1
    assert min(novel) >= first.next_id


def test_no_segment_is_so_small_that_people_could_be_told_apart():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(70, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    clusters = cluster(rows, 8)
    assert np.bincount(clusters.label(rows) - clusters.ids.min()).min() >= 1
    assert len(clusters.ids) <= 70 // SMALLEST
    assert not len(cluster(rows[: SMALLEST - 1], 8).ids)
    assert cluster(rows, 0).label(rows).tolist() == [NOBODY] * 70
    assert NO_CLUSTERS.label(rows).tolist() == [NOBODY] * 70


def test_the_rand_index_is_that_of_the_paper():
    assert adjusted_rand(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2])) == 1.0
    assert adjusted_rand(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])) == pytest.approx(0.571, abs=1e-3)
    rng = np.random.default_rng(0)
    assert abs(adjusted_rand(rng.integers(0, 4, 5000), rng.integers(0, 4, 5000))) < 0.01


def test_what_sets_a_group_apart_is_not_what_everyone_likes():
    every = {"bread": 900, "wine": 60, "cheese": 50, "rare": 1}
    own = {"bread": 90, "wine": 50, "cheese": 30, "rare": 1}
    assert apart(own, every) == ["wine", "cheese"]
    assert apart({"bread": 90}, {"bread": 900}) == []


def test_a_map_has_everyone_in_its_square():
    rng = np.random.default_rng(0)
    flat = spread(rng.normal(size=(9, 5)).astype(np.float32))
    assert flat.shape == (9, 2)
    assert np.abs(flat).max() == pytest.approx(1.0)
    assert spread(np.ones((1, 5), dtype=np.float32)).tolist() == [[0, 0]]
    assert spread(np.ones((3, 5), dtype=np.float32)).tolist() == [[0, 0]] * 3


def test_lookalikes_are_ranked_above_the_rest(town):
    centres, tastes, rng = town
    rows = day(centres, tastes, rng)
    seeds = np.zeros(len(rows), dtype=bool)
    seeds[np.flatnonzero(tastes == 2)[:40]] = True
    scores = lookalikes(rows, seeds)
    inside, outside = scores[(tastes == 2) & ~seeds], scores[tastes != 2]
    assert (inside[:, None] > outside[None]).mean() > 0.97
